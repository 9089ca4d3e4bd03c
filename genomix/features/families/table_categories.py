"""Text columns of a table that the study gives: one column of 0 and 1 per level that enough training people hold.

Options: ``columns`` (each with ``column``, and perhaps ``prefix``: characters of a value that are kept, and ``names``:
level → words; default: every text column), ``min_subjects`` (a level of fewer training people is pooled; default 20),
``sentences`` (column → words).

A column's levels are learned from training rows. A row has 1 in the column of its level; in ``other`` when its level is
pooled or was never seen; in ``missing`` when the table has no value. Where training rows have nothing to pool, an
unseen level is 0 in all; where they all have a value, a row without one has none in any. A column whose training rows
are all alike makes no feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.given_table import KEYS, table_of_rows
from genomix.features.matrix import FeatureBlock, RowArray, empty_block
from genomix.schemas.features import COLUMNS

DEFAULTS: Mapping[str, Any] = {"columns": None, "min_subjects": 20, "sentences": {}}
CHOICES = ("column", "prefix", "names")


class TableCategoriesFamily:
    """Levels of given text columns, learned from training rows."""

    name = "table_categories"
    rung = "demographics"
    learns = True
    needs = frozenset({"table"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Check the options; nothing is known of a level before training rows are."""
        _chosen(inputs, options)
        return empty_block(inputs.n_rows)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn each column's levels from ``rows``: those of enough people; whether any is pooled or missing."""
        subjects = inputs.index["subject_id"].gather(rows)
        least = {**DEFAULTS, **options}["min_subjects"]
        learned: Learned = {}
        for choice in _chosen(inputs, options):
            values = _values(inputs, choice).gather(rows)
            frame = pl.DataFrame({"level": values, "subject_id": subjects}).drop_nulls("level")
            counts = frame.group_by("level").agg(pl.col("subject_id").n_unique().alias("n")).sort("level")
            kept = counts.filter(pl.col("n") >= least)["level"].to_list()
            learned[choice["column"]] = {
                "levels": kept, "other": counts.height > len(kept), "missing": bool(values.is_null().any()),
            }  # fmt: skip
        return learned

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return one column per learned level, and for what is pooled or missing."""
        sentences = {**DEFAULTS, **options}["sentences"]
        parts: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        rows: list[list[str | None]] = []
        for choice in _chosen(inputs, options):
            name, known = choice["column"], learned[choice["column"]]
            if len(known["levels"]) + known["other"] + known["missing"] < 2:
                continue
            words = _words(name, sentences)
            values = _values(inputs, choice)
            absent = values.is_null().to_numpy()
            shown = [(f"={level}", choice.get("names", {}).get(level, level)) for level in known["levels"]]
            made = [(values == level).fill_null(value=False).to_numpy() for level in known["levels"]]
            if known["other"]:
                shown.append((" other", "any other"))
                made.append(~absent & ~values.is_in(known["levels"]).fill_null(value=False).to_numpy())
            if known["missing"]:
                shown.append((" missing", "not recorded"))
                made.append(absent)
            columns = np.column_stack(made).astype(np.float32)
            if not known["missing"]:
                columns[absent] = np.nan
            parts.append(columns)
            for suffix, level in shown:
                told = [f"{self.name}:{name}{suffix}", self.name, self.rung, words, "table"]
                rows.append([*told, None, "level", None, None, f"{words}: {level}", None])
        if not parts:
            return empty_block(inputs.n_rows)
        schema = {c.name: c.dtype for c in COLUMNS.columns}
        dictionary = COLUMNS.validate(pl.DataFrame(rows, schema=schema, orient="row"))
        return FeatureBlock(np.ascontiguousarray(np.hstack(parts)), dictionary)


def _chosen(inputs: FeatureInputs, options: Options) -> list[dict[str, Any]]:
    """Return the chosen columns, checked against the table."""
    assert inputs.table is not None
    wrong = sorted(set(options) - set(DEFAULTS))
    if wrong:
        raise ConfigError(f"table_categories has no option {wrong[0]!r}", hint="it has: " + ", ".join(DEFAULTS))
    text = [n for n, t in inputs.table.schema.items() if t == pl.String and n not in KEYS]
    given = options.get("columns")
    chosen: list[dict[str, Any]] = [{"column": n} for n in text] if given is None else [dict(c) for c in given]
    unknown = [c["column"] for c in chosen if c["column"] not in text]
    if unknown:
        raise ConfigError(f"table has no text column {unknown[0]!r}", hint="it has: " + ", ".join(text))
    keys = sorted({k for c in chosen for k in c} - set(CHOICES))
    if keys:
        raise ConfigError(f"a column of table_categories has no key {keys[0]!r}", hint="it has: " + ", ".join(CHOICES))
    words = [_words(c["column"], options.get("sentences", {})) for c in chosen]
    twice = sorted({w for w in words if words.count(w) > 1})
    if twice:
        raise ConfigError(
            f"two columns of the table are both called {twice[0]!r}", hint="change one in table.sentences"
        )
    return chosen


def _values(inputs: FeatureInputs, choice: Mapping[str, Any]) -> pl.Series:
    values: pl.Series = table_of_rows(inputs, [choice["column"]]).to_series()
    return values if choice.get("prefix") is None else values.str.slice(0, choice["prefix"])


def _words(name: str, sentences: Mapping[str, str]) -> str:
    return sentences.get(name, name.replace("_", " "))


FAMILY = TableCategoriesFamily()
