"""A model bundle: one folder with the model, what its features learned, its columns, its measures, and their hashes.

Every file's SHA-256 is checked before any of them is parsed: a damaged ``.ubj`` can end the interpreter. A hash beside
the file shows damage, not who wrote it; ``expect_sha256`` pins the manifest, and with it everything.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU, Device
from genomix.errors import FormatError, InputNotFoundError, IntegrityError
from genomix.features.matrix import FeatureBlock
from genomix.models.boosted import place
from genomix.models.conformal import Conformal, conformal_from
from genomix.models.model import Fitted, Float32Array, Float64Array, model_named
from genomix.models.recalibration import Calibrator, calibrator_from
from genomix.provenance import (
    atomic_directory,
    hash_json,
    is_temporary,
    package_versions,
    python_version,
    sha256_bytes,
    write_json,
    write_manifest,
)
from genomix.schemas.features import COLUMNS

FORMAT = "genomix model bundle"
FORMAT_VERSION = 1
CALIBRATOR = "calibrator.json"
REFERENCE = "reference.json"
CONFORMAL = "conformal.json"
_FIXED_FILES = ("columns.parquet", "learned.json", "metrics.json")
_BASELINE = "baseline/"


@dataclass(frozen=True)
class Bundle:
    """What :func:`read_bundle` found; ``columns`` (COLUMNS) are in the order that the model expects.

    ``baseline``: the plain model of the same columns, where the bundle holds one. ``ranges``: column → 5th and 95th
    percentile over training rows.
    """

    fitted: Fitted
    columns: pl.DataFrame
    learned: Mapping[str, Any]
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    calibrator: Calibrator | None = None
    reference: Mapping[str, Any] | None = None
    conformal: Conformal | None = None
    baseline: Fitted | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def matrix(self, block: FeatureBlock) -> Float32Array:
        """Return the model's columns of ``block``, by name and in the model's order.

        Raises
        ------
        FormatError: a column is missing; further columns are left out.
        """
        names = self.columns["name"].to_list()
        present = set(block.columns["name"].to_list())
        missing = [name for name in names if name not in present]
        if missing:
            raise FormatError(f"the model needs column {missing[0]!r} ({len(missing)} of {len(names)} are missing)")
        return np.ascontiguousarray(block.select(names).values)

    def predict(self, block: FeatureBlock) -> Float64Array:
        """Return the predictions for the rows of ``block``: the model's, through the calibrator where there is one."""
        found = self.fitted.predict(self.matrix(block))
        return found if self.calibrator is None else self.calibrator.apply(found)


def write_bundle(
    folder: Path, fitted: Fitted, *, columns: pl.DataFrame, learned: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None, about: Mapping[str, Any] | None = None, baseline: Fitted | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None, calibrator: Calibrator | None = None,
    reference: Mapping[str, Any] | None = None, conformal: Conformal | None = None,
) -> str:  # fmt: skip
    """Write a bundle as a new folder, atomically, and return the SHA-256 of its manifest.

    Parameters
    ----------
    folder: must not exist.
    columns: COLUMNS, one row per column of the model, in its order.
    learned: what fitted feature families learned (JSON-able), by family.
    metrics: measures on held-out data (JSON-able).
    about: JSON-able facts for the manifest (target, seed); no path, no user, no clock.
    baseline, ranges: see :class:`Bundle`.
    calibrator: applied to every prediction of the bundle. reference: bins that drift is measured against
        (:func:`genomix.models.drift.reference_bins`). conformal: bounds of the predictions' errors.
    """
    columns = COLUMNS.validate(columns)
    if columns.height != fitted.n_features:
        raise FormatError(f"the model has {fitted.n_features} columns, the dictionary {columns.height}")
    content = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "model": fitted.model, "objective": fitted.objective,
        "facts": dict(fitted.facts), "about": dict(about or {}), "python": python_version(),
        "packages": package_versions(), **({} if baseline is None else {"baseline": baseline.model}),
    }  # fmt: skip
    with atomic_directory(folder) as place:
        for name, data in fitted.to_files().items():
            (place / name).write_bytes(data)
        if baseline is not None:
            (place / _BASELINE).mkdir()
            for name, data in baseline.to_files().items():
                (place / _BASELINE / name).write_bytes(data)
        if ranges is not None:
            write_json(place / "ranges.json", {k: list(v) for k, v in ranges.items()})
        columns.write_parquet(place / "columns.parquet")
        write_json(place / "learned.json", dict(learned or {}))
        write_json(place / "metrics.json", dict(metrics or {}))
        if calibrator is not None:
            write_json(place / CALIBRATOR, calibrator.to_json())
        if reference is not None:
            write_json(place / REFERENCE, dict(reference))
        if conformal is not None:
            write_json(place / CONFORMAL, conformal.to_json())
        # The manifest cannot hold its own hash; this one shows damage to everything in it that names no file.
        write_manifest(place, {**content, "content_sha256": hash_json(content)})
        return sha256_bytes((place / "manifest.json").read_bytes())


