"""The vocabulary of an OMOP CDM: what concept ids are called, read for the ids that are in use only.

A concept table may have millions of rows; of it no more is kept than the concepts that some record names. Tables are
Parquet, CSV, or tab-separated text without quoting under the name .csv (as Athena hands vocabularies out).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.record_rows import table_parts, text_or_null

_CONCEPT = {"concept_id": pl.Int64, "code": pl.String, "name": pl.String, "unit": pl.String}
_ANCESTORS = {"code": pl.String, "group": pl.String, "levels": pl.Int64, "description": pl.String}


def concept_id(column: str) -> pl.Expr:
    """Return a column's text as a concept id (Int64): null for 0, for nothing, and for what is no whole number."""
    found = whole_number(column)
    return pl.when(found > 0).then(found)


def whole_number(column: str) -> pl.Expr:
    """Return text such as ``17`` or ``17.0`` as Int64, anything else as null."""
    return pl.col(column).str.strip_chars().str.extract(r"^(\d+)(?:\.0+)?$").cast(pl.Int64, strict=False)


@dataclass(frozen=True)
class Concepts:
    """Concepts by id.

    Parameters
    ----------
    frame: concept_id (unique), code (``VOCABULARY//code``), name, unit (the code where the vocabulary is UCUM).
    """

    frame: pl.DataFrame

    def code(self, concept: pl.Expr) -> pl.Expr:
        """Return the code of an id: ``VOCABULARY//code`` where the concept is known, else ``OMOP//id``."""
        unnamed = pl.concat_str(pl.lit("OMOP//"), concept.cast(pl.String))
        return pl.coalesce(self._looked_up(concept, "code"), unnamed)

    def unit(self, concept: pl.Expr) -> pl.Expr:
        """Return the UCUM code of a unit's id, null where it is not known."""
        return self._looked_up(concept, "unit")

    def _looked_up(self, concept: pl.Expr, column: str) -> pl.Expr:
        known = self.frame.filter(pl.col(column).is_not_null())
        if not known.height:
            return pl.lit(None, dtype=pl.String)
        return concept.replace_strict(known["concept_id"], known[column], default=None, return_dtype=pl.String)


def used_concepts(files: Mapping[Path, Sequence[str]]) -> pl.Series:
    """Return every concept id (Int64, sorted) in the named columns of files; columns that are not there are skipped."""
    found: list[pl.Series] = []
    for path, wanted in files.items():
        if path.suffix == ".parquet":
            with _readable(path):
                lazy = _lower_case(pl.scan_parquet(path, hive_partitioning=False))
                there = [c for c in wanted if c in lazy.collect_schema().names()]
                texts = lazy.select(pl.col(c).cast(pl.String) for c in there)
                found += [texts.select(concept_id(c)).unique().collect(engine="streaming")[c] for c in there]
            continue
        for part in table_parts(path, delimiter=delimiter_of(path)):
            there = [c for c in wanted if c in part.frame.columns]
            found += [part.frame.select(concept_id(c).unique())[c] for c in there]
    if not found:
        return pl.Series("concept_id", [], dtype=pl.Int64)
    return pl.concat([s.alias("concept_id") for s in found]).unique().drop_nulls().sort()


def read_concepts(files: Sequence[Path], wanted: pl.Series) -> Concepts:
    """Return the wanted concepts of a concept table; where it is absent, none.

    Raises
    ------
    FormatError: a table that cannot be read, or lacks concept_id, vocabulary_id or concept_code.
    """
    parts = [pl.DataFrame(schema=_CONCEPT)]
    keys = pl.LazyFrame({"concept_id": wanted})
    for path in files:
        with _readable(path):
            lazy = _vocabulary(path, ("concept_id", "vocabulary_id", "concept_code"), ("concept_name",))
            vocabulary, code = text_or_null("vocabulary_id"), text_or_null("concept_code")
            columns = {
                "concept_id": concept_id("concept_id"),
                "code": pl.when(vocabulary != "None").then(pl.concat_str(vocabulary, pl.lit("//"), code)),
                "name": text_or_null("concept_name"),
                "unit": pl.when(vocabulary == "UCUM").then(code),
            }
            rows = lazy.select(e.alias(n) for n, e in columns.items()).join(keys, on="concept_id", how="semi")
            parts.append(rows.collect(engine="streaming"))
    return Concepts(pl.concat(parts).sort("concept_id", "code").unique("concept_id", keep="first", maintain_order=True))


