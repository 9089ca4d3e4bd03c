"""What health records cost: conversion of every format, and features beside DuckDB and a hand-written Polars query.

    python benchmarks/ehr.py --work /tmp/ehr-benchmark

CPU seconds are user + system time of a whole process, its start included; start-up is measured apart, on a dataset of a
few events. Features: four aggregations (count, sum, min, max) in four windows (1, 30, 365 days, whole record) of 3,003
codes, from a converted dataset to a feature set on disk; the certificate's recomputation is measured apart. The peers
compute the same aggregates of the same events into one long Parquet table: no CSR, no choice of columns by training
rows, no account of units and lags. Conversion inputs are the published samples, copied under other numbers up to about
``--rows`` rows (MEDS and CSV: generated). DuckDB is measured where it is installed (``pip install duckdb``).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.processes import best, genomix, run  # noqa: E402 # the path is set above

RESULTS = ROOT / "benchmarks" / "results" / "ehr.json"
WINDOWS, AGGREGATIONS = "1d,30d,365d,full", "count,sum,min,max"
POLARS = """
import sys, polars as pl
columns = ("subject_id", "time", "available_time", "code", "numeric_value")
events = pl.scan_parquet(sys.argv[1] + "/data/*.parquet").select(columns)
labels = pl.read_parquet(sys.argv[2]).select("subject_id", pl.col("prediction_time").cast(pl.Datetime("us")))
lag = pl.col("prediction_time") - pl.col("time")
value = pl.col("numeric_value")
found = []
for name, days in (("1d", 1), ("30d", 30), ("365d", 365), ("full", None)):
    inside = pl.lit(True) if days is None else lag < pl.duration(days=days)
    found += [
        inside.sum().alias(f"count_{name}"), value.filter(inside).sum().alias(f"sum_{name}"),
        value.filter(inside).min().alias(f"min_{name}"), value.filter(inside).max().alias(f"max_{name}"),
    ]
query = (
    events.join(labels.lazy(), on="subject_id")
    .filter((pl.col("time") <= pl.col("prediction_time")) & (pl.col("available_time") <= pl.col("prediction_time")))
    .group_by("subject_id", "prediction_time", "code").agg(found)
)
query.sink_parquet(sys.argv[3])
"""
DUCKDB = """
import sys, duckdb
aggregates = []
for name, days in (("1d", 1), ("30d", 30), ("365d", 365), ("full", None)):
    inside = "" if days is None else f" filter (where prediction_time - time < interval {days} day)"
    for f in ("count(*)", "sum(numeric_value)", "min(numeric_value)", "max(numeric_value)"):
        aggregates.append(f"{f}{inside} as {f.split('(')[0]}_{name}")
db = duckdb.connect()
db.execute("set threads = 2")
db.execute(f\"\"\"copy (
    select e.subject_id, l.prediction_time, e.code, {', '.join(aggregates)}
    from read_parquet('{sys.argv[1]}/data/*.parquet') e join read_parquet('{sys.argv[2]}') l using (subject_id)
    where e.time <= l.prediction_time and e.available_time <= l.prediction_time
    group by all) to '{sys.argv[3]}' (format parquet)\"\"\")
