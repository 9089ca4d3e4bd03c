"""Calls of VCF and BCF records by htslib (cyvcf2): the reference that every other reader must equal.

Calls come from ``genotype.array()``: ``gt_types`` turns ``0/.`` into homozygous reference and is undefined for calls
that are not diploid. Lines of text reach htslib with their fixed columns replaced by plain ones, since those are read
and checked in :mod:`genomix.io.vcf_text`; only what GT, DS or GP say is htslib's to judge.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from genomix.errors import Identifier
from genomix.io.alt_dosages import AltDosages
from genomix.io.genotype_format import HAPLOID, MISSING, OVER_PLOIDY, AlleleArray, OpenOptions
from genomix.io.vcf_dosages import dosages_of
from genomix.io.vcf_phase_marks import first_marked, without_marks
from genomix.io.vcf_text import CallPlan, LineError, TextRecord, plan_calls
from genomix.provenance import scratch_errors

_SILENT = 0
_LINE = b"1\t1\t.\tN\t.\t.\t.\t.\t%b\t%b\n"
_FIVE_DIGITS = re.compile(rb"\d{5}")
CANNOT_PARSE, CORRECT_IT = "the record cannot be parsed", "correct it there, or leave it out"


class Calls(NamedTuple):
    """Calls of consecutive records; see :class:`~genomix.io.genotype_format.GenotypeBlock`."""

    alleles: AlleleArray
    phased: npt.NDArray[np.bool_]
    without_calls: npt.NDArray[np.bool_]
    dosages: npt.NDArray[np.float32] | None
    alt_dosages: AltDosages | None = None
    lost_dosages: npt.NDArray[np.bool_] | None = None


def several_alts_placed(
    calls: Calls, rows: npt.NDArray[np.int64], n: int
) -> tuple[AltDosages | None, npt.NDArray[np.bool_] | None]:
    """Return ``alt_dosages`` and ``lost_dosages`` with the i-th of the calls at ``rows[i]`` of ``n``."""
    lost = None
    if calls.lost_dosages is not None:
        lost = np.zeros(n, dtype=np.bool_)
        lost[rows] = calls.lost_dosages
    return (None if calls.alt_dosages is None else calls.alt_dosages.placed(rows)), lost


def open_htslib(path: Path) -> Any:
    """Return a cyvcf2 reader that prints nothing."""
    import cyvcf2

    getattr(cyvcf2.cyvcf2, "set_htslib_log_level", lambda _: None)(_SILENT)  # what it would print, we raise
    return cyvcf2.VCF(str(path))


def calls_of_text(
    records: Sequence[TextRecord], numbers: Sequence[int], n_samples: int, folder: Path, *, leading_marks: bool
) -> Calls:
    """Return the calls of text records; htslib reads them from a temporary file in ``folder``.

    Parameters
    ----------
    numbers: line number of each record, for errors.
    leading_marks: whether a call may start with a phasing mark (:mod:`genomix.io.vcf_phase_marks`).

    Raises
    ------
    LineError: for a record that htslib refuses, or a call that names an allele its record does not have.
    """
    stack = CallStack(len(records), n_samples)
    if not records:
        return stack.calls()
    with scratch_errors(folder), tempfile.NamedTemporaryFile(suffix=".vcf", dir=folder, delete=False) as stream:
        stream.write(_header(n_samples, max(r.plan.n_keys for r in records)))
        stream.writelines(_LINE % (r.plan.renamed, _plain(r) if leading_marks else r.samples) for r in records)
    path = Path(stream.name)
    reader = open_htslib(path)
    try:
        for text, number in zip(records, numbers, strict=True):
            try:
                record = next(reader)
            except Exception as error:  # cyvcf2 raises bare Exception, or StopIteration for an empty sample
                raise _refused(text, number, leading_marks=leading_marks) from error
            _check_long_numbers(text, number)
            stack.add(record, text.n_alts, number, plan=text.plan, said=_SaidInText(text))
    finally:
        reader.close()
        path.unlink()
    return stack.calls()


def _plain(text: TextRecord) -> bytes:
    """Return the samples' columns as htslib takes them."""
    return without_marks(text.samples, text.plan.gt_place) if text.plan.has_gt else text.samples


