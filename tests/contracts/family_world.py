"""A small study in memory for the contract of feature families: events, genotypes, a table, and rows to predict for.

Everything is drawn from a seed. Some records happen after a prediction time, some before it but known only later; some
people have two rows, one has no genotypes, one no records; the order of rows is not the order of people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU
from genomix.features.family import FeatureInputs
from genomix.schemas.events import EVENTS
from genomix.schemas.genotypes import SCORE_WEIGHTS
from tests.genotype_store import random_calls, store_of

N_SAMPLES, N_VARIANTS = 30, 36
START = datetime(2020, 1, 1)
DAY = timedelta(days=1)
VARIANTS = [("1" if i < 20 else "2", 1000 * (i + 1), "A", "G") for i in range(N_VARIANTS)]
SUBJECTS = [*range(101, 101 + N_SAMPLES), 901, 902]
"""101 to 130 have samples 0 to 29; 901 has no genotypes; 902 has genotypes of nobody and no records."""

CODES: tuple[tuple[str, str | None], ...] = (
    ("LAB//potassium", "mmol/L"), ("LAB//glucose", "mg/dL"), ("SCORE//pain", None), ("DIAGNOSIS//A", None),
    ("DIAGNOSIS//B", None),
)  # fmt: skip
"""Codes and the unit of their values; pain is a number without a unit, diagnoses have no value."""

_WEIGHTS = pl.DataFrame(
    [(c, p, "G", "A", 0.1 * (i % 5) - 0.2) for i, (c, p, _, _) in enumerate(VARIANTS)],
    schema={c.name: c.dtype for c in SCORE_WEIGHTS.columns},
    orient="row",
)

_GENES = pl.DataFrame(
    [("1", 500, 9500, "ALPHA"), ("1", 8500, 20500, "BETA"), ("2", 20500, 30000, "GAMMA")],
    schema=["contig", "start", "end", "gene"],
    orient="row",
)

OPTIONS: dict[str, dict[str, Any]] = {
    "ancestry_pcs": {"n_components": 2, "prune_r2": None},
    "burden": {"genes": _GENES, "max_frequency": 0.6, "collapse": "weighted", "weights": "beta", "missing": "mean"},
    "dosages": {"prune_r2": 0.3, "minor_allele_frequency": 0.1},
    "table_categories": {"min_subjects": 3},
    "polygenic_score": {"scores": [{"name": "S", "weights": _WEIGHTS}], "n_components": 2, "prune_r2": None},
    "record_windows": {
        "windows": ["2d", "30d", "full"],
        "counts": ["count", "has", "time_since_last"],
        "numeric": ["first", "last", "min", "max", "mean", "sum", "std", "slope"],
        "min_subjects": 3,
    },
}
"""What a family needs to be told to work on 30 people; a family that is not here gets no options."""


@dataclass(frozen=True)
class World:
    """The study: inputs with every part, and the rows that may teach (of people with no other row)."""

    inputs: FeatureInputs
    calls: np.ndarray
    training: np.ndarray
    folder: Path

    def options(self, name: str) -> dict[str, Any]:
        """Return the options with which a family works on this study."""
        return dict(OPTIONS.get(name, {}))

    def with_genotypes_of(self, samples: list[int], seed: int) -> FeatureInputs:
        """Return the inputs with other genotypes for some samples."""
        calls = self.calls.copy()
        calls[:, samples] = random_calls(N_VARIANTS, len(samples), seed=seed, missing=0.2)
        place = self.folder / f"calls_{seed}_{len(samples)}"
        place.mkdir(exist_ok=True)
        return replace(self.inputs, genotypes=store_of(place, calls, variants=VARIANTS, sex=_sexes()))


def _sexes() -> list[int]:
    return [i % 3 for i in range(N_SAMPLES)]


def make_world(folder: Path, seed: int = 20240229) -> World:
    """Draw the study."""
    rng = np.random.default_rng(seed)
    calls = random_calls(N_VARIANTS, N_SAMPLES, seed=seed % 1000, missing=0.04)
    store = store_of(folder, calls, variants=VARIANTS, sex=_sexes())
    subjects = [*SUBJECTS, *SUBJECTS[:6]]
    order = rng.permutation(len(subjects))
    times = [START + timedelta(days=100 + 3 * i, hours=int(rng.integers(0, 24))) for i in range(len(subjects))]
    index = pl.DataFrame(
        {
            "row": np.arange(len(subjects)),
            "subject_id": [subjects[i] for i in order],
            "prediction_time": pl.Series([times[i] for i in order], dtype=pl.Datetime("us")),
            "kin_group": [subjects[i] % 50 for i in order],
        }
    )
    sample = np.array([SUBJECTS.index(s) if s < 900 else -1 for s in index["subject_id"]], dtype=np.int64)
    inputs = FeatureInputs(
        index, CPU, events=draw_events(rng, index), genotypes=store, sample_of_row=sample,
        variant_keep=np.arange(1, N_VARIANTS, dtype=np.int64), table=_draw_table(rng),
        unrelated=rng.random(len(subjects)) < 0.9,
    )  # fmt: skip
    teachers = set(SUBJECTS[3:22])
    training = np.flatnonzero(index["subject_id"].is_in(sorted(teachers)).to_numpy()).astype(np.int64)
    return World(inputs, calls, training, folder)


def draw_events(rng: np.random.Generator, index: pl.DataFrame) -> pl.DataFrame:
    """Draw events around the prediction times: a birth and a sex for most people, then coded records."""
    rows: list[tuple[Any, ...]] = []
    for subject, t in index.select("subject_id", "prediction_time").sort("subject_id", "prediction_time").iter_rows():
        if subject == 902:
            continue
        born = START - int(rng.integers(8_000, 25_000)) * DAY
        rows.append((subject, born, "MEDS_BIRTH", None, None, "day", born + DAY - timedelta(microseconds=1)))
        if subject % 4:
            rows.append((subject, None, f"GENDER//{'FM'[subject % 2]}", None, None, "static", None))
        for _ in range(12):
            code, unit = CODES[int(rng.integers(len(CODES)))]
            time = t + timedelta(minutes=int(rng.integers(-60_000, 15_000)))
            known = time + int(rng.choice([0, 0, 0, 5, 40])) * DAY
            value = None if code.startswith("DIAGNOSIS") else round(float(rng.normal(50, 10)), 1)
            rows.append((subject, time, code, value, unit, "second", known))
        rows.append((subject, t, "DIAGNOSIS//A", None, None, "second", t))
    return events_of(rows)


def events_of(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Return events from subject, time, code, value, unit, precision, availability."""
    schema = {c.name: c.dtype for c in EVENTS.columns}
    full = [(s, t, c, v, None, u, p, a) for s, t, c, v, u, p, a in rows]
    return EVENTS.validate(pl.DataFrame(full, schema=schema, orient="row").sort(EVENTS.names))


