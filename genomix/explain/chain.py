"""The chain behind a value: from a column of one row to the dated records, or the variants, that it was made of.

The value is computed again from the listed sources and must be the column's; identifiers and dates are never told, only
numbers and days before the prediction. What a chain lists is one person's record: it is for the person's own care, and
belongs into no report about a cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genomix.errors import ConfigError
from genomix.explain.chain_records import RecordsBehind, demographic_chain, record_chain
from genomix.explain.chain_result import Chain, number
from genomix.explain.chain_variants import VariantsBehind, variant_chain
from genomix.explain.tree_shap import Explained
from genomix.features.record_columns import FAMILY_NAME

__all__ = ["Chain", "RecordsBehind", "Sources", "VariantsBehind", "chain", "leading_columns"]

VARIANT_FAMILIES = ("polygenic_score", "burden", "dosages", "ancestry_pcs")
TABLE_FAMILIES = ("table", "table_categories")


@dataclass(frozen=True)
class Sources:
    """What stands behind one row: records, genotypes, both or neither."""

    records: RecordsBehind | None = None
    variants: VariantsBehind | None = None


def chain(column: Mapping[str, Any], value: float, sources: Sources, *, show_secondary: bool = False) -> Chain:
    """Return what stands behind one value.

    Parameters
    ----------
    column: the column's row of COLUMNS, as a mapping. value: as the model saw it, NaN where missing.
    show_secondary: list variants of genes on the ACMG list of secondary findings too.

    Raises
    ------
    IntegrityError: the sources do not give the value. ConfigError: the sources of this family are not given.
    """
    family = column["family"]
    if family in TABLE_FAMILIES:
        return _nothing(column, value, "table", "a cell of the table: nothing stands behind it")
    if family in VARIANT_FAMILIES:
        if sources.variants is None:
            raise ConfigError(f"{column['name']} is made of variants, and no genotypes are given")
        return variant_chain(column, value, sources.variants, show_secondary=show_secondary)
    if family in (FAMILY_NAME, "demographics"):
        if sources.records is None:
            if family == "demographics":
                return _nothing(column, value, "none", "the recorded sex of the genotyped sample")
            raise ConfigError(
                f"{column['name']} is made of records, and none are given", hint="--records, those of the features"
            )
        of = record_chain if family == FAMILY_NAME else demographic_chain
        return of(column, value, sources.records)
    return _nothing(column, value, "none", f"columns of {family} say no sources")


def _nothing(column: Mapping[str, Any], value: float, kind: str, note: str) -> Chain:
    return Chain(
        column["name"], column["sentence"], column["unit"], kind, number(value), None, checked=False, sources=None,
        note=note,
    )  # fmt: skip


def leading_columns(explained: Explained, at: int, most: int = 8) -> list[int]:
    """Return the numbers of the columns with the largest contributions to the ``at``-th explained row, none of 0."""
    shap = np.abs(explained.values[at].astype(np.float64))
    order = np.argsort(-shap, kind="stable")[:most]
    return [int(j) for j in order if shap[j] > 0]
