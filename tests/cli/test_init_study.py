"""What ``genomix init`` proposes for a folder is a study that can be checked and run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from genomix_cli.app import main
from tests import faults
from tests.cli import studies
from tests.cli.studies import Demo, Study

FILL = {
    "Write what the study is called": "A proposed study of SIMULATED records",
    "Write the question that the report must answer": "Who will have coronary disease?",
    "write the outcome as a reader would say it": "coronary disease (SIMULATED)",
    "write who was studied": "people of the 1000 Genomes collection with SIMULATED records",
}


def test_a_proposed_study_is_filled_in_checked_and_run(demo: Demo, tmp_path: Path) -> None:
    copy = demo.copy(tmp_path)
    copy.file.unlink()
    before = faults.final_hashes(copy.inputs)
    proposed = studies.genomix("init", copy.inputs, "-o", copy.file)
    assert proposed.returncode == 0, proposed.stderr
    text = copy.file.read_text()
    found = tomllib.loads(text)
    assert found["genotypes"]["path"] == "genotypes.vcf.gz"
    assert found["genotypes"]["sample_info"] == "sample_info.tsv"
    assert found["records"]["path"] == "records"
    assert found["task"]["path"] == "task.yaml"
    assert found["link"]["path"] == "link.csv"
    assert [s["path"] for s in found["scores"]] == ["score_weights.tsv"]
    for blank, words in FILL.items():
        assert text.count(blank) == 1
        text = text.replace(blank, words)
    copy.file.write_text(text)
    copy.set("model", "max_rounds", "50")
    copy.set("model", "resamples", "100")

    checked = studies.genomix("check", copy.file)
    assert checked.returncode == 0, checked.stderr
    assert "the study can run" in checked.stderr
    assert "labels outcome 271 rows" in checked.stdout

    study = Study(copy.inputs, tmp_path / "results")
    done = study.run()
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.strip()).read_text()
    assert all(words in report for words in FILL.values())
    faults.assert_whole(study.out)
    assert {n: h for n, h in faults.final_hashes(copy.inputs).items() if n != "study.toml"} == before


def test_records_of_any_format_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hospital = tmp_path / "hospital"
    hospital.mkdir()
    for name, header in (
        ("PATIENTS", "subject_id,gender,dob"), ("ADMISSIONS", "subject_id,hadm_id,admittime"),
        ("ICUSTAYS", "subject_id,hadm_id,intime"),
    ):  # fmt: skip
        (hospital / f"{name}.csv").write_text(header + "\n")
    assert main(["init", str(tmp_path)]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert found["records"] == {"path": "hospital", "format": "mimic3"}
    assert main(["init", str(hospital)]) == 0
    assert tomllib.loads(capsys.readouterr().out)["records"] == {"path": ".", "format": "mimic3"}


def test_a_mapping_is_proposed_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labs = tmp_path / "labs"
    labs.mkdir()
    lines = [f"{i % 7},2020-01-{1 + i % 28:02d} 08:00,creatinine,{0.7 + i / 100:.2f},mg/dL" for i in range(60)]
    (labs / "results.csv").write_text("\n".join(["patient_id,charttime,test,value,unit", *lines]) + "\n")
    assert main(["init", str(labs)]) == 3
    assert "genomix init --mapping" in capsys.readouterr().err
    assert main(["ehr", "convert", str(labs), "--from", "csv", "-o", str(tmp_path / "r")]) == 8
    capsys.readouterr()
    assert main(["init", str(labs / "results.csv"), "--mapping"]) == 0
    assert "[[table.event]]" in capsys.readouterr().out
    mapping = labs / "mapping.toml"
    assert main(["init", str(labs), "--mapping", "-o", str(mapping)]) == 0
    assert "genomix ehr convert" in capsys.readouterr().err
    assert main(["init", str(labs), "--mapping", "-o", str(mapping)]) == 9
    assert main(["ehr", "convert", str(labs), "-o", str(tmp_path / "r")]) == 0
    assert "60 rows read = 60 kept + 0 dropped; 60 events of 7 people" in capsys.readouterr().err
    assert main(["init", str(tmp_path)]) == 0
    assert tomllib.loads(capsys.readouterr().out)["records"] == {"path": "labs", "format": "csv"}
    assert main(["init", str(tmp_path / "none"), "--mapping"]) == 3