def _draw_table(rng: np.random.Generator) -> pl.DataFrame:
    subjects = SUBJECTS[:-3]
    site = [None if s % 7 == 0 else f"site {s % 5 if s % 11 else 9}" for s in subjects]
    return pl.DataFrame({"subject_id": subjects, "height": rng.normal(170, 8, len(subjects)).round(1), "site": site})


def rows_of(inputs: FeatureInputs, rows: np.ndarray) -> FeatureInputs:
    """Return the inputs with these rows only, numbered anew in this order."""
    index = inputs.index[rows].with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    return replace(
        inputs, index=index,
        sample_of_row=None if inputs.sample_of_row is None else inputs.sample_of_row[rows],
        unrelated=None if inputs.unrelated is None else inputs.unrelated[rows],
    )  # fmt: skip


def one_row_per_subject(index: pl.DataFrame, pick: str) -> np.ndarray:
    """Return the first or last row in time of every subject, in the order of the index."""
    ordered = index.sort("prediction_time", "row").group_by("subject_id", maintain_order=True)
    picked = ordered.agg(getattr(pl.col("row"), pick)())["row"]
    return np.sort(picked.to_numpy())


def split_at_prediction(events: pl.DataFrame, index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return events known at the prediction time of their subject's only row (or static), and all others."""
    limits = index.select("subject_id", pl.col("prediction_time").alias("_limit"))
    joined = events.join(limits, on="subject_id", how="left", maintain_order="left")
    on_time = (pl.col("time") <= pl.col("_limit")) & (pl.col("available_time") <= pl.col("_limit"))
    known = pl.col("time").is_null() | on_time.fill_null(True)
    return joined.filter(known).drop("_limit"), joined.filter(~known).drop("_limit")


def _deleted(later: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    return later.clear()


def _altered_values(later: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    return later.with_columns(
        (pl.col("numeric_value") * -1000).cast(pl.Float32).alias("numeric_value"),
        pl.when(pl.col("unit").is_not_null()).then(pl.lit("furlong")).alias("unit"),
    )


def _altered_codes(later: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    return later.with_columns(pl.lit("GENDER//F").alias("code"))


def _added(later: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Add records of every code just after the prediction time, and before it but known just after it."""
    tick = timedelta(microseconds=1)
    rows: list[tuple[Any, ...]] = []
    for subject, t in index.select("subject_id", "prediction_time").iter_rows():
        for code, unit in (*CODES, ("LAB//never seen", "mg/dL"), ("GENDER//M", None), ("MEDS_BIRTH", None)):
            value = None if code.startswith("DIAGNOSIS") else 1e6
            rows.append((subject, t + tick, code, value, unit, "second", t + tick))
            rows.append((subject, t - 5 * DAY, code, value, unit, "second", t + tick))
    return pl.concat([later, events_of(rows)])


FUTURES: dict[str, Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]] = {
    "deleted": _deleted, "given other values": _altered_values, "given other codes": _altered_codes, "added": _added,
}  # fmt: skip


def with_future(inputs: FeatureInputs, how: str) -> FeatureInputs:
    """Return the inputs with every record that was not known in time deleted, altered, or joined by more."""
    assert inputs.events is not None
    known, later = split_at_prediction(inputs.events, inputs.index)
    assert later.height, "the study has no record that was not known in time: the check would prove nothing"
    changed = pl.concat([known, FUTURES[how](later, inputs.index)])
    return replace(inputs, events=changed.sort(EVENTS.names))


def with_other_people_altered(world: World, teachers: np.ndarray, *, invert: bool = False) -> FeatureInputs:
    """Return the inputs with everything altered of people without a row in ``teachers`` (``invert``: of those with)."""
    inputs = world.inputs
    assert inputs.sample_of_row is not None
    ours = set(inputs.index["subject_id"].to_numpy()[teachers].tolist())
    chosen = [s for s in SUBJECTS if (s in ours) == invert]
    samples = [SUBJECTS.index(s) for s in chosen if s < 900]
    changed = world.with_genotypes_of(samples, seed=7)
    here = inputs.index["subject_id"].is_in(chosen).to_numpy()
    assert inputs.unrelated is not None
    unrelated = np.where(here & (not invert), ~inputs.unrelated, inputs.unrelated)
    late = pl.when(pl.col("subject_id").is_in(chosen)).then(pl.col("prediction_time") + 9 * DAY)
    index = inputs.index.with_columns(late.otherwise("prediction_time").alias("prediction_time"))
    return replace(
        changed, events=_other_events(inputs.events, chosen), table=_other_table(inputs.table, chosen),
        unrelated=unrelated, index=index,
    )  # fmt: skip


def _other_events(events: pl.DataFrame | None, chosen: list[int]) -> pl.DataFrame:
    """Other values, units, sexes and births for the chosen people, and many records of a new code."""
    assert events is not None
    here = pl.col("subject_id").is_in(chosen)
    changed = events.with_columns(
        pl.when(here).then((pl.col("numeric_value") * 7 + 1).cast(pl.Float32)).otherwise("numeric_value")
        .alias("numeric_value"),
        pl.when(here).then(pl.col("code").replace({"DIAGNOSIS//A": "DIAGNOSIS//B", "GENDER//F": "GENDER//M"}))
        .otherwise("code").alias("code"),
        pl.when(here & (pl.col("code") == "SCORE//pain")).then(pl.lit("points")).otherwise("unit").alias("unit"),
        pl.when(here & (pl.col("code") == "MEDS_BIRTH")).then(pl.col("time") - 900 * DAY).otherwise("time")
        .alias("time"),
    )  # fmt: skip
    extra = [(s, START + i * DAY, "LAB//other people", 5.0 + i, "mg/dL", "second", START + i * DAY)
             for s in chosen for i in range(4)]  # fmt: skip
    return pl.concat([changed, events_of(extra)]).sort(EVENTS.names)


def _other_table(table: pl.DataFrame | None, chosen: list[int]) -> pl.DataFrame:
    assert table is not None
    height = pl.when(pl.col("subject_id").is_in(chosen)).then(pl.col("height") * 3).otherwise("height")
    site = pl.when(pl.col("subject_id").is_in(chosen)).then(pl.lit("another site")).otherwise("site")
    return table.with_columns(height.alias("height"), site.alias("site"))
