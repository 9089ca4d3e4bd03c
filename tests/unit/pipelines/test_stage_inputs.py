"""What families are given: the task's prediction time reaches the windows, and cis regions follow the target."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import FormatError
from genomix.provenance import write_json
from genomix_pipelines.stage import StageContext
from genomix_pipelines.stage_inputs import cis_region, family_options
from genomix_pipelines.study import load_study

STUDY = """
[study]
title = "T"
question = "Q"
outcome = "O"
population = "P"
[records]
path = "records"
[task]
path = "task.yaml"
[split]
keep_together = "subjects"
[features.record_windows]
windows = ["30d"]
"""


def context(folder: Path, cohort: dict[str, object]) -> StageContext:
    (folder / "records" / "records" / "metadata").mkdir(parents=True)
    codes = pl.DataFrame({"code": ["LAB//x"], "description": ["potassium"]})
    codes.write_parquet(folder / "records" / "records" / "metadata" / "codes.parquet")
    (folder / "task.yaml").write_text("x")
    (folder / "study.toml").write_text(STUDY)
    write_json(folder / "cohort" / "cohort.json", cohort)
    upstream = {"cohort": {None: folder / "cohort"}, "convert_records": {None: folder / "records"}}
    study = load_study(folder / "study.toml")
    return StageContext(study=study, target=None, out=folder, files={}, upstream=upstream, device=CPU)


@pytest.mark.parametrize(("inclusive", "wanted"), [(True, "inclusive"), (False, "exclusive")])
def test_the_task_decides_whether_records_at_the_prediction_time_count(
    tmp_path: Path, inclusive: bool, wanted: str
) -> None:
    options = family_options(context(tmp_path, {"inclusive": inclusive}), "record_windows")
    assert options["prediction_time"] == wanted
    assert options["descriptions"] == {"LAB//x": "potassium"}
    assert "exclude" not in options, "the family's own default must stay"


def test_cis_region_is_the_target_and_its_surroundings(tmp_path: Path) -> None:
    place = {"name": "G", "contig": "22", "start": 500, "end": 900}
    found = cis_region(context(tmp_path, {"position": place}), 1000)
    assert found == {"contig": "22", "start": 1, "end": 1900}


def test_cis_without_positions_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="positions"):
        cis_region(context(tmp_path, {"position": None}), 1000)
