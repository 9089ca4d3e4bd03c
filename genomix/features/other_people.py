"""Inputs in which everything of the people outside a fold's training rows is replaced by noise.

What a family learns from training rows must be the same on them: the leakage certificate learns on them again. Replaced
are, from a seed: records (values, codes, times, units; some removed, some added of a code that nobody has), table
values, prediction times, who counts as unrelated, recorded sex, and genotypes (calls, dosages and missingness, as read
through the store). Labels are not here: ``fit`` is given those of training rows alone.

Not replaced: who is related to whom and which variants passed quality control, which were found among everyone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.features.family import FeatureInputs
from genomix.features.given_table import KEYS
from genomix.features.matrix import RowArray
from genomix.io.genotype_format import beside
from genomix.io.plink import MISSING_CALL, SUFFIXES, GenotypeStore
from genomix.schemas.events import EVENTS

NEW_CODE = "CERTIFICATE//nobody has this"
"""Code of the added records."""

NEW_LEVEL = "certificate: nobody has this"
"""Text that half of the replaced texts of a table become."""

_PATTERNS = 61
"""Different draws of genotypes; record r of the fileset has draw r mod 61."""

_MISSING = 255
_DAY_US = 86_400_000_000


def with_others_replaced(inputs: FeatureInputs, train: RowArray, folder: Path, *, seed: int) -> FeatureInputs:
    """Return the inputs with every other person's data replaced; those of people with a row in ``train`` are kept.

    Parameters
    ----------
    train: the fold's training rows. folder: an empty folder that outlives the inputs; links to the fileset go there.
    seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    ours = inputs.index["subject_id"].gather(train).unique()
    here = ~inputs.index["subject_id"].is_in(ours.implode()).to_numpy()
    later = pl.Series(np.where(here, rng.integers(1, 400, inputs.n_rows), 0) * _DAY_US).cast(pl.Duration("us"))
    return replace(
        inputs,
        index=inputs.index.with_columns((pl.col("prediction_time") + later).alias("prediction_time")),
        events=None if inputs.events is None else _other_events(inputs.events, ours, rng),
        table=None if inputs.table is None else _other_table(inputs.table, ours, rng, np.random.default_rng((seed, 1))),
        unrelated=None if inputs.unrelated is None else np.where(here, ~inputs.unrelated, inputs.unrelated),
        genotypes=_other_genotypes(inputs, train, folder, rng),
    )


