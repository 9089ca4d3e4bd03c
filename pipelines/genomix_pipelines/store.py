"""The output folder: complete stage folders, the pointer to the current ones, and what a dead run left behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genomix.errors import GenomixError, IntegrityError
from genomix.provenance import TEMPORARY_PREFIX, read_json, sha256_file, write_json, write_manifest
from genomix_pipelines.graph import Node, folder_of

MANIFEST = "manifest.json"
POINTER = "current.json"
RECORD = "run.json"

FULL_CHECK_BYTES = 64 * 1024 * 1024
"""A reused file up to this size is hashed again; a larger one is judged by its size (``--from`` hashes all)."""


def complete(folder: Path, node: Node, summary: Mapping[str, Any]) -> None:
    """Make a filled folder complete: drop temporaries and write the manifest, which holds nothing that differs by run.

    Raises
    ------
    ValueError: when the stage wrote a ``manifest.json`` of its own at the top, or a summary that is not JSON.
    """
    if (folder / MANIFEST).exists():
        raise ValueError(f"stage {node.stage.name} wrote {MANIFEST}; that name is the runner's")
    for path in sorted(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        _remove(path)
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    write_manifest(folder, {**node.identity, "hash": node.hash, "summary": dict(summary), "sizes": sizes})


def summary_of(folder: Path) -> dict[str, Any]:
    """Return what the stage counted when it filled the folder."""
    summary: dict[str, Any] = read_json(folder / MANIFEST)["summary"]
    return summary


def verify(folder: Path, node: Node, *, full: bool = False) -> None:
    """Check a complete folder against its manifest; files above :data:`FULL_CHECK_BYTES` by size unless ``full``.

    A damaged folder is never mended silently: what damaged it may have damaged more.

    Raises
    ------
    IntegrityError: naming the first file that is missing or differs.
    """
    try:
        manifest = read_json(folder / MANIFEST)
        stated, files, sizes = manifest["hash"], manifest["files"], manifest["sizes"]
    except (GenomixError, KeyError, TypeError) as error:
        raise _damaged(folder, folder / MANIFEST, "is missing or unreadable") from error
    if stated != node.hash:
        raise _damaged(folder, folder / MANIFEST, "belongs to another HASH")
    for name, digest in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, path, "is missing")
        size = path.stat().st_size
        if size != sizes[name] or ((full or size <= FULL_CHECK_BYTES) and sha256_file(path) != digest):
            raise _damaged(folder, path, "is not what its manifest states")


def compare(fresh: Path, earlier: Path, node: Node) -> None:
    """Compare a recomputed folder with the earlier one of the same HASH, byte for byte.

    Raises
    ------
    IntegrityError: naming the first file that differs, or that the earlier folder was damaged.
    """
    verify(earlier, node, full=True)
    new, old = read_json(fresh / MANIFEST), read_json(earlier / MANIFEST)
    names = sorted({*new["files"], *old["files"]})
    differing = [n for n in names if new["files"].get(n) != old["files"].get(n)]
    if not differing and (fresh / MANIFEST).read_bytes() != (earlier / MANIFEST).read_bytes():
        differing = [MANIFEST]
    if differing:
        raise IntegrityError(
            f"{node.name} is not reproducible: {differing[0]} differs from the earlier run under the same HASH"
            + (f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""),
            where=str(earlier / differing[0]),
            hint="something outside the inputs, parameters, source and versions changes the result; report it",
        )


def write_pointer(out: Path, hashes: Mapping[str, str]) -> None:
    """Replace ``current.json`` unless it says so already."""
    if read_pointer(out) != hashes:
        write_json(out / POINTER, dict(hashes))


def read_pointer(out: Path) -> dict[str, str]:
    """Return what ``current.json`` says, nothing when there is none or it was damaged: the next run writes it anew."""
    try:
        found = read_json(out / POINTER)
    except GenomixError:
        return {}
    return found if isinstance(found, dict) else {}


def current_folder(out: Path, name: str) -> Path:
    """Return the folder that ``current.json`` names for a node, e.g. ``model[ldl]``.

    Raises
    ------
    InputNotFoundError: when nothing was completed there.
    IntegrityError: when the pointer does not hold the node.
    """
    hashes = read_json(out / POINTER)
    if name not in hashes:
        raise IntegrityError(f"{POINTER} holds no {name}", where=str(out / POINTER), hint="run the study again")
    return folder_of(out, name.partition("[")[0], hashes[name])


def sweep(out: Path) -> list[Path]:
    """Remove what dead runs left under temporary names; only the holder of the lock may do so.

    ``inputs`` is where the demo writes what it simulates; finished stage folders hold no temporaries.
    """
    found = sorted(
        p for place in ("", "inputs/**/", "stages/", "stages/*/") for p in out.glob(place + f"{TEMPORARY_PREFIX}*")
    )
    for path in found:
        _remove(path)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _damaged(folder: Path, path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"a finished stage was damaged: {path.name} {what}",
        where=str(path),
        hint=f"check the disk, then delete {folder} and run again to recompute it",
    )
