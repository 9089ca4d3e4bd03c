"""The records behind a value give the value again, for every column and row."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.features.families.record_windows import FAMILY
from genomix.features.family import FeatureInputs
from genomix.features.record_columns import read_options
from genomix.features.record_sources import source_records
from tests.unit.features.record_world import world

DAY = 86_400_000_000


def again(found: pl.DataFrame, aggregation: str, t: datetime) -> float:
    """Compute a value from its source records by plain Python."""
    values = [0.0 if v == 0 else float(v) for v in found["numeric_value"] if v is not None]
    days = [(t - time).total_seconds() / 86_400 for time in found["time"]]
    if aggregation in ("count", "out_of_range_count"):
        return found.height
    if aggregation in ("has", "has_value"):
        return float(found.height > 0)
    if aggregation == "distinct_days":
        return len({time.date() for time in found["time"]})
    if not found.height:
        return float("nan")
    if aggregation in ("time_since_first", "time_since_last"):
        assert len(set(days)) == 1
        return days[0]
    if aggregation in ("first", "last", "min", "max"):
        assert len(set(values)) == 1
        return values[0]
    if aggregation == "sum":
        return sum(values)
    if aggregation == "mean":
        return sum(values) / len(values)
    if aggregation == "std":
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    if len(set(days)) < 2:
        return float("nan")
    return float(np.polyfit(-np.array(days), values, 1)[0])


@pytest.mark.parametrize(
    "more", [{}, {"prediction_time": "exclusive"}, {"code_depth": 1, "any_record": True}, {"roll_up": "g.csv"}]
)
def test_every_value_comes_from_its_records(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "g.csv").write_text("code,group\nDX//x,G1\nDX//y,G1\nLAB//a,LAB//a\nLAB//b,G2\n")
    (tmp_path / "r.csv").write_text("code,low,high\nLAB//a,2,6\nLAB,3,\nG2,,4\n")
    options: dict[str, Any] = {
        "windows": ["90d", "full", "since:VISIT"],
        "counts": ["count", "has", "distinct_days", "time_since_first", "time_since_last"],
        "numeric": ["first", "last", "min", "max", "mean", "sum", "std", "slope", "has_value", "out_of_range_count"],
        "ranges": str(tmp_path / "r.csv"), **more,
    }  # fmt: skip
    if "roll_up" in options:
        options["roll_up"] = str(tmp_path / "g.csv")
    events, index = world(1, people=14)
    inputs = FeatureInputs(index.drop("label", "split"), CPU, events=events)
    block = FAMILY.compute(inputs, options)
    chosen = read_options(options)
    told = block.columns.to_dicts()
    draw = np.random.default_rng(1)
    assert {c["aggregation"] for c in told} >= {*options["counts"], *options["numeric"]}
    for row, (subject, t) in enumerate(index.select("subject_id", "prediction_time").iter_rows()):
        for i in sorted(draw.choice(len(told), size=40, replace=False).tolist()):
            column = told[i]
            found = source_records(events, subject, t, column, chosen)
            if column["window"] == "static":
                expected = float(found.height > 0) if column["aggregation"] == "has" else (
                    float(found["numeric_value"][0]) if found.height else float("nan")
                )  # fmt: skip
            else:
                expected = again(found, column["aggregation"], t)
            np.testing.assert_allclose(block.values[row, i], expected, rtol=1e-4, atol=1e-4, err_msg=column["name"])


def test_a_column_of_other_options_is_refused() -> None:
    events, index = world(2, people=5)
    column = {"name": "x", "code": "DX//x", "window": "7d", "aggregation": "count"}
    with pytest.raises(ConfigError, match="was not made with these options"):
        source_records(events, 1, index["prediction_time"][0], column, read_options({}))
