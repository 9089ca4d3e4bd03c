"""What training rows hold of every candidate column, added up over parts whose codes differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.ehr.durations import MICROSECONDS_PER_DAY
from genomix.ehr.window_compiled import NEVER, Entries
from genomix.ehr.windows import ZERO_WHEN_ABSENT

Int64Array = npt.NDArray[np.int64]


class Figures:
    """Figures by (code, window, aggregation), codes sorted by name.

    ``n``, ``low``, ``high``: values that are not missing, among the rows that count. ``n_subjects``: people among them
    with any value of the code. ``known``, ``values_known``: (codes, windows) smallest lags (us) over all rows.
    """

    def __init__(self, n_windows: int, aggregations: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ()
        self.static_names: tuple[str, ...] = ()
        self._zero = np.array([a in ZERO_WHEN_ABSENT for a in aggregations])
        shape = (0, n_windows, len(aggregations))
        self.n = np.zeros(shape, dtype=np.int64)
        self.low = np.full(shape, np.inf, dtype=np.float32)
        self.high = np.full(shape, -np.inf, dtype=np.float32)
        self.known, self.values_known = (np.full(shape[:2], NEVER, dtype=np.int64) for _ in range(2))
        self.n_subjects = np.zeros(0, dtype=np.int64)
        self._static = pl.DataFrame(
            schema={"code": pl.String, "subjects": pl.Int64, "has": pl.Int64, "n": pl.Int64, "low": pl.Float32,
                    "high": pl.Float32, "valued": pl.Boolean},
        )  # fmt: skip

    def add(
        self,
        names: tuple[str, ...],
        entries: Entries,
        static: pl.DataFrame,
        subject: Int64Array,
        counted: npt.NDArray[np.bool_],
    ) -> None:
        """Add a part.

        Parameters
        ----------
        names: the part's codes, sorted. static: row, code, value. subject, counted: of every row of the index.
        """
        from genomix.features import record_kernels as kernels

        at = self._grown(names)
        shape = (len(names), *self.n.shape[1:])
        n = np.zeros(shape, dtype=np.int64)
        low, high = np.full(shape, np.inf, dtype=np.float32), np.full(shape, -np.inf, dtype=np.float32)
        last, n_subjects = np.full(len(names), np.iinfo(np.int64).min), np.zeros(len(names), dtype=np.int64)
        kernels.column_figures(
            entries.row, entries.code, entries.window, entries.values, subject, counted, low, high, n, last, n_subjects
        )
        self.n[at] += n
        self.low[at] = np.minimum(self.low[at], low)
        self.high[at] = np.maximum(self.high[at], high)
        self.n_subjects[at] += n_subjects
        self.known[at] = np.minimum(self.known[at], entries.known)
        self.values_known[at] = np.minimum(self.values_known[at], entries.values_known)
        self._add_static(static, subject, counted)

    def _grown(self, names: tuple[str, ...]) -> Int64Array:
        """Make room for new codes and return where the given ones are."""
        if not set(names) <= set(self.names):
            whole = tuple(sorted({*self.names, *names}))
            position = {name: i for i, name in enumerate(whole)}
            old = np.array([position[name] for name in self.names], dtype=np.int64)

            def wider(values: npt.NDArray[Any], empty: Any) -> npt.NDArray[Any]:
                grown = np.full((len(whole), *values.shape[1:]), empty, dtype=values.dtype)
                grown[old] = values
                return grown

            self.n, self.n_subjects = wider(self.n, 0), wider(self.n_subjects, 0)
            self.low, self.high = wider(self.low, np.inf), wider(self.high, -np.inf)
            self.known, self.values_known = wider(self.known, NEVER), wider(self.values_known, NEVER)
            self.names = whole
        return self.numbers_of(names).astype(np.int64)

    def _add_static(self, static: pl.DataFrame, subject: Int64Array, counted: npt.NDArray[np.bool_]) -> None:
        rows = static["row"].to_numpy()
        marked = static.with_columns(
            pl.Series("subject", subject[rows]), pl.Series("counted", counted[rows], dtype=pl.Boolean)
        )
        own, value = pl.col("counted"), pl.col("value").filter(pl.col("counted")).drop_nulls()
        figures = marked.group_by("code").agg(
            pl.col("subject").filter(own).n_unique().cast(pl.Int64).alias("subjects"),
            own.sum().cast(pl.Int64).alias("has"),
            value.len().cast(pl.Int64).alias("n"),
            value.min().alias("low"),
            value.max().alias("high"),
            pl.col("value").is_not_null().any().alias("valued"),
        )
        both = pl.concat([self._static, figures.select(self._static.columns)])
        self._static = (
            both.group_by("code")
            .agg(
                pl.col("subjects", "has", "n").sum(), pl.col("low").min(), pl.col("high").max(), pl.col("valued").any()
            )
            .sort("code")
        )
        self.static_names = tuple(self._static["code"].to_list())

    def numbers_of(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the places of codes."""
        position = {name: i for i, name in enumerate(self.names)}
        return np.array([position[name] for name in names], dtype=np.int32)

    def static_numbers_of(self, codes: pl.Series) -> npt.NDArray[np.int64]:
        """Return the places of static codes."""
        position = {name: i for i, name in enumerate(self.static_names)}
        return np.array([position[name] for name in codes.to_list()], dtype=np.int64)

    def varies(self, n_rows: int) -> npt.NDArray[np.bool_]:
        """Say which columns have two different values, or are missing on some of ``n_rows`` rows only."""
        some_absent = (self.n > 0) & (self.n < n_rows)
        low = np.where(some_absent & self._zero, np.minimum(self.low, 0), self.low)
        high = np.where(some_absent & self._zero, np.maximum(self.high, 0), self.high)
        return np.asarray((low < high) | (some_absent & ~self._zero))

    def static_columns(self, n_rows: int, min_subjects: int | None) -> pl.DataFrame:
        """Return code_id, code, valued, keep_has and keep_value of static codes; ``min_subjects`` None keeps all."""
        table = self._static.with_row_index("code_id")
        if min_subjects is None:
            return table.with_columns(pl.lit(True).alias("keep_has"), pl.col("valued").alias("keep_value"))
        enough = pl.col("subjects") >= min_subjects
        partly = (pl.col("n") > 0) & (pl.col("n") < n_rows)
        return table.with_columns(
            (enough & (pl.col("has") < n_rows)).alias("keep_has"),
            (enough & ((pl.col("low") < pl.col("high")).fill_null(False) | partly)).alias("keep_value"),
        )

    def lags(self) -> pl.DataFrame:
        """Return code_id, window, lag_days and numeric_lag_days."""
        code, window = np.nonzero(self.known != NEVER)
        values_known = self.values_known[code, window]
        days = np.where(values_known == NEVER, np.nan, values_known / MICROSECONDS_PER_DAY)
        return pl.DataFrame(
            {
                "code_id": code.astype(np.int32),
                "window": window.astype(np.int32),
                "lag_days": self.known[code, window] / MICROSECONDS_PER_DAY,
                "numeric_lag_days": days,
            }
        ).with_columns(pl.col("numeric_lag_days").fill_nan(None))
