"""The plan of a study: which stages run, in which order, and the HASH of each before anything runs.

A node's HASH covers everything that determines its bytes: what its input files hold (not where they lie), the HASHes
of the nodes it reads, its parameters, the source that it can run, the versions of the numerical packages and the kind
of device. Equal HASH, equal bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genomix.errors import InputNotFoundError
from genomix.provenance import (
    NUMERICAL_PACKAGES,
    hash_json,
    is_temporary,
    package_versions,
    sha256_file,
    sha256_tree,
)
from genomix_pipelines.source_hash import source_hash
from genomix_pipelines.stage import Stage, StudyLike

HASH_LENGTH = 16
"""Characters of a HASH that name its folder; the manifest holds all 64."""

GPU_PACKAGES = ("cudf-cu13", "cudf-polars-cu13", "cuml-cu13", "cupy-cuda13x")

Key = tuple[str, str | None]
"""Stage name and target."""


@dataclass(frozen=True)
class Node:
    """One stage of one study, for one target when the stage is repeated per target.

    ``upstream`` maps stage name to ``{target: HASH}``; ``identity`` is what the HASH is taken over; ``stamps`` say
    whether an input was changed after it was hashed.
    """

    stage: Stage
    target: str | None
    hash: str
    files: Mapping[str, Path]
    stamps: Mapping[str, str]
    parameters: Mapping[str, Any]
    upstream: Mapping[str, Mapping[str | None, str]]
    identity: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> Key:
        """Stage name and target."""
        return self.stage.name, self.target

    @property
    def name(self) -> str:
        """The node's name in ``current.json`` and on the console, e.g. ``split`` or ``model[ldl]``."""
        return node_name(*self.key)

    @property
    def needs(self) -> tuple[Key, ...]:
        """Keys of the nodes that must be complete first."""
        return tuple((stage, target) for stage, by_target in self.upstream.items() for target in by_target)


def node_name(stage: str, target: str | None) -> str:
    """Return a node's name.

    >>> node_name("split", None), node_name("model", "ldl")
    ('split', 'model[ldl]')
    """
    return stage if target is None else f"{stage}[{target}]"


def folder_of(out: Path, stage: str, hash_: str) -> Path:
    """Return where a node's output lies: ``OUT/stages/NAME/HASH``."""
    return out / "stages" / stage / hash_[:HASH_LENGTH]


class FileHashes:
    """SHA-256 of files, each read once per run (remembered by path, size and modification time)."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def tree(self, path: Path) -> str:
        """Return :func:`genomix.provenance.sha256_tree` of a file or folder."""
        return sha256_tree(path, hash_file=self._file)

    def _file(self, path: Path) -> str:
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._known:
            self._known[key] = sha256_file(path)
        return self._known[key]


def stamp(path: Path) -> str:
    """Return a cheap fingerprint of a file or folder: names, sizes and modification times."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    rows = [
        [p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns]
        for p in files
        if not is_temporary(p.relative_to(path))
    ]
    return hash_json(rows)


def plan(study: StudyLike, stages: Iterable[Stage] | Mapping[str, Stage], *, device_kind: str) -> list[Node]:
    """Return the nodes of a study in an order in which they can run, each with its HASH.

    Parameters
    ----------
    study: asked by each stage whether it is wanted, which files it reads and with which parameters.
    stages: every stage there is; those that the study does not want are left out, also from others' needs.
    device_kind: ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputNotFoundError: naming the stage and role of an input file that is not there.
    ValueError: when two stages have one name or the needs form a circle.
    """
    chosen = [s for s in _listed(stages) if s.wanted(study)]
    targets: tuple[str | None, ...] = tuple(study.targets) or (None,)
    versions = _versions(device_kind)
    hashes = FileHashes()
    nodes: dict[Key, Node] = {}
    for stage in _ordered(chosen):
        for target in targets if stage.per_target else (None,):
            upstream = _upstream(stage, target, nodes)
            nodes[stage.name, target] = _node(study, stage, target, upstream, hashes, versions, device_kind)
    return list(nodes.values())


def descendants(nodes: Iterable[Node], stage: str) -> frozenset[Key]:
    """Return the keys of a stage's nodes and of all nodes that read them, directly or not."""
    found: set[Key] = set()
    for node in nodes:  # a plan lists every node after those it needs
        if node.stage.name == stage or any(key in found for key in node.needs):
            found.add(node.key)
    return frozenset(found)


def _listed(stages: Iterable[Stage] | Mapping[str, Stage]) -> list[Stage]:
    listed = list(stages.values()) if isinstance(stages, Mapping) else list(stages)
    names = [s.name for s in listed]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"two stages are named {', '.join(twice)}")
    return sorted(listed, key=lambda s: s.name)


def _ordered(stages: list[Stage]) -> list[Stage]:
    """Return the stages so that each follows its needs, otherwise by name (Kahn's algorithm)."""
    held = {s.name for s in stages}
    waiting = list(stages)
    ordered: list[Stage] = []
    done: set[str] = set()
    while waiting:
        ready = [s for s in waiting if all(n in done for n in s.needs if n in held)]
        if not ready:
            raise ValueError(f"the needs of these stages form a circle: {', '.join(s.name for s in waiting)}")
        ordered.append(ready[0])
        done.add(ready[0].name)
        waiting.remove(ready[0])
    return ordered


def _upstream(stage: Stage, target: str | None, nodes: Mapping[Key, Node]) -> dict[str, dict[str | None, str]]:
    """Return the HASHes of the nodes that a node reads: its own target's, or all targets' when it has none."""
    found: dict[str, dict[str | None, str]] = {}
    for need in sorted(set(stage.needs)):
        offered = {key[1]: node for key, node in nodes.items() if key[0] == need}
        own_only = stage.per_target and any(node.stage.per_target for node in offered.values())
        chosen = {t: node.hash for t, node in offered.items() if not own_only or t == target}
        if chosen:
            found[need] = chosen
    return found


def _node(
    study: StudyLike,
    stage: Stage,
    target: str | None,
    upstream: Mapping[str, Mapping[str | None, str]],
    hashes: FileHashes,
    versions: Mapping[str, str],
    device_kind: str,
) -> Node:
    files = dict(sorted(stage.files(study, target).items()))
    stamps = {role: _input(stage, role, path) for role, path in files.items()}
    parameters = stage.parameters(study, target)
    identity = {
        "stage": stage.name,
        "target": target,
        "inputs": {role: hashes.tree(path) for role, path in files.items()},
        "upstream": {node_name(s, t): h for s, by_target in upstream.items() for t, h in by_target.items()},
        "parameters": parameters,
        "source": source_hash(stage.run),
        "versions": dict(versions),
        "device": device_kind,
    }
    return Node(stage, target, hash_json(identity), files, stamps, parameters, upstream, identity)


def _input(stage: Stage, role: str, path: Path) -> str:
    if not path.exists():
        raise InputNotFoundError(
            f"{path.name} does not exist (stage {stage.name} reads it as its {role})",
            where=str(path),
            hint="correct its path in the study file",
        )
    return stamp(path)


def _versions(device_kind: str) -> dict[str, str]:
    names = NUMERICAL_PACKAGES + (GPU_PACKAGES if device_kind == "cuda" else ())
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **package_versions(names)}
