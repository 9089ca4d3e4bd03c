"""``genomix ehr convert``: any format of health records into a sharded MEDS dataset with one unit per code."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from genomix.ehr.unit_table import UnitTable
from genomix.ehr.units import UnitReport, apply_units, count_units, plan_units
from genomix.errors import OutputError
from genomix.io.availability import DEFAULT_RULES, AvailabilityRules
from genomix.io.meds import write_metadata, write_shard
from genomix.io.record_conversion import (
    EVENTS_PER_SHARD,
    Progress,
    finished_buckets,
    record_report,
    rules_for,
    spool_source,
    subject_numbers,
)
from genomix.io.record_format import RecordReport
from genomix.io.record_rows import RecordScan
from genomix.provenance import atomic_directory, atomic_path, write_json

Units = Literal["harmonise", "keep"]
MAX_BUCKETS = 512
_BYTES_PER_ROW = {".parquet": 12, ".gz": 12, ".zst": 12, ".json": 600, ".ndjson": 600}


class Conversion(NamedTuple):
    """What was written, and the account of every source row.

    ``units``: None where units were kept as recorded. ``identifiers``: the protected file that says which person has
    which number; None where the source's identifiers are whole numbers already.
    """

    report: RecordReport
    units: UnitReport | None
    n_subjects: int
    n_shards: int
    identifiers: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return everything but identifiers as JSON-able values."""
        return {
            "records": self.report.as_json(),
            "units": None if self.units is None else self.units.as_json(),
            "subjects": self.n_subjects,
            "shards": self.n_shards,
            "identifiers": "numbers given in sorted order" if self.identifiers else "as in the source",
        }


def estimated_rows(path: Path) -> int:
    """Return about how many rows a source holds, from the sizes of its files."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(f.stat().st_size // _BYTES_PER_ROW.get(f.suffix.lower(), 80) for f in files)


def convert_records(
    scan: RecordScan,
    out: Path,
    *,
    n_rows: int,
    availability: AvailabilityRules = DEFAULT_RULES,
    units: Units = "harmonise",
    unit_table: UnitTable | None = None,
    implausible: Literal["flag", "missing"] = "flag",
    events_per_shard: int = EVENTS_PER_SHARD,
    where: str | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Write a source as a MEDS 0.4 dataset: ``data/N.parquet``, ``metadata/``, and the account in ``conversion.json``.

    Parameters
    ----------
    scan: the opened source. out: a folder that does not exist yet; it appears complete or not at all.
    where: the source's name in messages. n_rows: about how many rows the source holds; decides the number of shards.
    units: ``harmonise`` brings every code to one unit (:mod:`genomix.ehr.units`), ``keep`` leaves them as recorded;
        unit_table: None for the shipped one. implausible: count such values only, or make them missing too.

    Raises
    ------
    OutputError: when ``out`` exists. FormatError: for a source that cannot be read or holds no event.
    """
    if out.exists():
        raise OutputError(f"{out.name} exists already", where=str(out), hint="choose another folder, or remove it")
    rules = rules_for(scan, availability)
    n_buckets = max(1, min(MAX_BUCKETS, -(-n_rows // events_per_shard)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".genomix-") as raw, atomic_directory(out) as temporary:
        spooled = spool_source(scan, Path(raw), rules=rules, n_buckets=n_buckets, where=where, progress=progress)
        numbers = subject_numbers(spooled.subjects)
        (temporary / "data").mkdir()
        adjusted: Counter[str] = Counter()
        applied: list[pl.DataFrame] = []
        counts: list[pl.DataFrame] = []
        codes: list[pl.Series] = []
        n_shards = 0
        for bucket in finished_buckets(spooled, rules, numbers):
            adjusted.update(bucket.adjusted)
            applied.append(bucket.applied)
            counts.append(count_units(bucket.events))
            codes.append(bucket.events["code"].unique())
            write_shard(bucket.events, temporary, n_shards)
            n_shards += 1
        plan = _unit_plan(counts, unit_table or UnitTable())
        found = _harmonised(temporary, n_shards, plan, implausible) if units == "harmonise" else None
        write_metadata(temporary, pl.concat(codes).unique(), scan.descriptions())
        if (splits := getattr(scan, "splits", lambda: None)()) is not None and numbers is None:
            splits.write_parquet(
                temporary / "metadata" / "subject_splits.parquet", compression="zstd", statistics=False
            )
        report = record_report(scan, spooled, adjusted, applied)
        identifiers = None if numbers is None else identifiers_path(out)
        result = Conversion(report, found, len(spooled.subjects), n_shards, identifiers)
        write_json(temporary / "metadata" / "conversion.json", result.as_json())
        if found is not None:
            found.table.write_parquet(temporary / "metadata" / "units.parquet", compression="zstd", statistics=False)
        if numbers is not None and identifiers is not None:
            _write_protected(numbers, identifiers)
    return result


def identifiers_path(out: Path) -> Path:
    """Return the file beside a dataset that says which person has which number."""
    return out.with_name(out.name + ".identifiers.parquet")


def _write_protected(numbers: pl.DataFrame, path: Path) -> None:
    """Write a file that only its owner may read, from the first byte on."""
    with atomic_path(path) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        numbers.write_parquet(temporary)
        temporary.chmod(0o600)


def _unit_plan(counts: Iterable[pl.DataFrame], table: UnitTable) -> pl.DataFrame:
    """Decide every code's unit, from the values of the whole source."""
    whole = pl.concat(counts).group_by("code", "unit_from").agg(pl.col("n").sum())
    return plan_units(whole, table.analytes, table.spellings)


def _harmonised(folder: Path, n_shards: int, plan: pl.DataFrame, implausible: Literal["flag", "missing"]) -> UnitReport:
    """Bring the shards that were written to one unit per code."""
    tables = []
    for number in range(n_shards):
        done = apply_units(pl.read_parquet(folder / "data" / f"{number}.parquet"), plan, implausible=implausible)
        write_shard(done.events, folder, number)
        tables.append(done.report.table)
    keys = [c for c in tables[0].columns if c not in ("values", "implausible")]
    table = (
        pl.concat(tables).group_by(keys).agg(pl.col("values").sum(), pl.col("implausible").sum())
        .select(tables[0].columns).sort("code", "unit_from", nulls_last=True)
    )  # fmt: skip
    return UnitReport(table)


def shards(folder: Path) -> Iterator[Path]:
    """Yield the shards of a MEDS dataset, in order of their names."""
    yield from sorted((folder / "data").rglob("*.parquet"), key=lambda p: p.as_posix())
