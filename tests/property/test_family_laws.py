"""Laws of every feature family on drawn people, records and rows; a new family is drawn into them by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.device import CPU
from genomix.features.family import FeatureInputs
from genomix.features.matrix import FeatureBlock
from genomix.io.plink import GenotypeStore
from genomix.provenance import canonical_json
from genomix.registry import members
from genomix.schemas.events import EVENTS
from tests.contracts.family_world import N_SAMPLES, N_VARIANTS, OPTIONS, VARIANTS
from tests.genotype_store import random_calls, store_of

FAMILIES = members("genomix.features.families", "FAMILY")
OF_RECORDS = sorted(n for n, f in FAMILIES.items() if "genotypes" not in f.needs)
OF_GENOTYPES = sorted(n for n, f in FAMILIES.items() if "genotypes" in f.needs)
START = datetime(2020, 1, 1)
HOUR = timedelta(hours=1)
TABLE = pl.DataFrame({"subject_id": [1, 2, 3], "height": [1.5, 1.7, None]})
CODES = ("A", "B", "MEDS_BIRTH", "GENDER//F", "GENDER//M")

Row = tuple[int, int]
Drawn = tuple[int, int | None, int, str, float | None]

EVENT = st.tuples(
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 60), st.sampled_from([12, 24, 36])),
    st.sampled_from([0, 0, 1, 30]),
    st.sampled_from(CODES),
    st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32)),
)
EVENTS_DRAWN = st.lists(EVENT, min_size=1, max_size=25)
ROWS = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0, 12, 24, 36, 60])), min_size=2, max_size=6)
QUICK = settings(max_examples=25, deadline=None)


def options(name: str) -> dict[str, Any]:
    return {**OPTIONS.get(name, {}), **({"min_subjects": 1} if name == "record_windows" else {})}


def events_of(drawn: list[Drawn]) -> pl.DataFrame:
    rows = []
    for subject, hour, later, code, value in drawn:
        time = None if hour is None else START + hour * HOUR
        known = None if time is None else time + later * HOUR
        number = None if code.startswith(("MEDS", "GENDER")) else value
        rows.append((subject, time, code, number, None, None, "static" if time is None else "second", known))
    schema = {c.name: c.dtype for c in EVENTS.columns}
    return EVENTS.validate(pl.DataFrame(rows, schema=schema, orient="row")).sort(EVENTS.names)


def inputs_of(events: pl.DataFrame, rows: list[Row]) -> FeatureInputs:
    index = pl.DataFrame(
        [(i, s, START + h * HOUR) for i, (s, h) in enumerate(rows)],
        schema={"row": pl.Int64, "subject_id": pl.Int64, "prediction_time": pl.Datetime("us")}, orient="row",
    )  # fmt: skip
    return FeatureInputs(index, CPU, events=events, table=TABLE)


def by_name(block: FeatureBlock, row: int) -> dict[str, float]:
    """A row's values that are neither 0 nor missing, by column: what other rows bring in is one of the two."""
    values = zip(block.columns["name"].to_list(), block.values[row].tolist(), strict=True)
    return {name: v for name, v in values if v == v and v != 0}


@pytest.mark.parametrize("name", OF_RECORDS)
@QUICK
@given(drawn=EVENTS_DRAWN, rows=ROWS)
def test_a_row_alone_has_the_values_that_it_has_among_others(name: str, drawn: list[Drawn], rows: list[Row]) -> None:
    family, events = FAMILIES[name], events_of(drawn)
    whole = family.compute(inputs_of(events, rows), options(name))
    assert whole.values.shape == (len(rows), whole.columns.height)
    for i, row in enumerate(rows):
        own = events.filter(pl.col("subject_id") == row[0])
        alone = family.compute(inputs_of(own, [row]), options(name))
        assert by_name(alone, 0) == by_name(whole, i)


@pytest.mark.parametrize("name", OF_RECORDS)
@QUICK
@given(drawn=EVENTS_DRAWN, row=st.tuples(st.integers(1, 4), st.sampled_from([0, 12, 24, 36])))
def test_what_was_not_known_changes_nothing(name: str, drawn: list[Drawn], row: Row) -> None:
    events = events_of(drawn)
    t = START + row[1] * HOUR
    known = (pl.col("time") <= t) & (pl.col("available_time") <= t)
    past = events.filter(pl.col("time").is_null() | known)
    whole, cut = (FAMILIES[name].compute(inputs_of(e, [row]), options(name)) for e in (events, past))
    assert whole.columns.equals(cut.columns)
    np.testing.assert_array_equal(whole.values, cut.values)


@pytest.mark.parametrize("name", OF_RECORDS)
@QUICK
@given(drawn=EVENTS_DRAWN, others=EVENTS_DRAWN, rows=ROWS)
def test_other_people_teach_nothing(name: str, drawn: list[Drawn], others: list[Drawn], rows: list[Row]) -> None:
    """People 1 and 2 teach; 3 to 5 get other records, and what is learned stays to the byte."""
    family = FAMILIES[name]
    rows = [(1, 36), (2, 60), *rows]
    training = np.array([i for i, (s, _) in enumerate(rows) if s <= 2])
    events = events_of(drawn)
    ours = pl.col("subject_id") <= 2
    changed = pl.concat([events.filter(ours), events_of(others).filter(~ours)]).sort(EVENTS.names)
    learned = []
    for given_events in (events, changed):
        inputs = inputs_of(given_events, rows)
        learned.append(family.fit(family.compute(inputs, options(name)), inputs, options(name), training))
    assert canonical_json(learned[0]) == canonical_json(learned[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    calls = random_calls(N_VARIANTS, N_SAMPLES, seed=21, missing=0.05)
    return store_of(tmp_path_factory.mktemp("store"), calls, variants=VARIANTS)


@pytest.mark.parametrize("name", OF_GENOTYPES)
@settings(max_examples=12, deadline=None)
@given(order=st.permutations(list(range(-1, N_SAMPLES))), repeated=st.lists(st.integers(0, 17), max_size=5))
def test_order_and_repetition_of_rows_teach_nothing(
    name: str, store: GenotypeStore, order: list[int], repeated: list[int]
) -> None:
    """Samples 0 to 17 teach, in any order, some of them with several rows; a person's values are always the same."""
    family = FAMILIES[name]
    plain = _fitted(family, name, store, list(range(-1, N_SAMPLES)))
    mixed = _fitted(family, name, store, [*order, *repeated])
    assert canonical_json(plain[0]) == canonical_json(mixed[0])
    expected = plain[1].values[[s + 1 for s in (*order, *repeated)]]
    np.testing.assert_allclose(mixed[1].values, expected, rtol=1e-6, atol=1e-6)


def _fitted(family: Any, name: str, store: GenotypeStore, samples: list[int]) -> tuple[Any, FeatureBlock]:
    rows = np.array(samples, dtype=np.int64)
    index = pl.DataFrame({"row": np.arange(len(rows)), "subject_id": rows})
    inputs = FeatureInputs(
        index, CPU, genotypes=store, sample_of_row=rows, unrelated=np.ones(len(rows), dtype=np.bool_)
    )
    block = family.compute(inputs, options(name))
    learned = family.fit(block, inputs, options(name), np.flatnonzero((rows >= 0) & (rows < 18)))
    return learned, family.apply(block, inputs, options(name), learned)