def read_bundle(
    folder: Path, *, expect_sha256: str | None = None, device: Device = CPU, threads: int | None = None
) -> Bundle:
    """Read a bundle whose every file has the hash that its manifest states.

    Parameters
    ----------
    expect_sha256: SHA-256 of ``manifest.json`` as its author published it.
    device: where trees compute from here on. A bundle loads on either kind, whichever it was trained on (its facts say
        ``trained_on``); linear models and scores compute on the CPU.
    threads: of the trees; None for all.

    Raises
    ------
    InputNotFoundError: there is no bundle.
    IntegrityError: a file is damaged, missing or not in the manifest; nothing was parsed.
    """
    manifest = _read_manifest(folder, expect_sha256)
    files = _read_verified(folder, manifest["files"])
    fitted = _loaded(manifest, files)
    if (booster := getattr(fitted, "booster", None)) is not None:
        place(booster, device, threads)
    columns = COLUMNS.validate(pl.read_parquet(io.BytesIO(files["columns.parquet"])), where="columns.parquet")
    baseline = None
    if "baseline" in manifest:
        own = {name.removeprefix(_BASELINE): data for name, data in files.items() if name.startswith(_BASELINE)}
        baseline = model_named(str(manifest["baseline"])).from_files(own)
    ranges = {k: (v[0], v[1]) for k, v in json.loads(files.get("ranges.json", b"{}")).items()}
    return Bundle(
        fitted, columns, json.loads(files["learned.json"]), json.loads(files["metrics.json"]), manifest,
        calibrator_from(json.loads(files[CALIBRATOR])) if CALIBRATOR in files else None,
        json.loads(files[REFERENCE]) if REFERENCE in files else None,
        conformal_from(json.loads(files[CONFORMAL])) if CONFORMAL in files else None, baseline, ranges,
    )  # fmt: skip


def _loaded(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Fitted:
    if manifest["objective"] == "survival":
        from genomix.models.survival import survival_from_files

        timed: Fitted = survival_from_files(str(manifest["model"]), files)
        return timed
    return model_named(str(manifest["model"])).from_files(files)


def _read_manifest(folder: Path, expect_sha256: str | None) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputNotFoundError("there is no model bundle", where=str(folder), hint="a folder with manifest.json")
    data = path.read_bytes()
    if expect_sha256 is not None and sha256_bytes(data) != expect_sha256.lower():
        raise _damaged("manifest.json is not the one that was expected", path)
    try:
        manifest = json.loads(data)
        # Only the exact bytes that genomix would write are accepted, so that no change at all goes unseen.
        again = (json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
        content = {k: v for k, v in manifest.items() if k not in ("files", "content_sha256")}
        sound = again == data and hash_json(content) == manifest["content_sha256"]
        known = content["format"] == FORMAT and isinstance(manifest["files"], dict)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged("manifest.json is damaged", path) from error
    if not sound or not known:
        raise _damaged("manifest.json is damaged", path)
    if content["format_version"] != FORMAT_VERSION:
        raise FormatError(
            f"bundle format {content['format_version']} is not known", where=str(path), hint="a newer genomix"
        )
    return dict(manifest)


def _read_verified(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Return the bytes of every file after all hashes agree; the same bytes are parsed later, not the file."""
    present = {
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "manifest.json" and not is_temporary(p.relative_to(folder))
    }
    for name in sorted(present ^ set(hashes)):
        what = "is missing" if name in hashes else "is not in the manifest"
        raise _damaged(f"{name} {what}", folder / name)
    missing = [name for name in _FIXED_FILES if name not in hashes]
    if missing:
        raise _damaged(f"{missing[0]} is missing", folder / missing[0])
    files = {}
    for name in sorted(hashes):
        files[name] = (folder / name).read_bytes()
        if sha256_bytes(files[name]) != hashes[name]:
            raise _damaged(f"{name} does not have the hash that manifest.json states", folder / name)
    return files


def _damaged(what: str, path: Path) -> IntegrityError:
    return IntegrityError(what, where=str(path), hint="copy the bundle again from where it was made")
