"""Codes rolled up by a mapping that the user supplies: ICD to phecodes or CCS, drugs to ATC, concepts to ancestors.

A mapping is a table (CSV, TSV or Parquet) with the columns ``code`` and ``group`` and optionally ``description`` of the
group. A code may have several groups and a group of a group is just another line; a code that ends in ``*`` stands for
every code that begins so. Nothing is guessed: a code without a line has no group, and how many events that concerns is
counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from genomix.errors import FormatError
from genomix.io.record_rows import table_parts


class RollUp(NamedTuple):
    """``exact``: code, group; ``prefixes``: prefix, group; ``descriptions``: code (the group), description."""

    exact: pl.DataFrame
    prefixes: pl.DataFrame
    descriptions: pl.DataFrame


class RolledUp(NamedTuple):
    """Events of the groups, how many source events have one, and codes without one (code, events), most first."""

    events: pl.DataFrame
    n_mapped: int
    unmapped: pl.DataFrame


def read_roll_up(path: Path) -> RollUp:
    """Read a mapping of codes to groups.

    Raises
    ------
    FormatError: when columns are missing, a cell is empty, or two descriptions of a group differ; it names the row.
    """
    if not path.is_file():
        from genomix.errors import InputNotFoundError

        raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
    parts = [p.frame for p in table_parts(path)]
    table = pl.concat(parts) if parts else pl.DataFrame()
    missing = [c for c in ("code", "group") if c not in table.columns]
    if missing:
        raise FormatError(f"there is no column {missing[0]!r}", where=str(path), hint="code, group, description")
    table = table.with_columns(pl.col("code", "group").str.strip_chars())
    empty = (table["code"].fill_null("") == "") | (table["group"].fill_null("") == "")
    if empty.any():
        raise FormatError("code or group is empty", where=f"{path} row {int(empty.arg_max() or 0) + 1}")
    if "description" not in table.columns:
        table = table.with_columns(pl.lit(None, dtype=pl.String).alias("description"))
    words = table.select(pl.col("group").alias("code"), pl.col("description").str.strip_chars())
    described = words.filter(pl.col("description").fill_null("") != "").unique().sort("code")
    twice = described.filter(pl.col("code").is_duplicated())
    if twice.height:
        raise FormatError(f"group {twice['code'][0]!r} has two descriptions", where=str(path))
    pairs = table.select("code", "group").unique().sort("code", "group")
    is_prefix = pl.col("code").str.ends_with("*")
    prefixes = pairs.filter(is_prefix).select(pl.col("code").str.strip_suffix("*").alias("prefix"), "group")
    return RollUp(pairs.filter(~is_prefix), prefixes, described)


def rolled_up(events: pl.DataFrame, mapping: RollUp) -> RolledUp:
    """Return one event of the group for every event whose code has that group.

    Parameters
    ----------
    events: schema EVENTS. Values and units stay, so values of several codes meet in a group: aggregate counts of a
        group, or its values only where their unit is one.
    """
    codes = events.select("code").unique()
    of_code = groups_of(codes["code"], mapping)
    joined = events.join(of_code, on="code", how="inner")
    found = joined.with_columns(pl.col("group").alias("code")).select(events.columns).sort(events.columns)
    counts = events.group_by("code").agg(pl.len().cast(pl.Int64).alias("events"))
    unmapped = counts.join(of_code, on="code", how="anti").sort("events", "code", descending=[True, False])
    return RolledUp(found, events.height - int(unmapped["events"].sum()), unmapped)


def groups_of(codes: pl.Series, mapping: RollUp) -> pl.DataFrame:
    """Return code and group of every code that has one, sorted.

    >>> exact = pl.DataFrame({"code": ["ICD10CM//I10"], "group": ["PHE//401"]})
    >>> prefixes = pl.DataFrame({"prefix": ["ICD10CM//E11"], "group": ["PHE//250"]})
    >>> mapping = RollUp(exact, prefixes, pl.DataFrame())
    >>> groups_of(pl.Series(["ICD10CM//E11.9", "ICD10CM//I10", "X"]), mapping).rows()
    [('ICD10CM//E11.9', 'PHE//250'), ('ICD10CM//I10', 'PHE//401')]
    """
    wanted = pl.DataFrame({"code": codes.unique()})
    found = [wanted.join(mapping.exact, on="code")]
    for length in mapping.prefixes["prefix"].str.len_chars().unique().sort().to_list():
        same = mapping.prefixes.filter(pl.col("prefix").str.len_chars() == length)
        cut = wanted.with_columns(pl.col("code").str.slice(0, length).alias("prefix"))
        long_enough = pl.col("code").str.len_chars() >= length
        found.append(cut.filter(long_enough).join(same, on="prefix").select("code", "group"))
    return pl.concat(found).unique().sort("code", "group")
