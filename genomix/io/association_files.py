"""Association results on disk: Parquet in row groups of a fixed size, the same as TSV, and PLINK 2's columns as TSV.

A name that ends in ``.gz`` is compressed, without a time stamp.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from genomix.io.spreadsheet import spreadsheet_safe
from genomix.provenance import atomic_path, output_errors
from genomix.schemas.association import ASSOCIATION

ROW_GROUP = 1 << 17

_LINEAR = {"beta": "BETA", "se": "SE", "statistic": "T_STAT"}
_LOGISTIC = {"odds_ratio": "OR", "se": "LOG(OR)_SE", "statistic": "Z_STAT"}


class AssociationWriter:
    """Takes frames as they come and writes rows in order; memory holds one row group."""

    def __init__(self, parquet: Any, plain: Any, tables: dict[str, Any], kinds: dict[str, str]) -> None:
        self._parquet, self._plain, self._tables, self._kinds = parquet, plain, tables, kinds
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
        if self._plain is not None:
            safe = spreadsheet_safe(frame)
            safe.write_csv(self._plain, separator="\t", include_header=self._plain.tell() == 0, null_value="NA")
        for name, stream in self._tables.items():
            rows = plink_columns(frame.filter(pl.col("phenotype") == name), self._kinds[name])
            spreadsheet_safe(rows).write_csv(stream, separator="\t", include_header=stream.tell() == 0, null_value="NA")


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
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    stem = path.name.removesuffix(suffix)
    return {name: path.with_name(f"{stem}.{name.replace('/', '_')}{suffix}") for name in names}


def result_paths(out: Path | None, tsv: Path | None, names: Sequence[str]) -> dict[str, Path]:
    """Return every table that a run writes, by the words for it in a message."""
    found = {"-o": out} if out is not None else {}
    if tsv is not None:
        found |= {f"--tsv of {name}": path for name, path in table_paths(tsv, list(names)).items()}
    return found


@contextmanager
def association_writer(out: Path | None, tsv: Path | None, kinds: dict[str, str]) -> Iterator[AssociationWriter]:
    """Yield a writer; every file appears complete when the block succeeds, or not at all.

    Parameters
    ----------
    out: all columns, Parquet, or TSV where the name ends in .tsv or .tsv.gz. tsv: PLINK 2's columns. None for neither.
    kinds: ``linear`` or another regression, by phenotype.
    """
    with ExitStack() as stack:
        writer = plain = None
        if out is not None and out.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            temporary = stack.enter_context(atomic_path(out))
            schema = ASSOCIATION.empty().to_arrow().schema
            writer = stack.enter_context(pq.ParquetWriter(temporary, schema, compression="zstd"))
        elif out is not None:
            plain = stack.enter_context(_text_stream(out))
        tables = {}
        for name, path in (table_paths(tsv, list(kinds)) if tsv is not None else {}).items():
            tables[name] = stack.enter_context(_text_stream(path))
        made = AssociationWriter(writer, plain, tables, kinds)
        target = out or tsv
        if target is None:
            yield made
        else:
            with output_errors(target):
                yield made
        made.finish()
        if plain is not None and plain.tell() == 0:
            ASSOCIATION.empty().write_csv(plain, separator="\t")
        for name, stream in tables.items():
            if stream.tell() == 0:
                plink_columns(ASSOCIATION.empty(), kinds[name]).write_csv(stream, separator="\t")


@contextmanager
def _text_stream(path: Path) -> Iterator[Any]:
    with atomic_path(path) as temporary, temporary.open("wb") as raw:
        if path.suffix.lower() != ".gz":
            yield raw
            return
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
            yield stream
