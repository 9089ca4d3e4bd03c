"""Training in blocks: the trees of the dense matrix, byte for byte, and simpler models of chosen columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from genomix.device import CPU, Device
from genomix.errors import ConfigError, FormatError
from genomix.features import set_rows
from genomix.features.set_rows import SetRows
from genomix.models.block_training import BlockPart, fit_trees, of_all_columns, part_of, strongest
from genomix.models.boosted import MODEL
from genomix.models.model import Part, model_named
from genomix.schemas.features import SET_COLUMNS

N, COUNTS, VALUES, DENSE = 900, 12, 12, 3


def columns(absent: list[float | None], storage: list[str]) -> pl.DataFrame:
    p = len(absent)
    filled = {"rung": "records", "source": "records", "sentence": "what it is", "family": "x"}
    data = {c.name: [filled.get(c.name)] * p for c in SET_COLUMNS.columns}
    names = [f"c{i}" for i in range(p)]
    data |= {"name": names, "group": names, "storage": storage, "absent": absent}
    return pl.DataFrame(data, schema={c.name: c.dtype for c in SET_COLUMNS.columns})


def folder_of(tmp_path: Path, *, compressed: bool = False) -> tuple[SetRows, np.ndarray, np.ndarray]:
    """Write counts (absent: 0), values (absent: missing; a recorded 0 is held) and dense columns, mixed up."""
    draw = np.random.default_rng(4)
    counts = draw.poisson(0.15, (N, COUNTS)).astype(np.float32)
    values = draw.integers(-2, 3, (N, VALUES)).astype(np.float32)
    known = draw.random((N, VALUES)) < 0.3
    held = np.concatenate([counts > 0, known], axis=1)
    at, column = np.nonzero(held)
    data = np.concatenate([counts, values], axis=1)[held]
    matrix = scipy.sparse.csr_array((data, (at, column)), shape=held.shape)
    assert matrix.nnz > matrix.count_nonzero()  # zeros that were recorded
    scipy.sparse.save_npz(tmp_path / "sparse.npz", matrix, compressed=compressed)
    dense = draw.normal(size=(N, DENSE)).astype(np.float32)
    pl.DataFrame({f"c{COUNTS + VALUES + i}": dense[:, i] for i in range(DENSE)}).write_parquet(
        tmp_path / "dense.parquet", row_group_size=100
    )
    absent: list[float | None] = [0.0] * COUNTS + [None] * (VALUES + DENSE)
    truth = np.concatenate([counts, np.where(known, values, np.nan), dense], axis=1).astype(np.float32)
    margin = counts[:, 0] * 2 - counts[:, 1] + np.where(known, values, 0.7)[:, 0] + dense[:, 0] - 0.5
    y = (draw.random(N) < 1 / (1 + np.exp(-margin))).astype(float)
    storage = ["sparse"] * (COUNTS + VALUES) + ["dense"] * DENSE
    return SetRows(tmp_path, N, columns(absent, storage)), truth, y


@pytest.mark.parametrize("compressed", [False, True])
def test_blocks_rows_and_columns_are_the_dense_matrix(tmp_path: Path, compressed: bool) -> None:
    rows, truth, _ = folder_of(tmp_path, compressed=compressed)
    assert np.array_equal(rows.whole(), truth, equal_nan=True)
    for size in (1, 100, 5000, 10**9):
        assert np.array_equal(np.concatenate(list(rows.blocks(size))), truth, equal_nan=True)
    draw = np.random.default_rng(0)
    chosen = draw.permutation(N)[:57]  # in no order
    assert np.array_equal(part_of(rows, chosen).whole(), truth[chosen], equal_nan=True)
    at = draw.permutation(truth.shape[1])[:9]
    assert np.array_equal(rows.only(at).whole(), truth[:, at], equal_nan=True)
    assert np.array_equal(rows.only(at).only(np.array([4, 1])).whole(), truth[:, at[[4, 1]]], equal_nan=True)
    again = np.concatenate([b.values for b in rows.column_blocks(2000)], axis=1)
    assert np.array_equal(again, truth, equal_nan=True)


def test_a_damaged_or_other_archive_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path)
    with pytest.raises(FormatError, match="not"):
        set_rows.SparseFile(tmp_path / "sparse.npz", (N + 1, COUNTS + VALUES))
    bytes_of = (tmp_path / "sparse.npz").read_bytes()
    (tmp_path / "sparse.npz").write_bytes(bytes_of[: len(bytes_of) // 2])
    with pytest.raises(FormatError, match="damaged"):
        set_rows.SparseFile(tmp_path / "sparse.npz", (N, COUNTS + VALUES))


@pytest.mark.parametrize("objective", ["binary", "regression"])
@pytest.mark.parametrize("size", [300, 4000, 10**9])
def test_trees_and_contributions_are_those_of_the_dense_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, size: int
) -> None:
    rows, truth, y = folder_of(tmp_path)
    label = y if objective == "binary" else y + truth[:, -1]
    monkeypatch.setattr(SetRows.blocks, "__defaults__", (size,))
    order = np.random.default_rng(1).permutation(N)
    a, b = np.sort(order[:600]), np.sort(order[600:])
    dense = MODEL.fit(
        Part(truth[a], label[a]), tuning=Part(truth[b], label[b]), objective=objective, seed=0, device=CPU
    )
    found = fit_trees(
        BlockPart(part_of(rows, a), label[a]), BlockPart(part_of(rows, b), label[b]), objective=objective, seed=0,
        device=CPU, scratch=tmp_path,
    )  # fmt: skip
    assert 1 < dense.facts["rounds"] == found.facts["rounds"]
    assert found.to_files() == dense.to_files()
    margin = np.concatenate([found.margin(block) for block in rows.blocks()])
    assert np.array_equal(margin, dense.margin(truth))
    shap = np.concatenate([found.contributions(block).values for block in rows.blocks()])
    assert np.array_equal(shap, dense.contributions(truth).values)
    # What XGBoost makes of the bare sparse matrix is another model: nothing recorded is missing to it, not 0.
    bare = np.where(truth == 0, np.nan, truth)
    assert not np.array_equal(dense.margin(bare), dense.margin(truth))


def test_the_strongest_columns_and_models_of_all_columns(tmp_path: Path) -> None:
    rows, truth, y = folder_of(tmp_path)
    filled = np.where(np.isnan(truth), np.nanmean(truth, axis=0), truth).astype(np.float64)
    truth_strength = np.abs([np.corrcoef(filled[:, j], y)[0, 1] for j in range(truth.shape[1])])
    at = strongest(BlockPart(rows, y), 7)
    assert at.tolist() == sorted(np.argsort(-truth_strength)[:7].tolist())
    for name in ("linear", "points"):
        own = model_named(name).fit(
            Part(truth[:600][:, at], y[:600]), tuning=Part(truth[600:][:, at], y[600:]), objective="binary", seed=0,
            device=CPU,
        )  # fmt: skip
        wide = of_all_columns(own, at, truth.shape[1])
        assert wide.n_features == truth.shape[1]
        assert wide.facts["columns_considered"] == 7
        again = model_named(name).from_files(wide.to_files())
        assert again.margin(truth) == pytest.approx(own.margin(truth[:, at]), abs=1e-12)
        shap = again.contributions(truth).values
        assert np.array_equal(shap[:, at], own.contributions(truth[:, at]).values)
        assert not np.delete(shap, at, axis=1).any()


def test_bins_on_disk_are_for_the_cpu(tmp_path: Path) -> None:
    rows, _, y = folder_of(tmp_path)
    with pytest.raises(ConfigError, match="on the CPU"):
        fit_trees(
            BlockPart(rows, y), None, objective="binary", seed=0, device=Device("cuda", "", ""), scratch=tmp_path,
            options={"rounds": 2},
        )  # fmt: skip
