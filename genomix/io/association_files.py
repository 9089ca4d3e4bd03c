"""Association results on disk: Parquet in row groups of a fixed size, and TSV with PLINK 2's column names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from genomix.provenance import atomic_path, output_errors
from genomix.schemas.association import ASSOCIATION

ROW_GROUP = 1 << 17

_LINEAR = {"beta": "BETA", "se": "SE", "statistic": "T_STAT"}
_LOGISTIC = {"odds_ratio": "OR", "se": "LOG(OR)_SE", "statistic": "Z_STAT"}


class AssociationWriter:
    """Takes frames as they come and writes rows in order; memory holds one row group."""

    def __init__(self, parquet: Any, tables: dict[str, Any], kinds: dict[str, str]) -> None:
        self._parquet, self._tables, self._kinds = parquet, tables, kinds
        self._waiting: list[pl.DataFrame] = []
        self._height = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Add some rows."""
        self._waiting.append(ASSOCIATION.validate(frame))
        self._height += frame.height
        if self._height >= ROW_GROUP:
            whole = pl.concat(self._waiting)
            at = whole.height // ROW_GROUP * ROW_GROUP
            for start in range(0, at, ROW_GROUP):
                self._put(whole[start : start + ROW_GROUP])
            self._waiting, self._height = [whole[at:]], whole.height - at

    def finish(self) -> None:
        """Write what is left."""
        if self._height:
            self._put(pl.concat(self._waiting))
            self._waiting, self._height = [], 0

    def _put(self, frame: pl.DataFrame) -> None:
        if self._parquet is not None:
            self._parquet.write_table(frame.to_arrow().cast(self._parquet.schema), row_group_size=ROW_GROUP)
        for name, stream in self._tables.items():
            rows = plink_columns(frame.filter(pl.col("phenotype") == name), self._kinds[name])
            rows.write_csv(stream, separator="\t", include_header=stream.tell() == 0, null_value="NA")


def plink_columns(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return rows of one phenotype under PLINK 2's column names, figures to six significant digits as it prints them.

    ``kind`` is ``linear`` or another regression; LOG10_P is -log10(P), as in PLINK 2.
    """
    names = _LINEAR if kind == "linear" else _LOGISTIC
    figures = frame.with_columns(pl.col("beta").exp().alias("odds_ratio"))
    shown = [
        pl.col("contig").alias("#CHROM"), pl.col("position").alias("POS"), pl.col("variant_id").alias("ID"),
        pl.col("ref").alias("REF"), pl.col("alt").alias("ALT"), pl.col("a1").alias("A1"),
        _six("a1_count").alias("A1_CT"), pl.col("allele_count").alias("ALLELE_CT"),
        _six("a1_frequency").alias("A1_FREQ"),
    ]  # fmt: skip
    if kind != "linear":
        shown.append(pl.when(pl.col("model") == "firth").then(pl.lit("Y")).otherwise(pl.lit("N")).alias("FIRTH?"))
    shown += [pl.lit("ADD").alias("TEST"), pl.col("n_observed").alias("OBS_CT")]
    shown += [_six(column).alias(name) for column, name in names.items()]
    shown += [_six("p").alias("P"), _six("minus_log10_p").alias("LOG10_P"), pl.col("errcode").alias("ERRCODE")]
    return figures.select(shown)


def _six(column: str) -> pl.Expr:
    return pl.col(column).map_elements(lambda value: f"{value:.6g}", return_dtype=pl.String)


def table_paths(path: Path, names: list[str]) -> dict[str, Path]:
    """Return the TSV of each phenotype: the path itself for one, ``STEM.NAME.SUFFIX`` for several."""
    if len(names) == 1:
        return {names[0]: path}
    return {name: path.with_name(f"{path.stem}.{name.replace('/', '_')}{path.suffix}") for name in names}


@contextmanager
def association_writer(parquet: Path | None, tsv: Path | None, kinds: dict[str, str]) -> Iterator[AssociationWriter]:
    """Yield a writer; every file appears complete when the block succeeds, or not at all.

    Parameters
    ----------
    parquet, tsv: where to, None for neither. kinds: ``linear`` or another regression, by phenotype.
    """
    with ExitStack() as stack:
        writer = None
        if parquet is not None:
            import pyarrow.parquet as pq

            temporary = stack.enter_context(atomic_path(parquet))
            schema = ASSOCIATION.empty().to_arrow().schema
            writer = stack.enter_context(pq.ParquetWriter(temporary, schema, compression="zstd"))
        tables = {}
        for name, path in (table_paths(tsv, list(kinds)) if tsv is not None else {}).items():
            tables[name] = stack.enter_context(stack.enter_context(atomic_path(path)).open("wb"))
        made = AssociationWriter(writer, tables, kinds)
        target = parquet or tsv
        if target is None:
            yield made
        else:
            with output_errors(target):
                yield made
        made.finish()
        for name, stream in tables.items():
            if stream.tell() == 0:
                plink_columns(ASSOCIATION.empty(), kinds[name]).write_csv(stream, separator="\t")