def _refused(text: TextRecord, number: int, *, leading_marks: bool) -> LineError:
    """Return the error of a record that htslib cannot parse."""
    sample = first_marked(text.samples, text.plan.gt_place) if text.plan.has_gt and not leading_marks else None
    if sample is None:
        return LineError(number, CANNOT_PARSE, hint=CORRECT_IT)
    return LineError(
        number,
        "a call starts with a phasing mark, which VCF has from version 4.4 on",
        hint="take the mark away, or state that version in the first line (##fileformat=VCFv4.4)",
        identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
    )


class Said(Protocol):
    """What a record says of its samples, without htslib's arrays."""

    def is_empty(self, key: str) -> bool:
        """Say whether no sample has a value of a key of FORMAT; htslib would end the process when asked for it."""
        ...

    def has_values(self, place: int) -> bool:
        """Say whether any sample has more than missing values of the key at this place of FORMAT."""
        ...


class _SaidInText(NamedTuple):
    text: TextRecord

    def is_empty(self, key: str) -> bool:
        place = self.text.plan.renamed.split(b":").index(key.encode())
        return place > 0 and not any(sample.count(b":") >= place for sample in self.text.samples.split(b"\t"))

    def has_values(self, place: int) -> bool:
        samples = (sample.split(b":", place + 1) for sample in self.text.samples.split(b"\t"))
        return any(len(values) > place and values[place].strip(b".,") for values in samples)


class SaidInBcf(NamedTuple):
    """The same of a record of BCF, where left out and missing read alike; a key that stands first has values."""

    record: Any

    def is_empty(self, key: str) -> bool:
        """See :class:`Said`."""
        place = self.record.FORMAT.index(key)
        return place > 0 and all(len(values) <= place or values[place] == "." for values in self._samples())

    def has_values(self, place: int) -> bool:
        """See :class:`Said`."""
        return any(len(values) > place and values[place].strip(".,") for values in self._samples())

    def _samples(self) -> Iterator[list[str]]:
        return (sample.split(":") for sample in str(self.record).rstrip("\n").split("\t")[9:])


