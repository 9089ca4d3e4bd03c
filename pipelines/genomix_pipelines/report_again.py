"""What a finished run's report was made from, read again from its output folder: the study's file is not needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from genomix.device import Device
from genomix.provenance import read_json
from genomix.report.document import Report, render_report
from genomix.report.inputs import ReportInputs
from genomix_pipelines.execute import finished_report
from genomix_pipelines.graph import folder_of
from genomix_pipelines.report_inputs import report_inputs
from genomix_pipelines.stage import StageContext
from genomix_pipelines.store import MANIFEST
from genomix_pipelines.study import Study


def finished_inputs(out: Path) -> ReportInputs:
    """Return the report's inputs from the stages that a finished run's report was made of.

    Raises
    ------
    InputNotFoundError: there is no finished run. IntegrityError: a file of the report is missing or differs.
    """
    folder = finished_report(out)
    manifest = read_json(folder / MANIFEST)
    upstream: dict[str, dict[str | None, Path]] = {}
    for name, digest in manifest["upstream"].items():
        stage, _, target = name.partition("[")
        upstream.setdefault(stage, {})[target.removesuffix("]") or None] = folder_of(out, stage, digest)
    study = Study.model_validate(manifest["parameters"]["study"])
    device = Device(manifest["device"], manifest["device"], "as the run's")
    return report_inputs(StageContext(study=study, target=None, out=out, files={}, upstream=upstream, device=device))


def internal_report(out: Path) -> Report:
    """Return the report of a finished run with every count shown, marked on every page as the study team's own.

    Raises
    ------
    InputNotFoundError, IntegrityError: as :func:`finished_inputs`.
    """
    inputs = finished_inputs(out)
    return render_report(replace(inputs, facts=replace(inputs.facts, internal=True)))
