"""In-hospital death from the first 24 hours, on the MIMIC-IV demo release: counts against a loop over the raw file."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.ehr.aces import read_task
from genomix.ehr.cohort import extract_cohort
from genomix.features.families.demographics import FAMILY as DEMOGRAPHICS
from genomix.features.families.record_windows import FAMILY as RECORD_WINDOWS
from genomix.features.family import FeatureInputs
from genomix.io.meds import read_meds
from genomix.io.record_format import RecordSet

pytestmark = pytest.mark.real_data
TASK = Path(__file__).parent / "studies" / "mimic4_death_24h.task.yaml"


@pytest.fixture(scope="module")
def mimic(real_data: Path) -> RecordSet:
    return read_meds(real_data / "mimic4-demo-meds")


def test_events_are_read_and_the_artificial_labels_are_not(mimic: RecordSet) -> None:
    report = mimic.report
    assert (report.rows_read, report.rows_kept) == (916_166, 916_166)
    assert [(part.file, part.rows) for part in report.left_out] == [("data/mimic_iv_demo_meds_labels.parquet", 100)]
    events = mimic.events
    assert events["subject_id"].n_unique() == 100
    assert events["code"].n_unique() == 7035
    assert events["numeric_value"].count() == 405_236
    assert events.filter(pl.col("code") == "HOSPITAL_DISCHARGE//DIED").height == 15
    assert events.filter(pl.col("code") == "MEDS_DEATH").height == 31


def test_no_procedure_is_known_before_the_end_of_its_day(mimic: RecordSet) -> None:
    procedures = mimic.events.filter(pl.col("code").str.starts_with("PROCEDURE//ICD"))
    assert procedures.height == 722
    assert (procedures["time_precision"] == "day").all()
    wait = (procedures["available_time"] - procedures["time"]).dt.total_hours()
    assert int(wait.min()) >= 23  # type: ignore[arg-type]  # never null
    assert float(wait.median()) > 48  # type: ignore[arg-type]  # the discharge of a stay, not the day's end


def by_loop(real_data: Path) -> tuple[int, int, dict[tuple[int, object], float]]:
    """Return admissions, in-hospital deaths, and (subject, prediction time) → died, from the raw file alone."""
    raw = pl.read_parquet(real_data / "mimic4-demo-meds" / "data" / "mimic_iv_demo_meds_events.parquet")
    admissions, leaves = defaultdict(list), defaultdict(list)
    for subject, time, code in raw.select("subject_id", "time", "code").iter_rows():
        if code.startswith("HOSPITAL_ADMISSION//"):
            admissions[subject].append(time)
        elif code.startswith("HOSPITAL_DISCHARGE//") or code == "MEDS_DEATH":
            leaves[subject].append((time, code))
    day = timedelta(hours=24)
    found: dict[tuple[int, object], float] = {}
    for subject, times in admissions.items():
        for admitted in times:
            if any(admitted < t <= admitted + day for t, _ in leaves[subject]):
                continue
            end = min(t for t, c in leaves[subject] if c != "MEDS_DEATH" and t > admitted + day)
            died = (end, "HOSPITAL_DISCHARGE//DIED") in leaves[subject]
            found[subject, admitted + day] = float(died)
    deaths = sum(c == "HOSPITAL_DISCHARGE//DIED" for rows in leaves.values() for _, c in rows)
    return sum(map(len, admissions.values())), deaths, found


def test_flow_and_labels_equal_the_loop(mimic: RecordSet, real_data: Path) -> None:
    admissions, deaths, expected = by_loop(real_data)
    cohort = extract_cohort(mimic.events, read_task(TASK))
    boxes = cohort.flow.filter(pl.col("unit") == "admissions").select("kept", "events").rows()
    assert boxes[0] == (admissions, deaths) == (275, 15)
    assert boxes[-1] == (len(expected), sum(expected.values())) == (245, 14)
    ours = {(s, t): v for s, t, v in cohort.labels.select("subject_id", "prediction_time", "value").iter_rows()}
    assert ours == expected


def test_features_of_the_first_day_know_nothing_later(mimic: RecordSet) -> None:
    cohort = extract_cohort(mimic.events, read_task(TASK))
    index = cohort.labels.with_row_index("row").select(pl.col("row").cast(pl.Int64), "subject_id", "prediction_time")
    inputs = FeatureInputs(index, CPU, events=mimic.events)
    options = {"windows": ["1d", "full"], "counts": ["count"], "numeric": ["last"]}
    block = RECORD_WINDOWS.compute(inputs, options)
    assert block.values.shape[0] == 245
    assert float(block.columns["smallest_lag_days"].drop_nulls().min()) >= 0  # type: ignore[arg-type]  # not empty
    # No column of the first 24 hours is made from the codes that are billed at the discharge of the same stay.
    billed = block.columns.with_row_index("at").filter(
        pl.col("code").str.contains("^(DRG|HCPCS|PROCEDURE//ICD|HOSPITAL_DISCHARGE)") & (pl.col("window") == "1d")
    )
    first = index.sort("prediction_time").unique("subject_id", keep="first", maintain_order=True)["row"].to_numpy()
    assert billed.height > 100
    assert np.nansum(block.values[np.ix_(first, billed["at"].to_numpy())]) == 0
    learned = RECORD_WINDOWS.fit(block, inputs, options, np.arange(150))
    assert 500 < len(learned["columns"]) < block.columns.height
    people = DEMOGRAPHICS.compute(inputs, {})
    assert np.nanmin(people.values[:, 0]) > 17
    assert set(np.unique(people.values[:, 1])) == {0.0, 1.0}
