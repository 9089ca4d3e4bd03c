"""Texts in CSV and TSV tables that a spreadsheet would take for a formula.

A cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return is computed when the table is opened,
also where it is somebody's sample name (https://owasp.org/www-community/attacks/CSV_Injection). Such a text gets an
apostrophe before it, which spreadsheets hide; Parquet holds it as it is. Numbers and single signs (a strand) stay.
"""

from __future__ import annotations

import polars as pl

_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|nan)$"


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table with an apostrophe before every text, and column name, that would be a formula.

    >>> spreadsheet_safe(pl.DataFrame({"sample_id": ["=1+1", "a", "-0.5", "-"]}))["sample_id"].to_list()
    ["'=1+1", 'a', '-0.5', '-']
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    starts = frame.select(pl.col(texts).str.slice(0, 1).is_in(_STARTS).any()) if texts else pl.DataFrame()
    touched = [name for name in texts if starts[name].item()]
    if touched:
        formula = (
            pl.col(touched).str.slice(0, 1).is_in(_STARTS)
            & (pl.col(touched).str.len_chars() > 1)
            & ~pl.col(touched).str.contains(_NUMBER)
        )
        frame = frame.with_columns(pl.when(formula).then("'" + pl.col(touched)).otherwise(pl.col(touched)).name.keep())
    return frame.rename({name: f"'{name}" for name in frame.columns if name.startswith(_STARTS)})
