"""Run a study and put its report where a person looks for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.device import Device
from genomix.errors import InputNotFoundError, IntegrityError, LeakageError
from genomix.provenance import atomic_path, read_json, sha256_file
from genomix_pipelines.run import RunResult, run_study
from genomix_pipelines.store import MANIFEST, POINTER, current_folder
from genomix_pipelines.study import Study

PUBLISHED = ("report.html", "report.json", "model_card.json", "examples.html")


class Outcome(NamedTuple):
    """What a run did, the report's path (None for a dry run), and the certificate's failed checks."""

    result: RunResult
    report: Path | None
    failed_checks: tuple[str, ...]


def execute(study: Study, out: Path, *, device: Device, strict: bool = False, **options: Any) -> Outcome:
    """Run every stage that is not there yet, then copy the report to ``out``.

    Parameters
    ----------
    study: as loaded. out: the output folder. device: resolved once, by the caller.
    strict: a failed leakage check raises after the report has been written.
    options: passed to ``run_study`` (jobs, from_stage, dry_run, observer).

    Raises
    ------
    LeakageError: when ``strict`` and a check of the certificate failed.
    """
    result = run_study(
        study, out, device=device, threads=study.compute.threads,
        finish=lambda done: publish(done.folder("report"), out), **options,
    )  # fmt: skip
    if options.get("dry_run"):
        return Outcome(result, None, ())
    failed = failed_checks([node.folder for node in result.nodes if node.stage == "certificate"])
    if failed and strict:
        raise LeakageError(
            f"the leakage certificate failed: {', '.join(failed)}",
            where=str(out / "report.html"),
            hint="read the report's section on leakage; without --strict the run succeeds with this warning",
        )
    return Outcome(result, out / "report.html", failed)


def finished_report(out: Path) -> Path:
    """Return the folder of the report stage of a finished run, every file of which is what its manifest states.

    Raises
    ------
    InputNotFoundError: there is no finished run. IntegrityError: a file of the report is missing or differs.
    """
    if not (out / POINTER).is_file():
        raise InputNotFoundError("there is no finished run", where=str(out), hint="the folder of genomix run --out")
    folder = current_folder(out, "report")
    manifest = read_json(folder / MANIFEST)
    for name, digest in sorted(manifest["files"].items()):
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise IntegrityError(f"{name} is not what the run wrote", where=str(path), hint="genomix run --from report")
    return folder


def publish(folder: Path, out: Path) -> None:
    """Copy the report's files from its stage to ``out``, each atomically and only when it differs."""
    for name in PUBLISHED:
        source, target = folder / name, out / name
        if not source.exists():
            target.unlink(missing_ok=True)
        elif not target.exists() or sha256_file(source) != sha256_file(target):
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)


def failed_checks(folders: list[Path]) -> tuple[str, ...]:
    """Return the names of failed checks in the certificates of these stage folders."""
    names = set()
    for folder in folders:
        frame = pl.read_parquet(folder / "certificate.parquet")
        names |= set(frame.filter(pl.col("status") == "failed")["check"].to_list())
    return tuple(sorted(names))
