"""Contributions summed over groups of columns: feature family, gene, code (rolled up), look-back window.

Signed contributions are added within a row first; the mean of |sum| comes after. Members that cancel each other count
as what they do together, so a group is at most the sum of its columns. By the efficiency and additivity of Shapley
values the sums of a partition and the base value still give the margin; they are the exact values of the columns added
up, not the Shapley values of the game whose players are the groups (those would need other trees or the Owen value).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from genomix.ehr.roll_up import groups_of, read_roll_up
from genomix.ehr.vocabulary import roll_up
from genomix.errors import ConfigError
from genomix.explain.icd import icd_chapter
from genomix.explain.tree_shap import Explained
from genomix.models.model import Float64Array
from genomix.schemas.explain import GROUP_CONTRIBUTIONS, GROUP_IMPORTANCE
from genomix.variants.gene_masks import match_genes

KINDS = ("feature", "group", "family", "gene", "code", "window")
"""What columns may be grouped by."""

GENE_FAMILIES = ("burden", "dosages")


@dataclass(frozen=True)
class GroupOptions:
    """How codes and variants become groups.

    Parameters
    ----------
    code_depth: keep a code's first parts (parts are joined by ``//``). code_characters: then so many characters of the
        last part (``I21.4`` → ``I21`` with 3). icd_chapters: the chapter of ICD diagnosis codes.
    roll_up: table of code and group (:mod:`genomix.ehr.roll_up`); a code of several groups counts under all their names
        joined, so that every column is in one group only.
    genes: intervals from :func:`genomix.io.annotation.read_gene_bed`, for columns of single variants.
    """

    code_depth: int | None = None
    code_characters: int | None = None
    icd_chapters: bool = False
    roll_up: Path | None = None
    genes: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        ways = [self.icd_chapters, self.roll_up is not None, bool(self.code_depth or self.code_characters)]
        if sum(ways) > 1:
            raise ConfigError("codes are grouped by chapters, by a table or by their first parts: choose one")
        if self.code_characters is not None and self.code_characters < 1:
            raise ConfigError(f"code_characters is {self.code_characters}", hint="a whole number from 1")


class Grouped(NamedTuple):
    """Contributions of groups: names, float64 (rows, groups), and the number of columns of each, int64 (groups,)."""

    names: list[str]
    values: Float64Array
    n_columns: list[int]


def group_labels(columns: pl.DataFrame, by: str, options: GroupOptions | None = None) -> list[str]:
    """Return the group of every column; a column that has none of the kind is in ``no KIND (FAMILY)``.

    Parameters
    ----------
    columns: COLUMNS. by: one of :data:`KINDS`.

    Raises
    ------
    ConfigError: an unknown kind.
    """
    if by not in KINDS:
        raise ConfigError(f"columns are not grouped by {by!r}", hint="one of: " + ", ".join(KINDS))
    chosen = options or GroupOptions()
    if by in ("feature", "group", "family"):
        return columns["name" if by == "feature" else by].to_list()
    if by == "window":
        found: list[str | None] = columns["window"].to_list()
    else:
        found = _genes(columns, chosen) if by == "gene" else _codes(columns, chosen)
    return [
        label if label is not None else f"no {by} ({family})"
        for label, family in zip(found, columns["family"].to_list(), strict=True)
    ]


def _codes(columns: pl.DataFrame, chosen: GroupOptions) -> list[str | None]:
    codes: list[str | None] = columns["code"].to_list()
    distinct = pl.Series("code", sorted({c for c in codes if c is not None}), dtype=pl.String)
    if chosen.icd_chapters:
        named = {c: icd_chapter(c) or "no ICD chapter" for c in distinct}
    elif chosen.roll_up is not None:
        of_code = groups_of(distinct, read_roll_up(chosen.roll_up))
        joined = of_code.group_by("code").agg(pl.col("group").sort().str.join("; "))
        named = dict.fromkeys(distinct.to_list(), "no group in the table") | dict(joined.iter_rows())
    else:
        whole = dict(zip(distinct.to_list(), roll_up(distinct, chosen.code_depth).to_list(), strict=True))
        named = {c: _shortened(name, chosen.code_characters) for c, name in whole.items()}
    return [None if c is None else named[c] for c in codes]


def _shortened(code: str, characters: int | None) -> str:
    """Keep the first characters of the last part.

    >>> _shortened("ICD10CM//I21.4", 3)
    'ICD10CM//I21'
    """
    *before, last = code.split("//")
    return "//".join([*before, last if characters is None else last[:characters]])


def _genes(columns: pl.DataFrame, chosen: GroupOptions) -> list[str | None]:
    of_variant = {} if chosen.genes is None else genes_of_keys(_keys(columns), chosen.genes)
    found: list[str | None] = []
    for family, code, group in columns.select("family", "code", "group").iter_rows():
        found.append(code if family == "burden" else of_variant.get(group) if family == "dosages" else None)
    return found


def _keys(columns: pl.DataFrame) -> list[str]:
    return columns.filter(pl.col("family") == "dosages")["group"].to_list()


def genes_of_keys(keys: Sequence[str], genes: pl.DataFrame) -> dict[str, str]:
    """Return the genes (joined by ``;``) of variants ``contig:position:ref:alt`` that lie in one.

    Parameters
    ----------
    genes: contig, start (1-based), end, gene.
    """
    if not keys:
        return {}
    parts = [key.rsplit(":", 3) for key in keys]
    variants = pl.DataFrame(
        {"contig": [p[0] for p in parts], "position": [int(p[1]) for p in parts], "ref": [p[2] for p in parts],
         "alt": [p[3] for p in parts]}
    )  # fmt: skip
    rows = match_genes(genes, variants).rows.select("variant", "gene").drop_nulls().unique()
    joined = rows.group_by("variant").agg(pl.col("gene").sort().str.join(";"))
    return {keys[variant]: gene for variant, gene in joined.iter_rows()}


def grouped(explained: Explained, labels: Sequence[str]) -> Grouped:
    """Return each row's sum of signed contributions of every group, groups by name."""
    names, member = np.unique(np.array(list(labels), dtype=object), return_inverse=True)
    sums = np.zeros((explained.values.shape[0], names.size))
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(names.size))
    if names.size:
        sums = np.add.reduceat(explained.values[:, order].astype(np.float64), starts, axis=1)
    return Grouped(names.tolist(), sums, np.bincount(member, minlength=names.size).tolist())


