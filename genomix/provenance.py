"""Versions, hashes, manifests, and writing that is complete or not there at all.

Every file that genomix writes passes through :func:`atomic_path` or :func:`atomic_directory`: it is written under a
temporary name in the same folder, flushed to disk and renamed. A process that dies in between leaves a name that
starts with ``.tmp-`` and never a partial file under a final name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from genomix.errors import InputNotFoundError, OutputError

TEMPORARY_PREFIX = ".tmp-"

NUMERICAL_PACKAGES = (
    "numpy", "scipy", "polars", "pyarrow", "scikit-learn", "xgboost", "pgenlib", "cyvcf2", "matplotlib",
)  # fmt: skip


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; read in blocks."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    return digest.hexdigest()


def sha256_tree(path: Path) -> str:
    """Return one SHA-256 over a file, or over every file of a folder with its relative name.

    Temporary names are skipped; the order of the file system does not matter.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    files = sorted(p for p in path.rglob("*") if p.is_file() and not is_temporary(p.relative_to(path)))
    rows = [[p.relative_to(path).as_posix(), sha256_file(p)] for p in files]
    return sha256_bytes(canonical_json(rows))


def is_temporary(path: Path) -> bool:
    """Say whether any part of a relative path is one of our temporary names."""
    return any(part.startswith(TEMPORARY_PREFIX) for part in path.parts)


def canonical_json(value: Any) -> bytes:
    """Return JSON bytes that depend on the value only: sorted keys, no spaces, no NaN.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value))


def package_versions(names: tuple[str, ...] = NUMERICAL_PACKAGES) -> dict[str, str]:
    """Return the installed version of each package, ``"absent"`` where there is none."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def python_version() -> str:
    """Return the interpreter's version, e.g. ``"3.11.7"``."""
    return ".".join(str(part) for part in sys.version_info[:3])


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it onto ``target`` when the block succeeds.

    On any exception the temporary is removed and an earlier ``target`` stays as it was.

    Raises
    ------
    OutputError: when the folder cannot be made or the disk is full.
    """
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{''.join(target.suffixes[-2:])}"
    try:
        with _output_errors(target):
            yield temporary
            _flush_file(temporary)
            temporary.replace(target)
            _flush_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; rename it onto ``target`` when the block succeeds.

    ``target`` must not exist: a complete folder is never changed.
    """
    with _output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        temporary.mkdir()
    try:
        with _output_errors(target):
            yield temporary
            for path in sorted(temporary.rglob("*")):
                if path.is_file():
                    _flush_file(path)
            temporary.rename(target)
            _flush_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_json(target: Path, value: Any) -> None:
    """Write a value as indented, key-sorted JSON, atomically; NaN is refused."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(target, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that genomix wrote."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` into a folder: ``content`` plus the SHA-256 of every other file."""
    files = {
        p.relative_to(folder).as_posix(): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json" and not is_temporary(p.relative_to(folder))
    }
    write_json(folder / "manifest.json", {**content, "files": files})


def _flush_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_OUTPUT_HINTS = {
    errno.ENOSPC: "free space or choose another output folder",
    errno.EDQUOT: "your quota is used up: choose another output folder",
    errno.ENOTDIR: "a part of the output path is a file; choose another one",
    errno.EEXIST: "a file has the name of a folder that is needed; choose another output path",
    errno.EISDIR: "the output is a folder; name a file in it",
    errno.EACCES: "choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another output folder",
}


@contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        number = error.errno if error.errno is not None else _guess_errno(str(error))
        if number not in _OUTPUT_HINTS:
            raise
        raise OutputError(
            f"cannot write {target.name}: {os.strerror(number)}", where=str(target), hint=_OUTPUT_HINTS[number]
        ) from error


def _guess_errno(text: str) -> int:
    """Native writers (Polars, Arrow) put the operating system's words, not its number, into their exceptions."""
    return errno.ENOSPC if "No space left" in text or "os error 28" in text else 0
