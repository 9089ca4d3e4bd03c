"""Parts of converted datasets: every row once, a person's rows together, codes numbered in order."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError, TruncatedInputError
from genomix.io.meds import write_meds
from genomix.io.meds_shards import COLUMNS, Part, converted_files, count_events, read_parts, whole_part
from tests.unit.features.record_world import world


def with_words(part: Part) -> pl.DataFrame:
    codes, units = (pl.Series(words, dtype=pl.String) for words in (part.codes, part.units))
    unit = units[part.events["unit"]] if len(units) else pl.Series([None] * part.events.height, dtype=pl.String)
    return part.events.with_columns(codes[part.events["code"]].alias("code"), unit.alias("unit"))


@pytest.mark.parametrize("rows", [1, 7, 100, 10_000])
def test_parts_hold_every_row_once_and_whole_people(tmp_path: Path, rows: int) -> None:
    events, _ = world(1)
    write_meds(events, tmp_path / "m")
    files = converted_files(tmp_path / "m")
    assert files is not None
    assert count_events(files) == events.height
    parts = [p for file in files for p in read_parts(file, rows_per_part=rows)]
    people = [set(p.events["subject_id"].to_list()) for p in parts]
    assert sum(len(p) for p in people) == len(set.union(*people))
    whole = pl.concat([with_words(p) for p in parts]).sort(COLUMNS)
    assert whole.equals(events.select(COLUMNS).sort(COLUMNS))
    assert all(list(p.codes) == sorted(set(p.codes)) for p in parts)
    assert with_words(whole_part(events)).equals(events.select(COLUMNS))


def test_a_dataset_without_availability_is_not_converted(tmp_path: Path) -> None:
    events, _ = world(2)
    (tmp_path / "data").mkdir()
    events.drop("available_time").write_parquet(tmp_path / "data" / "0.parquet")
    assert converted_files(tmp_path) is None


def test_wrong_types_and_cut_files(tmp_path: Path) -> None:
    events, _ = world(3)
    file = tmp_path / "0.parquet"
    events.with_columns(pl.col("time").dt.cast_time_unit("ms")).write_parquet(file)
    with pytest.raises(FormatError, match=r"time is Datetime.*'ms'"):
        list(read_parts(file))
    events.with_columns(pl.lit(None, dtype=pl.Int64).alias("subject_id")).write_parquet(file)
    with pytest.raises(FormatError, match="a subject is empty"):
        list(read_parts(file))
    events.with_columns(pl.when(pl.int_range(pl.len()) > 3).then("code").alias("code")).write_parquet(file)
    with pytest.raises(FormatError, match="a code is empty"):
        list(read_parts(file))
    events.write_parquet(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(TruncatedInputError, match="it was cut"):
        list(read_parts(file))


def test_people_out_of_order_are_one_part(tmp_path: Path) -> None:
    events, _ = world(4)
    events.sort("subject_id", descending=True).write_parquet(tmp_path / "0.parquet")
    assert [p.events.height for p in read_parts(tmp_path / "0.parquet", rows_per_part=50)] == [events.height]
