"""Stage ``report``: result tables → ``report.html``, ``report.json``, ``model_card.json``, opt-in ``examples.html``."""

from __future__ import annotations

from typing import Any

from genomix.provenance import read_json
from genomix.report.document import render_report, write_report
from genomix.report.examples import render_examples, write_examples
from genomix.report.inputs import ExampleSubject
from genomix_pipelines.report_inputs import report_inputs
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.study import Study, stated_parameters


def run(context: StageContext) -> dict[str, Any]:
    """Write the report from plain tables; the same tables give the same bytes."""
    inputs = report_inputs(context)
    write_report(render_report(inputs), context.out)
    people = examples(context)
    if people:
        write_examples(render_examples(people, inputs.facts), context.out / "examples.html")
    failed = inputs.certificate.filter(inputs.certificate["status"] == "failed").height
    return {"html_kb": round((context.out / "report.html").stat().st_size / 1024), "leakage_checks_failed": failed}


def examples(context: StageContext) -> list[ExampleSubject]:
    """Return the example people of the study's one outcome, where it opted in."""
    if not context.has("explain"):
        return []
    folders = context.folders("explain")
    path = next(iter(folders.values())) / "examples.json"
    if len(folders) != 1 or not path.exists():
        return []
    return [ExampleSubject(**{**person, "bars": tuple(person["bars"])}) for person in read_json(path)]


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return everything that the study states and the report prints; no path."""
    return {"study": stated_parameters(study)}


STAGE = Stage(
    name="report",
    run=run,
    needs=(
        "convert_genotypes",
        "genotype_qc",
        "kinship",
        "convert_records",
        "link",
        "cohort",
        "split",
        "features",
        "model",
        "evaluate",
        "explain",
        "certificate",
    ),
    parameters=parameters,
)
