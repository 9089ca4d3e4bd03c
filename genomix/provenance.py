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
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from genomix.errors import GenomixError, InputNotFoundError, IntegrityError, OutputError

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


def sha256_tree(path: Path, *, hash_file: Callable[[Path], str] = sha256_file) -> str:
    """Return one SHA-256 over a file, or over every file of a folder with its relative name.

    Temporary names are skipped; the order of the file system does not matter. ``hash_file`` may remember hashes.
    """
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    files = sorted(p for p in path.rglob("*") if p.is_file() and not is_temporary(p.relative_to(path)))
    rows = [[p.relative_to(path).as_posix(), hash_file(p)] for p in files]
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

    On any exception the temporary is removed and an earlier ``target`` stays as it was. A link is followed; a device
    or pipe (``/dev/stdout``) is written to, never replaced.

    Raises
    ------
    OutputError: when the folder cannot be made or the disk is full.
    """
    with output_errors(target):
        special = target.exists() and not target.is_file() and not target.is_dir()
        if not special:
            target = target.resolve() if target.is_symlink() else target
            target.parent.mkdir(parents=True, exist_ok=True)
    if special:
        with _copied_into(target) as temporary:
            yield temporary
        return
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{''.join(target.suffixes[-2:])}"
    try:
        with output_errors(target):
            yield temporary
            _flush_file(temporary)
            temporary.replace(target)
            _flush_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _copied_into(target: Path) -> Iterator[Path]:
    """Yield a temporary path elsewhere; copy its bytes into a device or pipe when the block succeeds."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        temporary = Path(folder) / f"content{''.join(target.suffixes[-2:])}"
        with output_errors(target):
            yield temporary
            with temporary.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; rename it onto ``target`` when the block succeeds.

    ``target`` must not exist: a complete folder is never changed.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        temporary.mkdir()
    try:
        with output_errors(target):
            yield temporary
            flush_tree(temporary)
            temporary.rename(target)
            _flush_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder``, and ``folder`` itself, to disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _flush_file(path)
        elif path.is_dir():
            _flush_directory(path)
    _flush_directory(folder)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_json(target: Path, value: Any) -> None:
    """Write a value as indented, key-sorted JSON, atomically; NaN is refused."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(target, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that genomix wrote.

    Raises
    ------
    InputNotFoundError: when it cannot be read.
    IntegrityError: when it is not JSON: genomix writes it whole or not at all, so something else changed it.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise IntegrityError(f"{path.name} is not valid JSON: it was damaged or edited", where=str(path)) from error


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` into a folder: ``content`` plus the SHA-256 of every other file."""
    own = folder / "manifest.json"
    files = {
        p.relative_to(folder).as_posix(): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p != own and not is_temporary(p.relative_to(folder))
    }
    write_json(own, {**content, "files": files})


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
    errno.EFBIG: "the file system or ulimit -f forbids so large a file: choose another output folder",
    errno.ENOTDIR: "a part of the output path is a file; choose another one",
    errno.EEXIST: "a file has the name of a folder that is needed; choose another output path",
    errno.EISDIR: "the output is a folder; name a file in it",
    errno.ENAMETOOLONG: "choose a shorter output path",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another output folder",
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn a failure to write ``target``, or anything beside or below it, into an :class:`OutputError`.

    A failure that names a file elsewhere (an input that may not be read) passes unchanged; a full disk never does.
    """
    try:
        yield
    except GenomixError:
        raise
    except Exception as error:
        number = no_room(error) or (error.errno if isinstance(error, OSError) else None)
        if number == errno.ENOENT and _names_temporary(error):
            raise OutputError(
                f"cannot write {target.name}: its folder takes no files", where=str(target),
                hint="choose another folder",
            ) from error  # fmt: skip
        if number not in _OUTPUT_HINTS or (number not in _NO_ROOM and not _concerns(error, target)):
            raise
        raise OutputError(
            f"cannot write {target.name}: {os.strerror(number)}", where=str(target), hint=_OUTPUT_HINTS[number]
        ) from error


@contextmanager
def scratch_errors(folder: Path) -> Iterator[None]:
    """Turn a lack of room for a temporary file in ``folder`` into an :class:`OutputError` that says where it lies."""
    try:
        yield
    except OSError as error:
        if no_room(error) is None:
            raise
        raise OutputError(
            f"cannot write a temporary file: {error.strerror}",
            where=str(folder.parent),
            hint="free space there, or name another folder for temporary files in TMPDIR",
        ) from error


def no_room(error: BaseException) -> int | None:
    """Return the error number when an exception says that there is no room to write, else None.

    Native writers (Polars, Arrow, XGBoost) put the operating system's words, not its number, into their exceptions.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        return number if number in _NO_ROOM else None
    text = str(error)
    return next((n for n in _NO_ROOM if os.strerror(n) in text or f"(os error {n})" in text), None)


def _named_paths(error: BaseException) -> list[Path]:
    names = (getattr(error, "filename", None), getattr(error, "filename2", None))
    return [Path(os.fsdecode(n)).absolute() for n in names if isinstance(n, str | bytes | os.PathLike)]


def _names_temporary(error: BaseException) -> bool:
    """Say whether a file under one of our temporary names could not be made (in /proc and the like)."""
    return any(p.name.startswith(TEMPORARY_PREFIX) for p in _named_paths(error))


def _concerns(error: BaseException, target: Path) -> bool:
    """Say whether an operating system error names the target, a folder on the way to it, or a temporary of ours."""
    paths = _named_paths(error)
    wanted = target.absolute()
    return not paths or any(p == wanted or wanted in p.parents or p in wanted.parents or is_temporary(p) for p in paths)
