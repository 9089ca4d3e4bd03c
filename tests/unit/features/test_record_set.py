"""Feature sets from shards: the same columns and values as the family in memory, whatever the shards are."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import FormatError, LabelError
from genomix.features import record_part
from genomix.features.certificate_checks import column_strength
from genomix.features.families.record_windows import FAMILY
from genomix.features.family import FeatureInputs
from genomix.features.feature_set import FeatureSet, open_feature_set
from genomix.features.record_columns import read_options
from genomix.features.record_set import Made, make_record_set
from genomix.features.set_certificate import SetFacts, certify_set
from genomix.io.meds_shards import Part, whole_part
from tests.unit.features.record_world import world

OPTIONS: dict[str, Any] = {
    "windows": ["30d", "365d", "full", "since:VISIT"], "counts": ["count", "time_since_last", "distinct_days"],
    "numeric": ["last", "sum", "std", "slope", "has_value"], "min_subjects": 5,
}  # fmt: skip


def made(
    tmp_path: Path, parts: list[Part], index: pl.DataFrame, name: str = "set", *, split: bool = True, **more: Any
) -> tuple[FeatureSet, Made]:
    folder, scratch = tmp_path / name, tmp_path / f"scratch-{name}"
    folder.mkdir()
    scratch.mkdir()
    training = (index["split"] == "train").to_numpy() if split else None
    done = make_record_set(
        parts, index, folder, read_options(OPTIONS | more), scratch=scratch, training=training
    )  # fmt: skip
    assert list(scratch.iterdir()) == []
    return open_feature_set(folder), done


def by_people(events: pl.DataFrame, *edges: int) -> list[Part]:
    cuts = [0, *edges, 10**9]
    return [
        whole_part(events.filter((pl.col("subject_id") > a) & (pl.col("subject_id") <= b))) for a, b in pairwise(cuts)
    ]


@pytest.mark.parametrize(
    "more",
    [
        {}, {"prediction_time": "exclusive"}, {"any_record": True}, {"code_depth": 1}, {"static": False},
        {"include": ["^LAB", "^PRS"]}, {"exclude": ["^DX"], "numeric": []}, {"counts": [], "numeric": ["max"]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_family_in_memory(tmp_path: Path, more: dict[str, Any], seed: int) -> None:
    events, index = world(seed)
    found, done = made(tmp_path, by_people(events, 20, 41), index, **more)
    options = OPTIONS | more
    inputs = FeatureInputs(index.drop("label", "split"), CPU, events=events)
    block = FAMILY.compute(inputs, options)
    training = np.flatnonzero(index["split"] == "train")
    learned = FAMILY.fit(block, inputs, options, training)
    applied = FAMILY.apply(block, inputs, options, learned)
    sparse = found.columns.filter(pl.col("storage") == "sparse")
    assert sparse.select(applied.columns.columns).equals(applied.columns)
    ours = found.block(sparse["name"].to_list())
    np.testing.assert_array_equal(ours.values, applied.values)
    assert done.counts["columns"] == sparse.height + 2
    assert sparse.height > 3


def test_shards_and_blocks_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, index = world(3)
    mixed = events.filter(pl.col("subject_id") % 2 == 0), events.filter(pl.col("subject_id") % 2 == 1)
    sets = {
        "one": [whole_part(events)], "three": by_people(events, 7, 33), "mixed": [whole_part(e) for e in mixed],
        "turned": by_people(events, 7, 33)[::-1],
    }  # fmt: skip
    content = set()
    for block in (4_000_000, 50, 1):
        monkeypatch.setattr("genomix.features.feature_set.VALUES_PER_BLOCK", block)
        for name, parts in sets.items():
            found, _ = made(tmp_path, parts, index, f"{name}-{block}")
            content.add(tuple(p.read_bytes() for p in sorted(found.folder.iterdir())))
    assert len(content) == 1


def test_without_a_split_every_column_stays(tmp_path: Path) -> None:
    events, index = world(4)
    found, done = made(tmp_path, [whole_part(events)], index, split=False)
    inputs = FeatureInputs(index.drop("label", "split"), CPU, events=events)
    block = FAMILY.compute(inputs, OPTIONS)
    held = set(found.columns["name"].to_list())
    empty = [n for n, v in zip(block.columns["name"], block.values.T, strict=True) if not np.nan_to_num(v).any()]
    assert set(block.columns["name"].to_list()) - held <= set(empty)
    assert done.counts["training_rows"] == 0
    assert done.certificate is not None
    assert dict(done.certificate.select("check", "status").iter_rows())["subjects_disjoint"] == "not applicable"


def test_blocks_of_chosen_rows_and_columns(tmp_path: Path) -> None:
    events, index = world(5)
    found, _ = made(tmp_path, [whole_part(events)], index)
    whole = found.block()
    assert whole.columns["name"].to_list() == found.columns["name"].to_list()
    order = [5, 1, 3, 0]
    rows = np.array([7, 2, 100])
    part = found.block([found.columns["name"][i] for i in order], rows)
    np.testing.assert_array_equal(part.values, whole.values[rows][:, order])
    assert not np.array_equal(whole.values[:, 0], whole.values[:, 1])
    age = whole.values[:, 0]
    assert 20 < age.min() < age.max() < 63
    with pytest.raises(FormatError, match="no column 'nothing'"):
        found.block(["nothing"])


def test_the_sparse_file_is_what_scipy_writes(tmp_path: Path) -> None:
    import scipy.sparse

    events, index = world(6)
    found, _ = made(tmp_path, by_people(events, 30), index)
    matrix = found.sparse()
    scipy.sparse.save_npz(tmp_path / "again.npz", scipy.sparse.csr_array(matrix), compressed=False)
    with zipfile.ZipFile(tmp_path / "again.npz") as a, zipfile.ZipFile(found.folder / "sparse.npz") as b:
        for name in ("data.npy", "indices.npy", "indptr.npy"):
            assert a.read(name) == b.read(name)
    assert matrix.has_sorted_indices
    (found.folder / "sparse.npz").write_bytes(b"PK")
    with pytest.raises(FormatError, match="damaged"):
        found.sparse()


def test_ranges_and_a_roll_up(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("code,low,high,unit\nLAB//a,2,8,mg\n")
    (tmp_path / "g.csv").write_text("code,group\nDX//x,G1\nDX//y,G1\nDX//x,G2\nLAB//a,LAB//a\n")
    events, index = world(7)
    more = {"ranges": str(tmp_path / "r.csv"), "roll_up": str(tmp_path / "g.csv"), "static": False,
            "numeric": ["out_of_range_count"], "counts": ["count"]}  # fmt: skip
    found, _ = made(tmp_path, by_people(events, 25), index, **more)
    inputs = FeatureInputs(index.drop("label", "split"), CPU, events=events)
    block = FAMILY.compute(inputs, OPTIONS | more)
    learned = FAMILY.fit(block, inputs, OPTIONS | more, np.flatnonzero(index["split"] == "train"))
    applied = FAMILY.apply(block, inputs, OPTIONS | more, learned)
    names = found.columns.filter(pl.col("storage") == "sparse")["name"].to_list()
    assert names == applied.columns["name"].to_list()
    assert {n.split(":")[1] for n in names} == {"G1", "G2", "LAB//a"}
    assert any("out_of_range_count" in n for n in names)
    np.testing.assert_array_equal(found.block(names).values, applied.values)


def test_a_person_in_two_parts_is_an_error(tmp_path: Path) -> None:
    events, index = world(8)
    with pytest.raises(FormatError, match="records of a person are apart"):
        made(tmp_path, [whole_part(events), whole_part(events)], index)


def test_units_that_differ_between_parts_are_an_error(tmp_path: Path) -> None:
    events, index = world(9)
    other = events.with_columns(pl.when(pl.col("subject_id") > 30).then(pl.col("unit").str.replace("mg", "g"))
                                .otherwise("unit").alias("unit"))  # fmt: skip
    with pytest.raises(FormatError, match="LAB//a has values in g and in mg"):
        made(tmp_path, by_people(other, 30), index)


def test_rows_need_a_prediction_time(tmp_path: Path) -> None:
    events, index = world(10)
    for bad in (index.head(0), index.with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias("prediction_time"))):
        with pytest.raises(LabelError, match="prediction time"):
            made(tmp_path, [whole_part(events)], bad, f"s{bad.height}")


@pytest.mark.parametrize("leak", ["time", "known"])
def test_the_certificate_fails_for_an_engine_that_looks_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    events, index = world(11)
    if leak == "known":
        events = events.with_columns(pl.col("available_time") + pl.duration(days=30))
    right = record_part.records_of

    def wrong(dated: pl.DataFrame) -> Any:
        records = right(dated)
        if leak == "time":
            return records._replace(time=records.time - 40 * 86_400_000_000, known=records.known - 40 * 86_400_000_000)
        return records._replace(known=records.time)

    _, fine = made(tmp_path, [whole_part(events)], index, "right")
    assert fine.certificate is not None
    assert "failed" not in fine.certificate["status"].to_list()
    monkeypatch.setattr(record_part, "records_of", wrong)
    _, done = made(tmp_path, [whole_part(events)], index, "wrong")
    assert done.certificate is not None
    assert dict(done.certificate.select("check", "status").iter_rows())["later_events"] == "failed"


def test_the_certificate_names_a_column_that_encodes_the_outcome(tmp_path: Path) -> None:
    events, index = world(12)
    at = index.select("subject_id", "prediction_time", "label").filter(pl.col("label") == 1)
    told = at.select("subject_id", (pl.col("prediction_time") - pl.duration(days=1)).alias("time"))
    more = events.head(1).drop("subject_id", "time", "available_time", "code").join(told, how="cross")
    more = more.with_columns(pl.lit("TELLS").alias("code"), pl.col("time").alias("available_time")).select(
        events.columns
    )
    found, done = made(tmp_path, [whole_part(pl.concat([events, more]).sort("subject_id", "time"))], index,
                       windows=["2d"])  # fmt: skip
    assert done.certificate is not None
    check = done.certificate.filter(pl.col("check") == "columns_that_encode").row(0, named=True)
    assert check["status"] == "failed"
    assert "TELLS" in check["found"]
    both = np.arange(index.height) % 2 == 0
    wrong = certify_set(found.folder, SetFacts(0, 1, both, inclusive=True))
    assert dict(wrong.select("check", "status").iter_rows())["subjects_disjoint"] == "failed"


@pytest.mark.parametrize("binary", [True, False])
def test_strength_of_sparse_columns_is_that_of_dense_ones(binary: bool) -> None:
    import scipy.sparse

    from genomix.features import record_kernels as kernels

    draw = np.random.default_rng(4)
    n = 200
    label = (draw.random(n) < 0.3).astype(np.float64) if binary else draw.normal(size=n)
    dense = draw.integers(-2, 3, (n, 40)).astype(np.float32) * (draw.random((n, 40)) < 0.3)
    dense[:, 5] += label.astype(np.float32)
    dense[:, 6] = 0
    dense[:, 7] = 1
    dense[3:, 8] = 0
    missing = dense.copy()
    missing[dense == 0] = np.nan
    part = scipy.sparse.csc_array(dense)
    for zero, values in ((True, dense), (False, missing)):
        absent_zero = np.full(40, zero)
        ours = kernels.strengths(
            part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data, absent_zero, label, binary, 10
        )
        theirs = column_strength(values, label, binary=binary)
        if zero:  # that something is not 0 is a strength of its own there
            theirs = np.maximum(theirs, column_strength((dense != 0).astype(np.float32), label, binary=binary))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_too_few_of_a_class_prove_nothing(tmp_path: Path) -> None:
    events, index = world(13)
    few = index.with_columns((pl.col("row") < 9).cast(pl.Float64).alias("label"))
    _, done = made(tmp_path, [whole_part(events)], few, split=False)
    assert done.certificate is not None
    check = done.certificate.filter(pl.col("check") == "columns_that_encode").row(0, named=True)
    assert check["status"] == "not provable"
    assert check["found"] == "It takes 10 labelled rows of each class to judge a column."