"""
TEN_TIMES = """
import sys, polars as pl
labels = pl.read_parquet(sys.argv[1])
last = labels.with_columns(pl.col("prediction_time").cast(pl.Datetime("us")))
earlier = [last.with_columns(pl.col("prediction_time") - pl.duration(days=60 * k)) for k in range(10)]
pl.concat(earlier).sort("subject_id", "prediction_time").write_parquet(sys.argv[2])
"""
TO_CSV = """
import sys, polars as pl
events = pl.read_parquet(sys.argv[1]).head(int(sys.argv[3]))
time = pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S")
events.select("subject_id", time, "code", "numeric_value").write_csv(sys.argv[2])
"""
MAPPING = """
subject = "subject_id"
[[table]]
file = "*"
[[table.event]]
code = "{code}"
time = "time"
value = "numeric_value"
"""
FEW = """
import sys, polars as pl
from datetime import datetime
from pathlib import Path
from genomix.io.meds import write_meds
from genomix.io.record_format import to_events
t = datetime(2020, 1, 1)
raw = pl.DataFrame({"subject_id": [1, 2], "time": [t, t], "code": ["A", "B"], "numeric_value": [1.0, 2.0]})
write_meds(to_events(raw, source_format="few").events, Path(sys.argv[1]))
labels = pl.DataFrame({"subject_id": [1, 2], "prediction_time": [t, t], "boolean_value": [True, False]})
labels.write_parquet(sys.argv[2])
"""


class Size(NamedTuple):
    """A generated dataset."""

    name: str
    people: int
    events_each: int


SIZES = (Size("4M", 20_000, 200), Size("16M", 80_000, 200))


class Sample(NamedTuple):
    """A published sample, and the columns whose numbers are shifted in copies."""

    name: str
    folder: str
    numbers: tuple[str, ...]


SAMPLES = (
    Sample("omop", "omop-synthea27nj/Synthea27Nj_5.4", ("person_id", "visit_occurrence_id", "visit_detail_id")),
    Sample("mimic3", "mimic3-demo", ("subject_id", "hadm_id", "icustay_id")),
    Sample("mimic4", "pyhealth-demo-ehr/core/mimic4demo", ("subject_id", "hadm_id", "stay_id")),
    Sample("eicu", "pyhealth-demo-ehr/core/eicudemo", ("patientunitstayid",)),
    Sample("fhir", "fhir-smart-synthea-r4", ()),
)
SHIFT = 100_000_000


def make_generated(generator: Path, work: Path, sizes: Sequence[Size]) -> None:
    """Write and convert the generated datasets, with one and with ten prediction times for each person."""
    for size in sizes:
        raw, converted = work / f"raw-{size.name}", work / size.name
        if not raw.exists():
            run([sys.executable, generator, raw, str(size.people), str(size.events_each)])
        if not converted.exists():
            run(genomix("ehr", "convert", raw, "--from", "meds", "-o", converted, "-q"))
        ten = work / f"ten-{size.name}.parquet"
        if not ten.exists():
            run([sys.executable, "-c", TEN_TIMES, raw / "labels.parquet", ten])


def copies_of(sample: Sample, source: Path, target: Path, rows: int) -> int:
    """Write a sample as often as it takes to reach about ``rows`` rows; return the number of copies."""
    files = [p for p in sorted(source.rglob("*")) if p.is_file() and _is_table(p)]
    if sample.name == "fhir":
        resources = sum(p.read_bytes().count(b'"resourceType"') for p in files)
        n = max(1, round(rows / max(resources, 1)))
        for k in range(n):
            for p in files:
                (target / f"{k}-{p.name}").write_bytes(_other_ids(p.read_bytes(), k))
        return n
    own = [p for p in files if _has_numbers(p, sample.numbers)]
    n = max(1, round(rows / sum(sum(1 for _ in _lines(p)) for p in own)))
    for p in files:
        place = target / p.relative_to(source).parent / p.name.removesuffix(".gz")
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
            writer = csv.writer(out)
            for k in range(n if p in own else 1):
                rows_of = csv.reader(_lines(p))
                header = next(rows_of)
                at = [i for i, name in enumerate(header) if name.lower() in sample.numbers]
                if k == 0:
                    writer.writerow(header)
                for row in rows_of:
                    for i in at:
                        if i < len(row) and row[i].strip():
                            row[i] = str(int(float(row[i])) + k * SHIFT)
                    writer.writerow(row)
    return n


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz", ".json", ".ndjson"))


def _lines(path: Path) -> Iterator[str]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        yield from stream


def _has_numbers(path: Path, numbers: tuple[str, ...]) -> bool:
    header = next(csv.reader(_lines(path)), [])
    return any(name.lower() == numbers[0] for name in header)


def _other_ids(data: bytes, k: int) -> bytes:
    pattern = rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-)([0-9a-f]{12})"
    return re.sub(pattern, lambda m: m.group(1) + b"%012x" % (int(m.group(2), 16) ^ k), data) if k else data


def conversions(data: Path, work: Path, rows: int) -> dict[str, Any]:
    """Return the cost of converting each format: an input ten times a shard, and one of a tenth of its rows."""
    found: dict[str, Any] = {}
    sources: dict[str, tuple[Path, Path]] = {}
    for sample in SAMPLES:
        source = data / sample.folder
        if not source.exists():
            continue
        made = []
        for part, n in (("small", rows // 10), ("large", rows)):
            target = work / "sources" / f"{sample.name}-{part}"
            if not target.exists():
                half_done = target.with_name(f"{target.name}.part")
                shutil.rmtree(half_done, ignore_errors=True)
                half_done.mkdir(parents=True)
                copies_of(sample, source, half_done, n)
                half_done.rename(target)
            made.append(target)
        sources[sample.name] = (made[0], made[1])
    for part, n in (("small", rows // 10), ("large", rows)):
        target = work / "sources" / f"csv-{part}"
        if not target.exists():
            target.mkdir(parents=True)
            run([sys.executable, "-c", TO_CSV, work / "raw-4M" / "all.parquet", target / "events.csv", str(n)])
            (target / "mapping.toml").write_text(MAPPING)
    sources["csv"] = (work / "sources" / "csv-small", work / "sources" / "csv-large")
    sources["meds"] = (work / "raw-4M" / "data" / "held_out" / "0.parquet", work / "raw-4M")
    for name, paths in sources.items():
        costs = []
        for path in paths:
            shutil.rmtree(work / "converted", ignore_errors=True)
            command = genomix("ehr", "convert", path, "--from", name, "-o", work / "converted", "--json", "-q",
                              "--events-per-shard", str(rows // 10))  # fmt: skip
            used = run(command)
            account = json.loads(used.output[used.output.index("{") :])
            costs.append((used, account["records"]["rows_read"], account["shards"]))
            for extra in work.glob("converted.*"):
                extra.unlink()
        (one, few, _), (ten, many, shards) = costs
        found[name] = {
            "rows": [few, many],
            "shards": shards,
            "cpu_seconds": [round(one.cpu_seconds, 2), round(ten.cpu_seconds, 2)],
            "rows_per_cpu_second": round((many - few) / (ten.cpu_seconds - one.cpu_seconds)),
            "peak_mib": [round(one.peak_mib), round(ten.peak_mib)],
        }
    return found


def features(work: Path, sizes: Sequence[Size], repeats: int) -> dict[str, Any]:
    """Return the cost of features: ours with and without the certificate, and the peers'."""
    few, few_labels = work / "few", work / "few.parquet"
    if not few.exists():
        run([sys.executable, "-c", FEW, few, few_labels])
    found: dict[str, Any] = {"start_up_cpu_seconds": round(_ours(few, few_labels, None, work, repeats)[0], 2)}
    for size in sizes:
        converted, raw = work / size.name, work / f"raw-{size.name}"
        labels, split = raw / "labels.parquet", raw / "metadata" / "subject_splits.parquet"
        ten = work / f"ten-{size.name}.parquet"
        cases: dict[str, Any] = {}
        for name, rows, certificate in (
            ("genomix", labels, False), ("genomix with certificate", labels, True),
            ("genomix, ten prediction times", ten, False),
        ):  # fmt: skip
            cpu, peak, counts = _ours(converted, rows, split, work, repeats, certificate=certificate)
            cases[name] = {"cpu_seconds": round(cpu, 2), "peak_mib": round(peak), **counts}
        peers = {"polars": POLARS} | ({"duckdb": DUCKDB} if importlib.util.find_spec("duckdb") else {})
        for name, program in peers.items():
            for what, rows in ((name, labels), (f"{name}, ten prediction times", ten)):
                out = work / "peer.parquet"
                used = best([sys.executable, "-c", program, converted, rows, out], repeats=repeats)
                cases[what] = {"cpu_seconds": round(used.cpu_seconds, 2), "peak_mib": round(used.peak_mib)}
                out.unlink()
        found[size.name] = cases
    return found


