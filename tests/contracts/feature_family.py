"""What every feature family promises, checked on a study in memory; see :mod:`genomix.features.family`.

A check takes the family, its options and a :class:`~tests.contracts.family_world.World`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError, FormatError
from genomix.features.assemble import check_needs
from genomix.features.family import FeatureInputs
from genomix.features.matrix import FeatureBlock
from genomix.provenance import canonical_json
from genomix.schemas.features import COLUMNS, RUNGS
from tests.contracts.family_world import (
    FUTURES,
    World,
    one_row_per_subject,
    rows_of,
    with_future,
    with_other_people_altered,
)
from tests.contracts.refusal import refusal

Options = Mapping[str, Any]
INPUTS = {"records": "events", "genotypes": "genotypes", "table": "table"}


def fitted(family: Any, options: Options, world: World) -> tuple[FeatureBlock, Any, FeatureBlock]:
    """Return the computed block, what was learned from the training rows, and the applied block."""
    block = family.compute(world.inputs, options)
    learned = family.fit(block, world.inputs, options, world.training)
    return block, learned, family.apply(block, world.inputs, options, learned)


def check_one_row_per_index_row(family: Any, options: Options, world: World) -> None:
    """Every row of the index has one row of values at its place, whatever the order of the index."""
    inputs = world.inputs
    _check_values(family, "compute", family.compute(inputs, options), inputs.n_rows)
    block, learned, applied = fitted(family, options, world)
    _check_values(family, "apply", applied, inputs.n_rows)
    order = np.random.default_rng(5).permutation(inputs.n_rows)
    shuffled = rows_of(inputs, order)
    again = family.compute(shuffled, options)
    _same(again, _rows(block, order), f"{family.name}: another order of the index gives other values")
    moved = family.apply(again, shuffled, options, learned)
    _same(moved, _rows(applied, order), f"{family.name}: another order of the index changes what apply gives")


def _check_values(family: Any, what: str, found: FeatureBlock, n_rows: int) -> None:
    shape = (n_rows, found.columns.height)
    assert found.values.shape == shape, f"{family.name}: {what} gives {found.values.shape} values, not {shape}"
    assert found.values.dtype == np.float32, f"{family.name}: {what} gives {found.values.dtype}, not float32"
    assert not np.isinf(found.values).any(), f"{family.name}: {what} gives infinite values"


def check_columns_are_told(family: Any, options: Options, world: World) -> None:
    """Columns follow COLUMNS with unique names, name their family and rung, and each has a sentence."""
    block, _, applied = fitted(family, options, world)
    assert family.rung in RUNGS, f"{family.name}: rung {family.rung!r} is none of the ladder's"
    assert applied.columns.height, f"{family.name}: no column at all"
    for columns in (block.columns, applied.columns):
        try:
            COLUMNS.validate(columns)
        except FormatError as error:
            raise AssertionError(f"{family.name}: {error}") from error
        silent = columns.filter(pl.col("sentence").str.strip_chars() == "")
        assert not silent.height, f"{family.name}: column {silent['name'][:1].to_list()} has no sentence"
        assert set(columns["family"]) <= {family.name}, f"{family.name}: a column names another family"
        assert set(columns["rung"]) <= {family.rung}, f"{family.name}: a column names another rung"
        sources = set(columns["source"]) - {"records", "genotypes", "static", "table"}
        assert not sources, f"{family.name}: unknown source {sources}"
        late = columns.filter(pl.col("smallest_lag_days") < 0)
        assert not late.height, f"{family.name}: {late['name'][0]} uses what was not known yet" if late.height else ""


def check_ignores_the_future(family: Any, options: Options, world: World) -> None:
    """Records after the prediction time, or known only after it, may be anything: no value changes."""
    _, learned, _ = fitted(family, options, world)
    for pick in ("first", "last"):
        inputs = rows_of(world.inputs, one_row_per_subject(world.inputs.index, pick))
        block = family.compute(inputs, options)
        applied = family.apply(block, inputs, options, learned)
        for how in FUTURES:
            changed = with_future(inputs, how)
            what = f"{family.name}: later records {how} change values"
            again = family.compute(changed, options)
            _same(again, block, what)
            _same(family.apply(again, changed, options, learned), applied, what)
        if "records" in family.needs:
            nothing = family.compute(replace(inputs, events=inputs.events.clear()), options)
            assert not _equal(nothing, block), f"{family.name}: no record changes any value: nothing was tested"


def check_compute_is_row_local(family: Any, options: Options, world: World) -> None:
    """A row's values stay when other rows, and other people's data, are taken away; the same after learning."""
    inputs = world.inputs
    whole, learned, applied = fitted(family, options, world)
    everyone = np.arange(inputs.n_rows)
    for part in (everyone[::2], everyone[1::2], everyone[:1], everyone[-1:]):
        fewer = rows_of(inputs, part)
        own = fewer.index["subject_id"].unique()
        fewer = replace(fewer, events=fewer.events.filter(pl.col("subject_id").is_in(own.implode())))
        block = family.compute(fewer, options)
        what = f"{family.name}: values of a row change when other rows are taken away"
        _same_rows(block, _rows(whole, part), what)
        found = family.apply(block, fewer, options, learned)
        assert found.columns["name"].equals(applied.columns["name"]), f"{family.name}: fewer rows, other columns"
        close = np.allclose(found.values, applied.values[part], rtol=1e-5, atol=1e-6, equal_nan=True)
        assert close, f"{family.name}: apply gives a row other values when other rows are taken away"


def check_learns_from_its_rows_only(family: Any, options: Options, world: World) -> None:
    """What is learned stays whatever other people's records, genotypes, table and times are."""
    block, learned, _ = fitted(family, options, world)
    before = _json(family, learned)
    changed = with_other_people_altered(world, world.training)
    again = family.fit(family.compute(changed, options), changed, options, world.training)
    assert _json(family, again) == before, f"{family.name}: other people's data change what is learned"
    values = block.values.copy()
    others = np.setdiff1d(np.arange(len(values)), world.training)
    values[others] = np.random.default_rng(8).normal(size=(len(others), values.shape[1]))
    noisy = FeatureBlock(values, block.columns)
    again = family.fit(noisy, world.inputs, options, world.training)
    assert _json(family, again) == before, f"{family.name}: other rows' values change what is learned"


