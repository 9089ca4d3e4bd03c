"""Laws of the rank measures that hold for any data."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.models.metrics import auroc, average_precision, plan_ranks

ROWS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=25
)


def arrays(rows: list[tuple[bool, int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    y, p, w, fold = (np.array(column) for column in zip(*rows, strict=True))
    return y.astype(float), p / 7, w.astype(float), fold


def same(a: float, b: float) -> bool:
    return bool(np.isnan(a) and np.isnan(b)) or abs(a - b) < 1e-12


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_a_weight_is_a_number_of_copies(rows) -> None:
    y, p, w, fold = arrays(rows)
    copied = np.repeat(np.arange(y.size), w.astype(int))
    if not copied.size:
        return
    for measure in (auroc, average_precision):
        weighted = measure(plan_ranks(y, p, fold), w[None, :])[0]
        plain = measure(plan_ranks(y[copied], p[copied], fold[copied]), np.ones((1, copied.size)))[0]
        assert same(weighted, plain)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_of_rows_and_names_of_folds_do_not_matter(rows, random) -> None:
    y, p, w, fold = arrays(rows)
    order = list(range(y.size))
    random.shuffle(order)
    for measure in (auroc, average_precision):
        first = measure(plan_ranks(y, p, fold), w[None, :])[0]
        second = measure(plan_ranks(y[order], p[order], 7 - fold[order]), w[None, order])[0]
        assert same(first, second)


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_only_the_order_of_predictions_within_a_fold_matters(rows) -> None:
    y, p, w, fold = arrays(rows)
    moved = np.exp(3 * p) + 100.0 * (2 - fold)
    for measure in (auroc, average_precision):
        assert same(measure(plan_ranks(y, p, fold), w[None, :])[0], measure(plan_ranks(y, moved, fold), w[None, :])[0])


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_reversing_predictions_or_swapping_classes_reflects_the_auroc(rows) -> None:
    y, p, w, fold = arrays(rows)
    value = auroc(plan_ranks(y, p, fold), w[None, :])[0]
    assert same(1 - value, auroc(plan_ranks(y, -p, fold), w[None, :])[0])
    assert same(1 - value, auroc(plan_ranks(1 - y, p, fold), w[None, :])[0])
    assert np.isnan(value) or 0 <= value <= 1