def _ours(
    converted: Path, labels: Path, split: Path | None, work: Path, repeats: int, *, certificate: bool = False
) -> tuple[float, float, dict[str, int]]:
    """Return CPU seconds, peak memory and counts of the cheapest of several runs."""
    out = work / "features"
    used = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        more = ["--split", split] if split is not None else []
        used.append(
            run(genomix("ehr", "features", converted, "--labels", labels, "--windows", WINDOWS, "--aggregations",
                        AGGREGATIONS, "-o", out, "-q", "--certificate" if certificate else "--no-certificate", *more))
        )  # fmt: skip
    counts = json.loads((out / "learned.json").read_text())["counts"]
    cheapest = min(used, key=lambda u: u.cpu_seconds)
    kept = {name: counts[name] for name in ("rows", "events_read", "columns", "values_held")}
    return cheapest.cpu_seconds, cheapest.peak_mib, kept


def versions() -> dict[str, str]:
    """Return what was compared."""
    from importlib.metadata import version

    from benchmarks.end_to_end import versions as python_versions

    return {**python_versions(), **({"duckdb": version("duckdb")} if importlib.util.find_spec("duckdb") else {})}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the results."""
    from benchmarks.end_to_end import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=ROOT.parent / "shared" / "bench" / "gen_meds.py")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, required=True, help="folder for inputs of about 3 GB; they are kept")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of a conversion's large input")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=[s.name for s in SIZES])
    parser.add_argument(
        "--only", choices=("features", "conversion"), help="measure one part; the other stays as it was"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    chosen = [s for s in SIZES if s.name in given.sizes]
    make_generated(given.generator, given.work, chosen)
    results: dict[str, Any] = {
        "command": "python benchmarks/ehr.py",
        "machine": machine(),
        "versions": versions(),
    }
    before = json.loads(given.out.read_text()) if given.only else {}
    for part, measure in (
        ("features", lambda: features(given.work, chosen, given.repeats)),
        ("conversion", lambda: conversions(given.data, given.work, given.rows)),
    ):
        results[part] = before[part] if given.only not in (None, part) else measure()
    text = json.dumps(results, indent=1, sort_keys=True) + "\n"
    given.out.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