def _other_events(events: pl.DataFrame, ours: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """Remove a quarter of the others' records, give the rest other contents and days, and add half as many again."""
    mine = events["subject_id"].is_in(ours.implode())
    theirs = events.filter(~mine)
    if not theirs.height:
        return events
    theirs = theirs[np.sort(rng.permutation(theirs.height)[theirs.height // 4 :])]
    dated = theirs["time"].is_not_null()
    parts = [_reworded(part, rng) for part in (theirs.filter(dated), theirs.filter(~dated)) if part.height]
    added = pl.concat(parts)[rng.integers(0, theirs.height, theirs.height // 2 + 1)]
    changed = [events.filter(mine), *parts, added.with_columns(pl.lit(NEW_CODE).alias("code"))]
    return pl.concat(changed).sort(EVENTS.names)


def _reworded(part: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Give records the codes of one another, values that nobody has, no unit, and another day.

    Without a unit they cannot contradict the unit of anybody's record.
    """
    n = part.height
    donors = part.select("code", "numeric_value", "text_value")[rng.integers(0, n, n)]
    scale, days = pl.Series(rng.uniform(1.5, 9, n)), pl.Series(rng.integers(-300, 300, n) * _DAY_US)
    moved = days.cast(pl.Duration("us"))
    return part.with_columns(
        donors["code"],
        (donors["numeric_value"].cast(pl.Float64) * scale + 1).cast(pl.Float32).alias("numeric_value"),
        donors["text_value"],
        pl.lit(None, dtype=pl.String).alias("unit"),
        (pl.col("time") + moved).alias("time"),
        (pl.col("available_time") + moved).alias("available_time"),
    )


def _other_table(
    table: pl.DataFrame, ours: pl.Series, rng: np.random.Generator, text_rng: np.random.Generator
) -> pl.DataFrame:
    """Give the others one another's values, scaled and shifted or a text that nobody has, and a tenth of them none.

    text_rng: draws for columns of text, so that they change no draw of anything else.
    """
    theirs = np.flatnonzero(~table["subject_id"].is_in(ours.implode()).to_numpy())
    if not len(theirs):
        return table
    columns = []
    for name, dtype in table.schema.items():
        if name in KEYS:
            continue
        draw = text_rng if dtype == pl.String else rng
        values = table[name].gather(draw.choice(theirs, len(theirs)))
        if dtype.is_numeric():
            spread = draw.integers(2, 9, len(theirs)) if dtype.is_integer() else draw.uniform(1.5, 9, len(theirs))
            values = (values.cast(pl.Float64) * pl.Series(spread) + 1).cast(dtype, strict=False)
        elif dtype == pl.String:
            new = pl.Series(draw.random(len(theirs)) < 0.5)
            values = pl.select(pl.when(new).then(pl.lit(NEW_LEVEL)).otherwise(values)).to_series()
        kept = pl.Series(draw.random(len(theirs)) >= 0.1)
        values = pl.select(pl.when(kept).then(values)).to_series()
        columns.append(table[name].scatter(theirs, values).alias(name))
    return table.with_columns(columns)


def _other_genotypes(
    inputs: FeatureInputs, train: RowArray, folder: Path, rng: np.random.Generator
) -> GenotypeStore | None:
    store, sample_of_row = inputs.genotypes, inputs.sample_of_row
    if store is None or sample_of_row is None:
        return store
    others = np.setdiff1d(np.arange(store.n_samples), sample_of_row[train])
    return ReplacedGenotypes(store, others, folder, rng)


class ReplacedGenotypes(GenotypeStore):
    """A store in which some samples have drawn genotypes, the same in every read; the rest is as in the fileset.

    Alleles are drawn evenly among the record's alleles, one call in 16 is missing. It is no copy of the fileset: that
    could not hold every mixture of calls and dosages bit by bit. Its prefix is another one, so that nothing which was
    remembered of the fileset by its path is taken for it.

    Parameters
    ----------
    others: the 0-based samples to replace. folder: where links to the fileset are made.
    """

    def __init__(self, store: GenotypeStore, others: RowArray, folder: Path, rng: np.random.Generator) -> None:
        self.__setstate__(store.__getstate__())
        for path in (beside(store.prefix, suffix) for suffix in SUFFIXES):
            if path.is_file():
                (folder / path.name).symlink_to(path.absolute())
        self.prefix = folder / store.prefix.name
        self._place = np.full(self.n_samples, -1, dtype=np.int64)
        self._place[others] = np.arange(len(others))
        self._drawn = rng.integers(0, _MISSING, (2, _PATTERNS, len(others)), dtype=np.uint8)
        self._drawn[0][rng.random(self._drawn[0].shape) < 1 / 16] = _MISSING
        sex = self.samples["sex"].to_numpy().copy()
        sex[others] = (sex[others] + rng.integers(1, 3, len(others))) % 3
        self.samples = self.samples.with_columns(pl.Series("sex", sex, dtype=pl.Int8))

    def _read(self, method: str, rows: RowArray, chosen: Any, out: npt.NDArray[Any], reference: bool) -> None:
        super()._read(method, rows, chosen, out, reference)
        place = self._place if chosen is None else self._place[chosen.sorted]
        columns = np.flatnonzero(place >= 0)
        if not len(columns) or not len(rows):
            return
        records = self._record[rows].astype(np.int64)
        n_alleles = np.diff(self._offsets.astype(np.int64))[records]
        allele = np.zeros_like(records) if reference else self._allele[rows]
        kinds, kind_of_row = np.unique(
            np.column_stack([records % _PATTERNS, n_alleles, allele]), axis=0, return_inverse=True
        )
        for number, (pattern, alleles, wanted) in enumerate(kinds.tolist()):
            first, second = self._drawn[:, pattern, place[columns]]
            copies = (first % alleles == wanted).astype(np.int8) + (second % alleles == wanted)
            copies[first == _MISSING] = MISSING_CALL
            out[np.ix_(np.flatnonzero(kind_of_row.reshape(-1) == number), columns)] = copies