def _header(n_samples: int, n_keys: int) -> bytes:
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=1>"]
    kinds = [("GT", "1,Type=String"), ("DS", ".,Type=Float"), ("GP", ".,Type=Float")]
    kinds += [(f"F{i}", ".,Type=String") for i in range(n_keys)]
    lines += [f'##FORMAT=<ID={name},Number={kind},Description="">' for name, kind in kinds]
    names = "\t".join(map(str, range(n_samples)))
    return ("\n".join(lines) + "\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + names + "\n").encode()


def _check_long_numbers(text: TextRecord, number: int) -> None:
    """Refuse alleles of five digits and more, which htslib takes modulo 2**16."""
    if not text.plan.has_gt or not _FIVE_DIGITS.search(text.samples):
        return
    place = text.plan.gt_place
    for j, sample in enumerate(text.samples.split(b"\t")):
        call = sample.split(b":")[place : place + 1]
        if call and any(int(digits) > 32766 for digits in re.findall(rb"\d+", call[0])):
            raise _no_such_allele(j, text.n_alts, number)


def _no_such_allele(sample: int, n_alts: int, number: int) -> LineError:
    return LineError(
        number,
        f"a call names an allele that the record does not have (it has {n_alts} ALT)",
        identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
    )


class CallStack:
    """Calls of htslib's records, put one under the other."""

    def __init__(self, n_records: int, n_samples: int) -> None:
        self._raw = np.empty((n_records, n_samples, 3), dtype=np.int16)
        self._without = np.zeros(n_records, dtype=np.bool_)
        self._dosages: npt.NDArray[np.float32] | None = None
        self._of_alts: list[tuple[int, npt.NDArray[np.float32]]] = []
        self._lost = np.zeros(n_records, dtype=np.bool_)
        self.n = 0

    def add(self, record: Any, n_alts: int, number: int, *, plan: CallPlan, said: Said) -> None:
        """Take the calls of one record.

        Raises
        ------
        LineError: when a call names an allele that the record does not have, or a dosage is none.
        """
        row = self._raw[self.n]
        if not plan.has_gt:
            row[:] = MISSING, MISSING, 0
            self._without[self.n] = True
        elif said.is_empty("GT"):
            row[:] = MISSING, HAPLOID, 0
        else:
            self._take(record.genotype.array(), row, n_alts, number)
        if plan.unread >= 0:
            self._lost[self.n] = said.has_values(plan.unread)
        if plan.dosage:
            if self._dosages is None and n_alts == 1:
                self._dosages = np.full(self._raw.shape[:2], np.nan, dtype=np.float32)
            if not said.is_empty(plan.dosage):
                self._take_dosages(record, plan.dosage, row, n_alts, number)
        self.n += 1

    def _take_dosages(self, record: Any, key: str, row: npt.NDArray[np.int16], n_alts: int, number: int) -> None:
        haploid = (row[:, 1] == HAPLOID) & (row[:, 0] >= 0)
        values, understood = dosages_of(record, key, haploid, n_alts, number)
        if n_alts == 1 and self._dosages is not None:
            self._dosages[self.n] = values[0]
        elif not understood:
            self._lost[self.n] = True
        elif np.isfinite(values).any():
            self._of_alts.append((self.n, values))

    def _take(self, calls: npt.NDArray[np.int16], row: npt.NDArray[np.int16], n_alts: int, number: int) -> None:
        if n_alts and int(calls[:, :-1].max(initial=MISSING)) > n_alts:
            sample = int(np.flatnonzero((calls[:, :-1] > n_alts).any(axis=1))[0])
            raise _no_such_allele(sample, n_alts, number)
        n_copies = calls.shape[1] - 1
        if n_copies == 2:
            row[:] = calls
        elif n_copies == 1:
            row[:, 0], row[:, 1], row[:, 2] = calls[:, 0], HAPLOID, 0
        else:
            row[:, :2], row[:, 2] = calls[:, :2], calls[:, -1]
            row[(calls[:, 2:-1] != HAPLOID).any(axis=1)] = OVER_PLOIDY, OVER_PLOIDY, 0

    def calls(self) -> Calls:
        """Return what was added, in normal form."""
        dosages = None if self._dosages is None else self._dosages[: self.n]
        of_alts = None
        if self._of_alts:
            of_alts = AltDosages(
                np.array([row for row, _ in self._of_alts], dtype=np.int64),
                np.array([len(values) for _, values in self._of_alts], dtype=np.int64),
                np.concatenate([values for _, values in self._of_alts]),
            )
        lost = self._lost[: self.n] if self._lost.any() else None
        return Calls(*normalised(self._raw[: self.n]), self._without[: self.n], dosages, of_alts, lost)


def normalised(raw: npt.NDArray[np.int16]) -> tuple[AlleleArray, npt.NDArray[np.bool_]]:
    """Return alleles and phase: unphased whole calls sorted, phase only where the two alleles differ.

    Parameters
    ----------
    raw: (n_records, n_samples, 3): first allele, second allele, whether the call is phased.
    """
    first, second = raw[..., 0], raw[..., 1]
    phased = (raw[..., 2] == 1) & (first != second) & (second != HAPLOID)
    alleles = np.ascontiguousarray(raw[..., :2])
    swapped = (first > second) & (second >= 0) & ~phased
    if swapped.any():
        alleles[swapped] = alleles[swapped][:, ::-1]
    alleles[first == HAPLOID, 0] = MISSING
    return alleles, phased


def calls_of_htslib(reader: Any, numbers: Sequence[int], n_samples: int, options: OpenOptions) -> Calls:
    """Return the calls of as many of a reader's next records as there are numbers, and close it.

    Raises
    ------
    LineError: with its number, for a record that htslib refuses.
    """
    stack = CallStack(len(numbers), n_samples)
    try:
        for number in numbers:
            try:
                record = next(reader)
            except Exception as error:  # cyvcf2 raises bare Exception
                raise LineError(number, CANNOT_PARSE, hint=CORRECT_IT) from error
            n_alts = len(record.ALT)
            keys = ":".join(record.FORMAT).encode()
            plan = plan_calls(keys, n_alts, options.dosage_field, options.split_dosages)
            stack.add(record, n_alts, number, plan=plan, said=SaidInBcf(record))
    finally:
        reader.close()
    return stack.calls()
