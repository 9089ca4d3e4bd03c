"""Tables of related pairs by identifier: of ``genomix variants kinship``, of PLINK 2 and KING (``.kin0``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from genomix.errors import ConfigError, FormatError, LinkError
from genomix.io.tables import read_text
from genomix.schemas.genotypes import KINSHIP

_NAMES = (("sample_id_a", "sample_id_b"), ("#IID1", "IID2"), ("IID1", "IID2"), ("ID1", "ID2"), ("sample_a", "sample_b"))
_FEWEST = 0.5


class KinshipTable(NamedTuple):
    """``pairs``: schema KINSHIP in the store's numbering; how many samples the table names, and the store has."""

    pairs: pl.DataFrame
    n_named: int
    n_found: int


def read_kinship(path: Path, sample_ids: Sequence[str], *, reaching: float) -> KinshipTable:
    """Read pairs with their kinship, joined with the samples by identifier, never by number.

    Parameters
    ----------
    sample_ids: the store's samples. reaching: the kinship from which on all pairs must be listed. A table does not say
        where its listing ends, so one whose smallest kinship lies above is refused.

    Raises
    ------
    InputNotFoundError, FormatError: with file and line. LinkError: when most of its samples are unknown. ConfigError:
    when the listing may end above ``reaching``.
    """
    frame = _read(path)
    listed = frame["kinship"].min()
    if not isinstance(listed, float) or listed > reaching:
        ends = f"the smallest listed kinship is {listed:g}" if isinstance(listed, float) else "no pair is listed"
        raise ConfigError(
            f"{ends}, so that the table cannot rule out pairs above {reaching:g}", where=str(path),
            hint="genomix variants kinship with a smaller --min-kinship, or no --kinship: it is computed then",
        )  # fmt: skip
    known = pl.DataFrame({"name": pl.Series(list(sample_ids), dtype=pl.String)}).with_row_index("number")
    named = pl.concat([frame["a"], frame["b"].alias("a")]).unique()
    found = int(named.is_in(known["name"].implode()).sum())
    if found < max(1, _FEWEST * len(named)):
        raise LinkError(
            f"of the {len(named):,} samples that the table of kinship names, the genotypes have {found:,}",
            where=str(path), hint="a table of these genotypes, or no --kinship: it is computed then",
        )  # fmt: skip
    number = dict(zip(known["name"].to_list(), known["number"].to_list(), strict=True))
    local = frame.with_columns(
        pl.col(n).replace_strict(number, default=None, return_dtype=pl.Int64) for n in ("a", "b")
    ).drop_nulls()
    pairs = (
        local.select(
            pl.min_horizontal("a", "b").alias("sample_a"), pl.max_horizontal("a", "b").alias("sample_b"), "kinship"
        )
        .filter(pl.col("sample_a") != pl.col("sample_b"))
        .group_by("sample_a", "sample_b")
        .agg(pl.col("kinship").max())
        .sort("sample_a", "sample_b")
    )
    return KinshipTable(KINSHIP.validate(pairs), len(named), found)


def _read(path: Path) -> pl.DataFrame:
    """Columns a, b (text) and kinship (Float64) of the pairs whose kinship is known."""
    if path.suffix == ".parquet":
        from genomix.io.tables import read_table

        frame, first = read_table(path), 1
        chosen = _columns(frame.columns, path)
        if frame.schema[chosen[0]] != pl.String:
            raise _nameless(path)
        text = frame.select(pl.col(n).cast(pl.String).alias(m) for n, m in zip(chosen, ("a", "b", "k"), strict=True))
    else:
        lines = read_text(path).splitlines()
        tab = "\t" if lines and "\t" in lines[0] else ("," if lines and "," in lines[0] else None)
        rows = [line.split(tab) for line in lines]
        chosen = _columns(rows[0] if rows else [], path)
        at = [rows[0].index(n) for n in chosen]
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(rows[0]):
                raise FormatError(f"line has {len(row)} fields, not {len(rows[0])}", where=f"{path}:{number}")
        if chosen[0] == "sample_a" and len(rows) > 1 and all(row[at[0]].isdecimal() for row in rows[1:]):
            raise _nameless(path)
        text = pl.DataFrame(
            [[row[i] for i in at] for row in rows[1:]], schema=dict.fromkeys(("a", "b", "k"), pl.String), orient="row"
        )
        first = 2
    numbers = text["k"].cast(pl.Float64, strict=False)
    missing = text["k"].is_null() | text["k"].str.to_lowercase().is_in(["na", "nan", "-nan", "."])
    bad = numbers.is_null() & ~missing
    if bad.any():
        raise FormatError("a kinship is not a number", where=f"{path}:{int(bad.arg_max() or 0) + first}")
    return text.select("a", "b", numbers.alias("kinship")).filter(pl.col("kinship").is_finite())


def _columns(names: Sequence[str], path: Path) -> tuple[str, str, str]:
    pair = next((p for p in _NAMES if set(p) <= set(names)), None)
    value = next((n for n in ("kinship", "KINSHIP", "Kinship") if n in names), None)
    if pair is None or value is None:
        raise FormatError(
            f"{path.name} is no table of kinship", where=str(path),
            hint="sample_id_a, sample_id_b and kinship, or PLINK 2's or KING's .kin0",
        )  # fmt: skip
    return (*pair, value)


def _nameless(path: Path) -> FormatError:
    return FormatError(
        "the table of kinship numbers its samples and does not name them", where=str(path),
        hint="columns sample_id_a and sample_id_b, as genomix variants kinship writes them",
    )  # fmt: skip