def group_contributions(explained: Explained, found: Grouped) -> pl.DataFrame:
    """Return GROUP_CONTRIBUTIONS: one line per row and group."""
    n, k = found.values.shape
    return GROUP_CONTRIBUTIONS.validate(
        pl.DataFrame(
            {
                "row": np.repeat(explained.row, k),
                "group": pl.Series(found.names * n, dtype=pl.String),
                "shap": found.values.reshape(-1),
                "base_value": np.full(n * k, float(explained.base_value)),
            }
        )
    )


@dataclass
class GroupTotals:
    """What is added up over parts of the rows: of every group, sums of |sum| and of the sum over rows.

    ``by``: one of :data:`KINDS`.
    """

    by: str
    absolute: dict[str, float] = field(default_factory=dict)
    signed: dict[str, float] = field(default_factory=dict)
    n_columns: dict[str, int] = field(default_factory=dict)
    n_rows: int = 0

    def add(self, found: Grouped) -> None:
        """Count some rows in; a group that a fold's model lacks counts 0 there."""
        self.n_rows += found.values.shape[0]
        absolute, signed = np.abs(found.values).sum(axis=0), found.values.sum(axis=0)
        for i, name in enumerate(found.names):
            self.absolute[name] = self.absolute.get(name, 0.0) + float(absolute[i])
            self.signed[name] = self.signed.get(name, 0.0) + float(signed[i])
            self.n_columns[name] = max(self.n_columns.get(name, 0), found.n_columns[i])

    def table(self) -> pl.DataFrame:
        """Return GROUP_IMPORTANCE, the largest first."""
        total = sum(self.absolute.values())
        names = sorted(self.absolute, key=lambda n: (-self.absolute[n], n))
        rows = max(self.n_rows, 1)
        records = [
            {
                "by": self.by,
                "group": n,
                "n_columns": self.n_columns[n],
                "mean_abs_shap": self.absolute[n] / rows,
                "mean_shap": self.signed[n] / rows,
                "share": self.absolute[n] / total if total else None,
            }
            for n in names
        ]
        return GROUP_IMPORTANCE.validate(
            pl.DataFrame(records, schema={c.name: c.dtype for c in GROUP_IMPORTANCE.columns})
        )


def group_importance(explained: Sequence[Explained], by: str, options: GroupOptions | None = None) -> pl.DataFrame:
    """Return GROUP_IMPORTANCE over the rows of all parts (folds)."""
    totals = GroupTotals(by)
    for part in explained:
        totals.add(grouped(part, group_labels(part.columns, by, options)))
    return totals.table()