def check_says_whether_it_learns(family: Any, options: Options, world: World) -> None:
    """``learns`` is true: the training people's data decide; false: nothing is learned and apply changes nothing."""
    block, learned, applied = fitted(family, options, world)
    if not family.learns:
        assert learned == {}, f"{family.name}: says that it does not learn and learned {sorted(learned)}"
        _same(applied, block, f"{family.name}: says that it does not learn and changes values")
        return
    changed = with_other_people_altered(world, world.training, invert=True)
    again = family.fit(family.compute(changed, options), changed, options, world.training)
    assert _json(family, again) != _json(family, learned), f"{family.name}: training people teach nothing"


def check_learned_travels_as_json(family: Any, options: Options, world: World) -> None:
    """What was learned is JSON-able, and after a journey through JSON gives the same values."""
    block, learned, applied = fitted(family, options, world)
    read = json.loads(_json(family, learned))
    found = family.apply(block, world.inputs, options, read)
    _same(found, applied, f"{family.name}: what was learned gives other values after it was written and read")


def check_repeats_itself(family: Any, options: Options, world: World) -> None:
    """Twice the same, for events in any order, and nothing that was given is changed."""
    inputs = world.inputs
    block, learned, applied = fitted(family, options, world)
    kept, told, values = copy.deepcopy(learned), copy.deepcopy(dict(options)), block.values.copy()
    order = np.random.default_rng(3).permutation(inputs.events.height)
    shuffled = replace(inputs, events=inputs.events[order])
    again = family.compute(shuffled, options)
    _same(again, block, f"{family.name}: compute does not repeat itself")
    relearned = family.fit(again, shuffled, options, world.training)
    assert _json(family, relearned) == _json(family, kept), f"{family.name}: fit does not repeat itself"
    _same(family.apply(block, inputs, options, learned), applied, f"{family.name}: apply does not repeat itself")
    assert np.array_equal(block.values, values, equal_nan=True), f"{family.name}: the computed block was changed"
    assert _json(family, learned) == _json(family, kept), f"{family.name}: what was learned was changed"
    assert str(options) == str(told), f"{family.name}: the options were changed"


