"""Where a command may write: two outputs never share a file, and no output replaces an input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

# A genotype argument may be a prefix, so the files that it stands for are inputs as well.
_FILESET = (
    ".pgen", ".pvar", ".pvar.zst", ".psam", ".bed", ".bim", ".bim.zst", ".fam", ".bgen", ".bgen.bgi", ".sample",
    ".conversion.json",
)  # fmt: skip


def distinct_paths(
    outputs: Mapping[str, Path | None] | Iterable[Path | None], inputs: Iterable[Path | None] = ()
) -> None:
    """Refuse outputs that share a file with each other or with an input.

    Arguments: ``outputs``, what will be written, by the option that names it (``{"-o": out, "--tsv": tsv}``) or plain
    paths; ``inputs``, what is read, where the prefix of a fileset stands for its files. None is passed over. Symbolic
    links, hard links and ``..`` are seen through.

    Raises
    ------
    ConfigError: when two outputs, or an output and an input, are the same file.
    """
    from genomix.errors import ConfigError

    named = outputs.items() if isinstance(outputs, Mapping) else ((str(path), path) for path in outputs)
    taken: dict[str, str] = {}
    read = {key for path in inputs if path is not None for file in _files_of(path) for key in _keys(file)}
    for name, path in named:
        if path is None:
            continue
        keys = _keys(path)
        if keys & read:
            raise ConfigError(
                f"the output {name} is a file that this run reads", where=str(path), hint="another name for the output"
            )
        if twin := next((taken[key] for key in sorted(keys) if key in taken), None):
            raise ConfigError(
                f"the outputs {twin} and {name} are the same file", where=str(path), hint="one name for each output"
            )
        taken.update(dict.fromkeys(keys, name))


def same_file(one: Path, other: Path) -> bool:
    """Say whether two paths are one file; links and ``..`` are seen through."""
    return bool(_keys(one) & _keys(other))


def table_format(path: Path, allowed: Iterable[str] = (".parquet", ".tsv", ".tsv.gz")) -> str:
    """Return the suffix of a table's name, which says its format.

    Raises
    ------
    ConfigError: for a suffix that is not ``allowed``.
    """
    from genomix.errors import ConfigError

    choices = tuple(allowed)
    # The longest suffix first: x.tsv.gz ends in .gz as well.
    for suffix in sorted(choices, key=lambda s: (-len(s), s)):
        if path.name.lower().endswith(suffix):
            return suffix
    raise ConfigError(
        f"a table is not written as {path.suffix or 'a name without suffix'}",
        where=str(path),
        hint="end the name in " + ", ".join(choices),
    )


def _files_of(path: Path) -> list[Path]:
    """The path itself, and the files of the fileset whose prefix it may be."""
    return [path, *(path.with_name(path.name + suffix) for suffix in _FILESET)]


def _keys(path: Path) -> set[str]:
    """What identifies a file: its real path and, where it exists, its device and inode."""
    keys = {os.path.realpath(path)}
    try:
        found = path.stat()
    except OSError:
        return keys
    # Devices such as /dev/null and pipes may be written twice.
    return keys | {f"{found.st_dev}:{found.st_ino}"} if path.is_file() else keys
