"""User-facing errors: what is wrong, where, what to try, and a fixed exit code per cause.

An identifier of a person is put into a message as :class:`Identifier`, never as bare text: the console of an
interactive terminal may print it, every log and batch job prints its ordinal instead.

>>> error = FormatError("call has three alleles", where="a.vcf:12", hint="see --half-call",
...                     identifiers=(Identifier("sample", "NA12878", 3),))
>>> str(error)
'call has three alleles (sample no. 3) [a.vcf:12]. Try: see --half-call'
>>> error.render(show_identifiers=True)
'call has three alleles (sample NA12878) [a.vcf:12]. Try: see --half-call'
>>> error.exit_code
4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Identifier:
    """A person's or specimen's identifier inside an error message.

    Parameters
    ----------
    kind: ``"sample"`` or ``"subject"``.
    value: the identifier as its owner knows it.
    ordinal: 1-based position in its file, printed where identifiers must not be.
    """

    kind: str
    value: str
    ordinal: int | None = None

    def render(self, show: bool) -> str:
        """Return the identifier itself, or what may stand for it in a log."""
        if show:
            return f"{self.kind} {self.value}"
        return f"{self.kind} no. {self.ordinal}" if self.ordinal is not None else f"a {self.kind}"


class GenomixError(Exception):
    """Base of every error that a user can cause or mend; printed without a traceback."""

    exit_code: ClassVar[int] = 1
    cause: ClassVar[str] = "internal error"

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, identifiers: tuple[Identifier, ...] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.identifiers = identifiers

    def render(self, *, show_identifiers: bool = False) -> str:
        """Return the one-line message: what, who, where, what to try."""
        text = self.what
        if self.identifiers:
            text += " (" + ", ".join(i.render(show_identifiers) for i in self.identifiers) + ")"
        if self.where:
            text += f" [{self.where}]"
        if self.hint:
            text += f". Try: {self.hint}"
        return text

    def __str__(self) -> str:
        return self.render(show_identifiers=False)


class InputNotFoundError(GenomixError):
    """A named input does not exist or cannot be read."""

    exit_code = 3
    cause = "input not found"


class FormatError(GenomixError):
    """An input breaks its format, or holds values that its schema forbids."""

    exit_code = 4
    cause = "malformed input"


class TruncatedInputError(FormatError):
    """A compressed or framed input ends before its end."""

    exit_code = 5
    cause = "truncated input"


class LinkError(GenomixError):
    """Samples and subjects cannot be joined: no overlap, or identifiers that collide."""

    exit_code = 6
    cause = "samples and subjects do not join"


class LabelError(GenomixError):
    """Labels cannot support the study: one class only, too few events, no rows left."""

    exit_code = 7
    cause = "labels cannot support the study"


class ConfigError(GenomixError):
    """A study file, task file or option holds an unknown key or an impossible value."""

    exit_code = 8
    cause = "configuration"


class OutputError(GenomixError):
    """An output cannot be written: full disk, a path under a file, no permission."""

    exit_code = 9
    cause = "output cannot be written"


class LockedError(GenomixError):
    """Another run owns the output folder."""

    exit_code = 10
    cause = "output folder is locked"


class DeviceError(GenomixError):
    """The requested device cannot be used."""

    exit_code = 11
    cause = "device"


class LeakageError(GenomixError):
    """The leakage certificate failed and the run is strict."""

    exit_code = 12
    cause = "leakage certificate failed"


class IntegrityError(GenomixError):
    """A file's hash is not the one that its manifest states, or a stage is not reproducible."""

    exit_code = 13
    cause = "integrity"


class MissingDependencyError(GenomixError):
    """An optional package or external tool is needed and absent."""

    exit_code = 14
    cause = "missing dependency"


class StrictError(GenomixError):
    """Warnings were raised and the run is strict."""

    exit_code = 15
    cause = "warnings under --strict"


EXIT_CODES: dict[int, str] = {0: "success", 1: "internal error (a bug: please report it)", 2: "wrong command line"} | {
    c.exit_code: c.cause
    for c in (
        InputNotFoundError, FormatError, TruncatedInputError, LinkError, LabelError, ConfigError, OutputError,
        LockedError, DeviceError, LeakageError, IntegrityError, MissingDependencyError, StrictError,
    )
} | {130: "interrupted", 141: "the reader of the output went away", 143: "terminated"}  # fmt: skip