def check_refuses_what_it_cannot_use(family: Any, options: Options, world: World) -> None:
    """An unknown option, and a study without what the family needs, are configuration errors."""
    act = partial(family.compute, world.inputs, {**options, "no_such_option": 1})
    error = refusal(act, (ConfigError,), f"{family.name}: an unknown option")
    assert "no_such_option" in error.what, f"{family.name}: the unknown option is not named: {error}"
    assert family.needs <= set(INPUTS), f"{family.name}: needs {sorted(family.needs - set(INPUTS))}"
    for need in family.needs:
        without: FeatureInputs = replace(world.inputs, **{INPUTS[need]: None})
        error = refusal(partial(check_needs, family, without), (ConfigError,), f"{family.name}: a study without {need}")
        assert need in error.what, f"{family.name}: what the study lacks is not named: {error}"
    unneeded = {field: None for need, field in INPUTS.items() if need not in family.needs}
    if family.needs:
        family.compute(replace(world.inputs, **unneeded), options)


def _json(family: Any, learned: Any) -> bytes:
    try:
        return canonical_json(learned)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{family.name}: what was learned is not JSON: {error}") from error


def _rows(block: FeatureBlock, rows: np.ndarray) -> FeatureBlock:
    return FeatureBlock(block.values[rows], block.columns)


def _equal(one: FeatureBlock, other: FeatureBlock) -> bool:
    return one.columns.equals(other.columns) and np.array_equal(one.values, other.values, equal_nan=True)


def _same(one: FeatureBlock, other: FeatureBlock, what: str) -> None:
    names, expected = one.columns["name"].to_list(), other.columns["name"].to_list()
    assert names == expected, f"{what}: columns {sorted(set(names) ^ set(expected))[:3]}"
    assert one.values.shape == other.values.shape, f"{what}: {one.values.shape} values, not {other.values.shape}"
    differ = ~np.isclose(one.values, other.values, rtol=0, atol=0, equal_nan=True)
    where = [names[i] for i in np.flatnonzero(differ.any(axis=0))[:3]]
    assert not differ.any(), f"{what}: {where}"
    assert one.columns.equals(other.columns), f"{what}: the columns are told differently"


def _same_rows(block: FeatureBlock, whole: FeatureBlock, what: str) -> None:
    """Compare by name; a column that only other rows brought in is 0 or missing here."""
    names = block.columns["name"].to_list()
    own = [n for n in whole.columns["name"].to_list() if n in set(names)]
    assert own == names, f"{what}: columns {sorted(set(names) - set(own))[:3]} come out of nothing"
    differ = ~np.isclose(block.values, whole.select(own).values, rtol=0, atol=0, equal_nan=True)
    assert not differ.any(), f"{what}: {[names[i] for i in np.flatnonzero(differ.any(axis=0))[:3]]}"
    rest = [n for n in whole.columns["name"].to_list() if n not in set(names)]
    foreign = whole.select(rest).values
    assert (np.isnan(foreign) | (foreign == 0)).all(), f"{what}: a column of the row's own is gone"


CHECKS = (
    check_one_row_per_index_row, check_columns_are_told, check_ignores_the_future, check_compute_is_row_local,
    check_learns_from_its_rows_only, check_says_whether_it_learns, check_learned_travels_as_json, check_repeats_itself,
    check_refuses_what_it_cannot_use,
)  # fmt: skip
