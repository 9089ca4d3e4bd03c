"""One study for each format of records, to a report: described where people are too few for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomix_cli.app import main

STUDIES = Path(__file__).parent / "studies"


def report_of(name: str, real_data: Path, folder: Path) -> dict[str, Any]:
    """Run a study on the shared inputs, wherever they lie, and return its report."""
    text = (STUDIES / f"{name}.toml").read_text().replace("../../../../shared/data", real_data.as_posix())
    for task in STUDIES.glob("*.task.yaml"):
        (folder / task.name).write_text(task.read_text())
    (folder / "study.toml").write_text(text)
    assert main(["check", str(folder / "study.toml")]) == 0
    assert main(["run", str(folder / "study.toml"), "--out", str(folder / "out"), "--device", "cpu"]) == 0
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return found


@pytest.mark.real_data
def test_omop_is_described_and_said_not_to_be_estimable(real_data: Path, tmp_path: Path) -> None:
    report = report_of("omop_synthea", real_data, tmp_path)
    sections = {s["name"]: s for s in report["sections"]}
    assert sections["summary"]["finding"].startswith("Not estimable: ")
    assert report["simulated"] == ["health records"]
    conversion = json.loads(next((tmp_path / "out/stages/convert_records").glob("*/conversion.json")).read_text())
    assert conversion["records"]["rows_read"] == sum(t["rows_read"] for t in conversion["records"]["tables"].values())


@pytest.mark.real_data
def test_fhir_is_described_and_no_name_reaches_what_is_kept(real_data: Path, tmp_path: Path) -> None:
    report_of("fhir_synthea", real_data, tmp_path)
    texts = [p.read_text() for p in (tmp_path / "out").rglob("*") if p.suffix in (".json", ".html")]
    bundles = list((real_data / "fhir-smart-synthea-r4").glob("*.json"))
    assert bundles
    assert texts
    for bundle in bundles:
        family = bundle.name.split("_")[1]
        assert not any(bundle.name in text or f"_{family}_" in text for text in texts), family


@pytest.mark.real_data
def test_mimic3_is_described(real_data: Path, tmp_path: Path) -> None:
    report = report_of("mimic3_records", real_data, tmp_path)
    names = [s["name"] for s in report["sections"]]
    assert "data_quality" in names
    assert "performance" not in names
    text = (tmp_path / "out" / "report.html").read_text()
    assert "coded for billing after the stay" in text
    assert "rewritten at the source" in text
