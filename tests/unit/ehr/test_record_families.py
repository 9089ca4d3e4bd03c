"""The families made from records: what they say, what they learn, and that the future changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError
from genomix.features.families.demographics import FAMILY as DEMOGRAPHICS
from genomix.features.families.record_windows import FAMILY as RECORDS
from genomix.features.family import FeatureInputs
from genomix.features.matrix import FeatureBlock
from genomix.io.record_format import to_events
from genomix.schemas.features import COLUMNS

T = datetime(2020, 6, 1, 12)
DAY = timedelta(days=1)
OPTIONS: dict[str, Any] = {"windows": ["30d", "full"], "min_subjects": 2}


def events(*rows: tuple[int, datetime | None, str, float | None]) -> pl.DataFrame:
    raw = pl.DataFrame(
        [(s, t, c, v, "mg/dL" if v is not None else None) for s, t, c, v in rows],
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
                "unit": pl.String},
        orient="row",
    )  # fmt: skip
    return to_events(raw, source_format="t").events


def inputs(frame: pl.DataFrame | None, *rows: tuple[int, datetime | None]) -> FeatureInputs:
    index = pl.DataFrame(
        [(i, s, t) for i, (s, t) in enumerate(rows)],
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")}, orient="row",
    )  # fmt: skip
    return FeatureInputs(index, CPU, events=frame)


def column(block: FeatureBlock, name: str) -> list[float]:
    return [float(v) for v in block.values[:, block.columns["name"].to_list().index(name)]]


RECORD = events(
    (1, T - 2 * DAY, "LAB//crea", 1.0), (1, T - 2 * DAY, "LAB//crea", 3.0), (1, T - 90 * DAY, "LAB//crea", 7.0),
    (2, T - 40 * DAY, "LAB//crea", 5.0), (2, T - 1 * DAY, "DX//a", None), (2, T + DAY, "DX//late", None),
    (3, T - 5 * DAY, "DX//a", None), (1, None, "RACE//X", None), (1, None, "GENDER//F", None),
)  # fmt: skip
WHOLE = inputs(RECORD, (2, T), (1, T), (9, T), (3, T), (1, T - 50 * DAY))


def test_values_in_the_order_of_rows() -> None:
    block = RECORDS.compute(WHOLE, OPTIONS)
    assert column(block, "records:LAB//crea:count:30d") == [0, 2, 0, 0, 0]
    assert column(block, "records:LAB//crea:count:full") == [1, 3, 0, 0, 1]
    np.testing.assert_array_equal(column(block, "records:LAB//crea:last:full"), [5, 3, np.nan, np.nan, 7])
    np.testing.assert_array_equal(column(block, "records:LAB//crea:mean:30d"), [np.nan, 2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(column(block, "records:DX//a:time_since_last:30d"), [1, np.nan, np.nan, 5, np.nan])
    assert column(block, "records:RACE//X:has:static") == [0, 1, 0, 0, 1]
    assert not any("late" in name or "GENDER" in name for name in block.columns["name"])
    assert not any(":mean:" in n for n in block.columns.filter(pl.col("code") == "DX//a")["name"])


def test_the_dictionary_speaks() -> None:
    words = {"LAB//crea": "creatinine"}
    block = RECORDS.compute(WHOLE, {**OPTIONS, "descriptions": words, "numeric": ["last", "slope"]})
    COLUMNS.validate(block.columns)
    told = {r["name"]: r for r in block.columns.iter_rows(named=True)}
    last = told["records:LAB//crea:last:30d"]
    assert last["sentence"] == "last creatinine in the 30 days before prediction, mg/dL"
    assert (last["group"], last["source"], last["window"], last["aggregation"]) == (
        "creatinine",
        "records",
        "30d",
        "last",
    )
    assert (last["unit"], last["code"], last["smallest_lag_days"]) == ("mg/dL", "LAB//crea", 2.0)
    assert told["records:LAB//crea:slope:full"]["unit"] == "mg/dL/d"
    assert told["records:DX//a:count:full"]["sentence"] == "number of records of DX a ever before prediction"
    assert told["records:DX//a:count:full"]["smallest_lag_days"] == 1.0
    assert told["records:LAB//crea:last:full"]["smallest_lag_days"] == 2.0


def test_fit_keeps_frequent_and_varying_columns_of_training_rows() -> None:
    block = RECORDS.compute(WHOLE, OPTIONS)
    kept = {row[0] for row in RECORDS.fit(block, WHOLE, OPTIONS, np.array([0, 1, 3]))["columns"]}
    assert "records:DX//a:count:full" in kept
    assert "records:LAB//crea:count:full" in kept
    assert "records:LAB//crea:last:30d" in kept  # one value only, but missing for others
    assert "records:RACE//X:has:static" not in kept  # one person
    # Rows 1 and 4 are one person: the laboratory test occurs in one subject of these rows.
    assert RECORDS.fit(block, WHOLE, OPTIONS, np.array([1, 4]))["columns"] == []
    constant = {row[0] for row in RECORDS.fit(block, WHOLE, OPTIONS, np.array([0, 3]))["columns"]}
    assert "records:DX//a:count:full" not in constant  # once each
    assert "records:DX//a:time_since_last:full" in constant


def test_fit_depends_on_its_rows_only() -> None:
    block = RECORDS.compute(WHOLE, OPTIONS)
    rows = np.array([0, 1])
    changed = FeatureBlock(block.values.copy(), block.columns)
    changed.values[2:] = 77
    assert RECORDS.fit(block, WHOLE, OPTIONS, rows) == RECORDS.fit(changed, WHOLE, OPTIONS, rows)


def test_apply_to_new_people_fills_columns_that_they_lack() -> None:
    block = RECORDS.compute(WHOLE, OPTIONS)
    learned = RECORDS.fit(block, WHOLE, OPTIONS, np.arange(5))
    ours = RECORDS.apply(block, WHOLE, OPTIONS, learned)
    assert ours.columns["name"].to_list() == [row[0] for row in learned["columns"]]
    new = inputs(RECORD, (9, T))
    found = RECORDS.apply(RECORDS.compute(new, OPTIONS), new, OPTIONS, learned)
    assert found.columns.drop("smallest_lag_days").equals(ours.columns.drop("smallest_lag_days"))
    np.testing.assert_array_equal(found.values[0], ours.values[2])


def test_each_row_alone_gives_the_same_values() -> None:
    whole = RECORDS.compute(WHOLE, OPTIONS)
    for i, (subject, time) in enumerate(WHOLE.index.select("subject_id", "prediction_time").iter_rows()):
        alone = RECORDS.compute(inputs(RECORD, (subject, time)), OPTIONS)
        for j, name in enumerate(alone.columns["name"]):
            np.testing.assert_array_equal(alone.values[0, j], np.float32(column(whole, name)[i]))


def test_later_events_change_nothing() -> None:
    late = events((1, T + DAY, "LAB//crea", 99.0), (3, T, "DX//new", None), (9, T + DAY, "DX//a", None))
    late = late.with_columns(
        pl.when(pl.col("code") == "DX//new").then(T + DAY).otherwise("available_time").alias("available_time")
    )
    for family, options in ((RECORDS, OPTIONS), (DEMOGRAPHICS, {})):
        one = family.compute(WHOLE, options)
        two = family.compute(replace(WHOLE, events=pl.concat([RECORD, late])), options)
        assert one.columns.equals(two.columns)
        np.testing.assert_array_equal(one.values, two.values)


def test_rolled_up_codes_and_choice_of_codes() -> None:
    block = RECORDS.compute(WHOLE, {**OPTIONS, "code_depth": 1, "static": False})
    assert column(block, "records:DX:count:full") == [1, 0, 0, 1, 0]
    only = RECORDS.compute(WHOLE, {**OPTIONS, "include": ["^LAB", "^DX"], "exclude": ["^DX"]})
    assert set(only.columns["code"]) == {"LAB//crea"}
    few = RECORDS.compute(WHOLE, {**OPTIONS, "min_rows": 3})
    assert set(few.columns["code"]) == {"LAB//crea"}


def test_values_in_two_units_are_refused_or_left_out() -> None:
    mixed = RECORD.with_columns(
        pl.when(pl.col("subject_id") == 2).then(pl.lit("umol/L")).otherwise("unit").alias("unit")
    )
    with pytest.raises(FormatError, match="LAB//crea has values in mg/dL and in umol/L"):
        RECORDS.compute(replace(WHOLE, events=mixed), OPTIONS)
    rolled = RECORDS.compute(replace(WHOLE, events=mixed), {**OPTIONS, "code_depth": 1})
    assert "records:LAB:count:full" in rolled.columns["name"]
    assert "records:LAB:last:full" not in rolled.columns["name"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": ["1d"]}, "no option 'window'"),
        ({"counts": ["mean"]}, "counts: 'mean'"),
        ({"numeric": ["count"]}, "numeric: 'count'"),
        ({"counts": [], "numeric": []}, "no aggregation"),
        ({"windows": ["1y"]}, "not a duration"),
        ({"code_depth": 0}, "code_depth is 0"),
        ({"include": ["("]}, "cannot be read"),
        ({"prediction_time": "strict"}, "prediction_time"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RECORDS.compute(WHOLE, options)


def test_rows_without_prediction_time_are_refused() -> None:
    with pytest.raises(ConfigError, match="prediction time"):
        RECORDS.compute(inputs(RECORD, (1, None)), OPTIONS)


def test_exclusive_prediction_time() -> None:
    frame = events((1, T, "DX//a", None))
    counts = {**OPTIONS, "counts": ["count"], "numeric": []}
    assert column(RECORDS.compute(inputs(frame, (1, T)), counts), "records:DX//a:count:full") == [1]
    assert RECORDS.compute(inputs(frame, (1, T)), {**counts, "prediction_time": "exclusive"}).values.shape == (1, 0)


def test_age_and_sex_from_records() -> None:
    frame = events(
        (1, datetime(1980, 6, 1), "MEDS_BIRTH", None), (1, None, "GENDER//F", None),
        (2, datetime(1970, 6, 1), "MEDS_BIRTH", None), (2, None, "SEX//male", None),
        (3, None, "SEX//F", None), (3, None, "SEX//M", None),  # contradictory
        (4, None, "Gender//8532", None), (5, None, "GENDER//unknown", None), (6, T + DAY, "SEX//F", None),
    )  # fmt: skip
    block = DEMOGRAPHICS.compute(inputs(frame, *((s, T) for s in (2, 1, 3, 4, 5, 6))), {})
    np.testing.assert_allclose(block.values[:2, 0], [50.0, 40.0], atol=0.003)
    assert np.isnan(block.values[2:, 0]).all()
    np.testing.assert_array_equal(block.values[:, 1], [0, 1, np.nan, 1, np.nan, np.nan])
    assert block.columns["sentence"].to_list() == ["age at prediction, years", "sex (1 female, 0 male)"]


class Samples:
    """As much of a genotype store as the family reads."""

    samples = pl.DataFrame({"sample_id": ["a", "b", "c"], "sex": pl.Series([1, 2, 0], dtype=pl.Int8)})


def test_sex_of_the_sample_where_records_are_silent() -> None:
    linked = {"genotypes": Samples(), "sample_of_row": np.array([1, 0, 2, -1, 1])}
    without = replace(inputs(None, *((s, None) for s in range(5))), **linked)  # type: ignore[arg-type]  # a stand-in
    block = DEMOGRAPHICS.compute(without, {})
    assert block.columns["name"].to_list() == ["sex"]
    np.testing.assert_array_equal(block.values[:, 0], [1, 0, np.nan, np.nan, 1])
    frame = events((0, None, "SEX//M", None))
    both = replace(inputs(frame, *((s, T) for s in range(5))), **linked)  # type: ignore[arg-type]  # a stand-in
    np.testing.assert_array_equal(DEMOGRAPHICS.compute(both, {}).values[:, 1], [0, 0, np.nan, np.nan, 1])
    with pytest.raises(ConfigError, match="neither"):
        DEMOGRAPHICS.compute(inputs(None, (1, T)), {})


def test_a_mapping_rolls_codes_up_and_groups_have_their_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("code,group\nLAB//*,LABS\nDX//a,DIABETES\nDX//a,ANY\n")
    found = events(
        (1, T - 2 * DAY, "LAB//a", 1.0), (1, T - DAY, "LAB//b", 5.0), (1, T - DAY, "DX//a", None),
        (2, T - DAY, "DX//b", None),
    )  # fmt: skip
    grams = pl.when(pl.col("code") == "LAB//b").then(pl.lit("g/L")).otherwise("unit").alias("unit")
    rows = inputs(found.with_columns(grams), (1, T), (2, T))
    options = {"windows": ["full"], "counts": ["count"], "numeric": ["last"], "roll_up": str(path)}
    block = RECORDS.compute(rows, options)
    assert dict(zip(block.columns["name"], block.values.T.tolist(), strict=True)) == {
        "records:ANY:count:full": [1, 0], "records:DIABETES:count:full": [1, 0], "records:LABS:count:full": [2, 0],
    }  # fmt: skip
    both = RECORDS.compute(rows, {**options, "roll_up_keep": "both"})
    assert {"records:LAB//a:last:full", "records:DX//b:count:full"} <= set(both.columns["name"])
    with pytest.raises(ConfigError, match="both roll codes up"):
        RECORDS.compute(rows, {**options, "code_depth": 1})
    with pytest.raises(ConfigError, match="roll_up_keep: 'all' is unknown"):
        RECORDS.compute(rows, {**options, "roll_up_keep": "all"})


def records(*rows: tuple[int, float | None, str, float | None]) -> pl.DataFrame:
    """Return events from (person, day, code, value); the prediction is at day 3."""
    return events(*((s, None if d is None else T + (d - 3) * DAY, c, v) for s, d, c, v in rows))


def test_windows_since_a_record_count_it_and_what_came_after() -> None:
    frame = records(
        (1, 0, "LAB", 1.0), (1, 1, "VISIT//A", None), (1, 1, "LAB", 3.0), (1, 2, "LAB", 5.0), (2, 1, "LAB", 9.0)
    )
    rows = inputs(frame, (1, T), (2, T))
    options: dict[str, Any] = {
        "windows": ["since:VISIT"],
        "counts": ["count"],
        "numeric": ["mean", "has_value"],
        "include": ["^LAB$"],
    }
    block = RECORDS.compute(rows, options)
    assert block.columns["name"].to_list() == [f"records:LAB:{a}:since:VISIT" for a in ("count", "mean", "has_value")]
    assert block.values.tolist()[0] == [2, 4, 1]
    assert block.values[1, [0, 2]].tolist() == [0, 0]
    assert np.isnan(block.values[1, 1])
    assert block.columns["sentence"][0] == "number of records of LAB since the last VISIT before prediction"


def test_any_record_says_how_busy_a_record_is() -> None:
    frame = records((1, 0, "LAB", 1.0), (1, 0, "RX", None), (1, 2, "LAB", 3.0), (2, 1, "LAB", 9.0))
    rows = inputs(frame, (1, T), (2, T))
    options: dict[str, Any] = {
        "windows": ["full"],
        "counts": ["count", "distinct_days"],
        "numeric": [],
        "any_record": True,
        "include": ["^RX$"],
    }
    block = RECORDS.compute(rows, options)
    told = dict(zip(block.columns["name"].to_list(), block.values.T.tolist(), strict=True))
    assert told["records:_ANY_EVENT:count:full"] == [3, 1]
    assert told["records:_ANY_EVENT:distinct_days:full"] == [2, 1]
    assert "records:LAB:count:full" not in told


def test_values_out_of_range_are_counted_in_the_unit_of_the_range(tmp_path: Path) -> None:
    frame = records((1, 0, "LAB", 1.0), (1, 1, "LAB", 5.0), (1, 2, "LAB", 9.0), (2, 1, "LAB", 4.0), (2, 1, "RX", 1.0))
    frame = frame.with_columns(pl.when(pl.col("code") == "LAB").then(pl.lit("g")).alias("unit"))
    path = tmp_path / "ranges.csv"
    path.write_text("code,low,high,unit\nLAB,2,8,g\n")
    rows = inputs(frame, (1, T), (2, T))
    options: dict[str, Any] = {
        "windows": ["full"],
        "counts": [],
        "numeric": ["out_of_range_count"],
        "ranges": str(path),
    }
    block = RECORDS.compute(rows, options)
    assert block.columns["name"].to_list() == ["records:LAB:out_of_range_count:full"]
    assert block.values.tolist() == [[2], [0]]
    assert block.columns["sentence"][0] == "number of values of LAB outside 2 to 8 g ever before prediction"
    assert block.columns["unit"][0] == "1"
    path.write_text("code,low,high,unit\nLAB,2,8,mg\n")
    with pytest.raises(FormatError, match="range of LAB is in mg, its values in g"):
        RECORDS.compute(rows, options)
    for text, words in (
        ("code,low\nA,1\n", "no column 'high'"), ("code,low,high\nA,x,\n", "low is not a number"),
        ("code,low,high\nA,,\n", "neither low nor high"), ("code,low,high\nA,3,2\n", "low is above high"),
        ("code,low,high\nA,1,2\nA,1,3\n", "has a line already"), ("code,low,high\n,1,2\n", "code is empty"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(FormatError, match=words):
            RECORDS.compute(rows, options)
    with pytest.raises(ConfigError, match="need each other"):
        RECORDS.compute(rows, {**options, "ranges": None})


def test_outlier_bounds_are_learned_from_training_rows() -> None:
    frame = records(*((i, 0, "LAB", float(i)) for i in range(1, 101)), (101, 0, "LAB", 1e6))
    rows = inputs(frame, *((i, T) for i in range(1, 102)))
    options: dict[str, Any] = {
        "windows": ["full"],
        "counts": ["count"],
        "numeric": ["last"],
        "outlier_quantiles": [0.05, 0.95],
        "min_subjects": 1,
    }
    block = RECORDS.compute(rows, options)
    learned = RECORDS.fit(block, rows, options, np.arange(100))
    assert learned["bounds"] == {"records:LAB:last:full": (5.0, 95.0)}
    found = RECORDS.apply(block, rows, options, learned)
    last = found.values[:, found.columns["name"].to_list().index("records:LAB:last:full")]
    assert (last.min(), last.max(), last[49]) == (5, 95, 50)
    assert found.columns["sentence"].to_list()[-1].endswith("(held within 5 to 95)")
    with pytest.raises(ConfigError, match="two shares"):
        RECORDS.compute(rows, {**options, "outlier_quantiles": [0.9, 0.1]})
