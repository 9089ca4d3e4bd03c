"""What ``genomix init`` proposes for a folder is a study that can be checked and run."""

from __future__ import annotations

import tomllib
from pathlib import Path

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