def read_ancestors(ancestor: Sequence[Path], concept: Sequence[Path], used: pl.Series) -> pl.DataFrame:
    """Return code, group (an ancestor's code), levels (at least 1) and description, for the used concepts.

    Raises
    ------
    FormatError: a table that cannot be read, or lacks a column.
    """
    ids = {"ancestor_concept_id": pl.Int64, "descendant_concept_id": pl.Int64, "levels": pl.Int64}
    parts = [pl.DataFrame(schema=ids)]
    keys = pl.LazyFrame({"descendant_concept_id": used})
    for path in ancestor:
        with _readable(path):
            lazy = _vocabulary(path, ("ancestor_concept_id", "descendant_concept_id", "min_levels_of_separation"), ())
            rows = lazy.select(
                concept_id("ancestor_concept_id"), concept_id("descendant_concept_id"),
                whole_number("min_levels_of_separation").alias("levels"),
            ).filter(pl.col("ancestor_concept_id") != pl.col("descendant_concept_id"))  # fmt: skip
            parts.append(rows.join(keys, on="descendant_concept_id", how="semi").collect(engine="streaming"))
    pairs = pl.concat(parts).drop_nulls()
    wanted = pl.concat([pairs["ancestor_concept_id"].alias("id"), pairs["descendant_concept_id"].alias("id")]).unique()
    known = read_concepts(concept, wanted).frame.filter(pl.col("code").is_not_null())
    below = known.select(pl.col("concept_id").alias("descendant_concept_id"), "code")
    above = known.select(
        pl.col("concept_id").alias("ancestor_concept_id"), pl.col("code").alias("group"),
        pl.col("name").alias("description"),
    )  # fmt: skip
    joined = pairs.join(below, on="descendant_concept_id").join(above, on="ancestor_concept_id")
    return joined.select(list(_ANCESTORS)).unique().sort("code", "levels", "group")


def delimiter_of(path: Path) -> str:
    """Return what separates the columns of a text table: a tab where its header has tabs and no comma."""
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.readline(1 << 16)
    except (OSError, EOFError):
        return ","
    return "\t" if b"\t" in header and b"," not in header else ","


def _vocabulary(path: Path, needed: Sequence[str], optional: Sequence[str]) -> pl.LazyFrame:
    if path.suffix == ".parquet":
        lazy = pl.scan_parquet(path, hive_partitioning=False)
    else:
        tabs = delimiter_of(path) == "\t"
        lazy = pl.scan_csv(
            path, separator="\t" if tabs else ",", quote_char=None if tabs else '"', infer_schema=False,
            truncate_ragged_lines=True,
        )  # fmt: skip
    lazy = _lower_case(lazy)
    names = lazy.collect_schema().names()
    for column in needed:
        if column not in names:
            raise FormatError(f"{path.name} has no column {column}", where=str(path), hint="export the table again")
    absent = [pl.lit(None, dtype=pl.String).alias(c) for c in optional if c not in names]
    return lazy.with_columns(absent).select(pl.col(c).cast(pl.String) for c in (*needed, *optional))


def _lower_case(lazy: pl.LazyFrame) -> pl.LazyFrame:
    return lazy.rename({n: n.strip().lower() for n in lazy.collect_schema().names()})


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(
            f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}", where=str(path),
            hint="a table with a header line; compare checksums with the source's",
        ) from error  # fmt: skip
