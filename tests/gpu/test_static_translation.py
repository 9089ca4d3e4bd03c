"""Which hot-path queries cudf-polars translates, found without a driver; skipped where cudf-polars is not installed.

Every lazy query that the record windows collect on a device is caught and handed to cudf-polars' translator, which
lists what would leave the GPU. It is a private interface, so the test names the release that it was written for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from genomix.device import CPU
from genomix.ehr.windows import COUNT_AGGREGATIONS, NUMERIC_AGGREGATIONS, window_aggregates
from genomix.schemas.events import EVENTS

translator = pytest.importorskip("cudf_polars.dsl.translate", reason="cudf-polars (extra gpu) is not installed")

T0 = datetime(2020, 6, 15, 12)


def small_records() -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = []
    for subject in range(1, 6):
        for day in (1, 5, 40, 400):
            stamp = T0 - timedelta(days=day * subject / 3)
            rows.append([subject, stamp, f"LAB//{day % 3}", float(day), None, "mg/dL", "second", stamp])
    events = pl.DataFrame(rows, schema={c.name: c.dtype for c in EVENTS.columns}, orient="row")
    index = pl.DataFrame(
        {"row": range(5), "subject_id": range(1, 6), "prediction_time": [T0] * 5},
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")},
    )
    return events, index


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[pl.LazyFrame]]:
    """Every query that is collected with an explicit engine while the test runs."""
    caught: list[pl.LazyFrame] = []
    collect = pl.LazyFrame.collect

    def catching(self: pl.LazyFrame, *args: Any, **options: Any) -> Any:
        if "engine" in options:
            caught.append(self)
        return collect(self, *args, **options)

    monkeypatch.setattr(pl.LazyFrame, "collect", catching)
    return caught


def leaves_the_gpu(query: pl.LazyFrame) -> list[str]:
    """Return what cudf-polars would not run on the GPU."""
    found = translator.Translator(query._ldf.visit(), pl.GPUEngine(executor="in-memory"))
    found.translate_ir()
    return [str(error) for error in found.errors]


def test_the_check_sees_a_query_that_leaves_the_gpu() -> None:
    assert leaves_the_gpu(pl.LazyFrame({"a": ["x,y"]}).select(pl.col("a").str.split(","))) != []


@pytest.mark.parametrize("windows", [["30d"], ["1d", "365d", "full"]])
def test_record_windows_stay_on_the_gpu(collected: list[pl.LazyFrame], windows: list[str]) -> None:
    events, index = small_records()
    aggregations = [*COUNT_AGGREGATIONS, *NUMERIC_AGGREGATIONS]
    window_aggregates(events, index, windows=windows, aggregations=aggregations, device=CPU, engine="expressions")
    assert len(collected) >= len(windows)
    assert {n: leaves_the_gpu(query) for n, query in enumerate(collected)} == {n: [] for n in range(len(collected))}
