"""What every genotype format promises: all records, all calls, all accounted for; bad input named; nothing left behind.

A check takes the member and a :class:`~tests.contracts.genotype_files.Maker` that writes files of its format.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl

from genomix.errors import FormatError, GenomixError, InputNotFoundError
from genomix.io.convert import ConversionReport, convert_genotypes
from genomix.io.genotype_format import RECORDS_SCHEMA, GenotypeBlock, OpenOptions, genotype_formats
from genomix.io.load_options import LoadOptions
from genomix.io.plink import SUFFIXES as STORE_SUFFIXES
from genomix.io.plink import open_store
from genomix.provenance import canonical_json
from tests.contracts.genotype_files import HAPLOID, MISSING, SAMPLES, SEXES, WITHOUT_ALT, Damage, Maker, Record
from tests.contracts.refusal import refusal

PRIVATE_IDS = ("an_na", "bo", "PRIVATE_7731", "dee", "PRIVATE_7731")
GARBAGE = b"\x00\xffno such format\n"


def convert(
    member: Any, source: Path, prefix: Path, *, steps: list[tuple[float, int]] | None = None
) -> ConversionReport:
    """Convert with this member, whether or not it is registered; ``steps`` takes the progress."""
    told = [] if steps is None else steps
    options = LoadOptions(build="GRCh38", block_size=3)
    with patch("genomix.io.convert.find_format", return_value=member):
        return convert_genotypes(source, prefix, options, progress=lambda share, count: told.append((share, count)))


def check_reads_every_record(member: Any, maker: Maker, folder: Path) -> None:
    """Header, fixed columns and calls are the file's, for any block size; blocks follow each other without a gap."""
    with member.open(maker.make(folder)) as source:
        samples = source.header.samples
        assert samples["sample_id"].to_list() == list(SAMPLES), f"{member.name}: other samples than the file's"
        if "sex" in maker.holds:
            assert samples["sex"].to_list() == list(SEXES), f"{member.name}: other sexes than the file's"
        assert source.n_samples == len(SAMPLES)
        n = source.n_records
        assert n in (None, len(maker.records)), f"{member.name}: {n} records stated of {len(maker.records)}"
    for size in (1, 3, None):
        _check_blocks(member, maker, folder, size)


def _check_blocks(member: Any, maker: Maker, folder: Path, size: int | None) -> None:
    with member.open(maker.files(folder)[0], OpenOptions(block_size=size)) as source:
        given = list(source.blocks())
    blocks = [b.general() for b in given]
    n, total = sum(b.n_records for b in blocks), len(maker.records)
    assert n == total, f"{member.name}: blocks of {size} hold {n} of {total} records"
    sizes = [b.n_records for b in blocks]
    assert max(sizes) <= (size or total), f"{member.name}: blocks of {size} hold {max(sizes)} records"
    numbers = np.concatenate([b.numbers for b in blocks]).tolist()
    assert numbers == list(range(total)), f"{member.name}: blocks of {size} are numbered {numbers}"
    _check_records(member, maker, pl.concat([b.records for b in blocks]))
    _check_shapes(member, given)
    alleles, phased = np.concatenate([b.alleles for b in blocks]), np.concatenate([b.phased for b in blocks])
    for i, record in enumerate(maker.records):
        for j, (a, b, is_phased) in enumerate(record.calls):
            where = f"{member.name}: record {record.variant_id}, sample {j + 1}"
            got = tuple(alleles[i, j].tolist())
            if b == HAPLOID:
                assert got == (a, b), f"{where}: {got} is not the haploid call {a}"
                continue
            assert sorted(got) == sorted((a, b)), f"{where}: {got} is not {(a, b)}"
            if is_phased and a != b:
                assert got == (a, b), f"{where}: the order of a phased call is lost"
                assert phased[i, j], f"{where}: the phase is lost"
            elif a != b and min(a, b) >= 0:
                assert not phased[i, j], f"{where}: the call has no phase in the file"


def _check_records(member: Any, maker: Maker, found: pl.DataFrame) -> None:
    """The fixed columns are the file's, and the others say that nothing is there."""
    assert dict(found.schema) == RECORDS_SCHEMA, f"{member.name}: the records have other columns"
    fixed = found.select("contig", "position", "variant_id", "ref", "alt").rows()
    expected = [(r.contig, r.position, r.variant_id, r.ref, ",".join(r.alts) or ".") for r in maker.records]
    assert fixed == expected, f"{member.name}: other records than the file's"
    rest = set(found.select("quality", "filter", "info").rows())
    assert rest == {(".", "PASS", ".")}, f"{member.name}: QUAL, FILTER and INFO are {rest}, not absent"


def _check_shapes(member: Any, blocks: list[GenotypeBlock]) -> None:
    """Every record lies in one part of its block, and the arrays have the types of the contract."""
    for b in blocks:
        n_general = b.n_records - int(b.is_compact.sum())
        shapes = (len(b.compact), len(b.alleles), len(b.phased), len(b.without_calls))
        expected = (b.n_records - n_general, n_general, n_general, n_general)
        assert shapes == expected, f"{member.name}: a block's parts hold {shapes} records, not {expected}"
        kinds = (b.numbers.dtype, b.compact.dtype, b.alleles.dtype, b.phased.dtype)
        wanted = (np.int64, np.int8, np.int16, np.bool_)
        assert kinds == wanted, f"{member.name}: a block's arrays are {kinds}"
        assert b.dosages is None, f"{member.name}: dosages out of hard calls"


def check_conversion_accounts(member: Any, maker: Maker, folder: Path) -> None:
    """Read = written + left out by reason; calls sum to records x samples; the store has the file's calls."""
    steps: list[tuple[float, int]] = []
    report = convert(member, maker.make(folder), folder / "out" / "a", steps=steps)
    _check_progress(member, steps, len(maker.records))
    n, written = len(maker.records), len(maker.records) - 1
    assert report.n_records_read == n, f"{member.name}: {report.n_records_read} records read of {n}"
    assert report.records_left_out == {"no ALT": 1}, f"{member.name}: left out {report.records_left_out}"
    assert report.n_records_written == written, f"{member.name}: {report.n_records_written} records written"
    total = sum(report.calls.values())
    assert total == written * len(SAMPLES), f"{member.name}: {total} calls accounted of {written * len(SAMPLES)}"
    assert report.format == member.name
    text = canonical_json(report.to_dict()).decode()
    assert str(folder) not in text, f"{member.name}: the report holds a path"
    assert not [s for s in SAMPLES if len(s) > 3 and s in text], f"{member.name}: the report holds a sample"
    store = open_store(folder / "out" / "a")
    expected = [
        [copies(record, call, allele) for call in record.calls]
        for record in maker.records
        for allele in range(1, len(record.alts) + 1)
    ]
    assert store.variants.height == len(expected), f"{member.name}: {store.variants.height} rows of {len(expected)}"
    assert store.read_calls().tolist() == expected, f"{member.name}: the store has other calls than the file"
    reference = [sum(copies(r, c, 0) == 2 for c in r.calls) for r in maker.records if r.variant_id != WITHOUT_ALT]
    first = store.variants["allele"].to_numpy() == 1
    assert (store.read_calls(np.flatnonzero(first), reference=True) == 2).sum(axis=1).tolist() == reference


def _check_progress(member: Any, steps: list[tuple[float, int]], n_records: int) -> None:
    """Shares and counts never fall, and end at all of the file."""
    assert steps == sorted(steps), f"{member.name}: progress goes back: {steps}"
    assert steps[0][0] >= 0, f"{member.name}: progress starts at {steps[0]}"
    assert steps[-1] == (1.0, n_records), f"{member.name}: progress ends at {steps[-1]}, not at {(1.0, n_records)}"


def copies(record: Record, call: tuple[int, int, bool], allele: int) -> int:
    """Copies of an allele by the default policies: haploid doubled on X only, half-calls missing."""
    a, b, _ = call
    if b == HAPLOID:
        return -9 if a == MISSING or record.contig != "X" else 2 * (a == allele)
    return -9 if MISSING in (a, b) else (a == allele) + (b == allele)


def check_round_trip(member: Any, maker: Maker, folder: Path) -> None:
    """What was written reads back as what was read: calls, phase, tables, and whether REF is only provisional."""
    plink2 = genotype_formats()["plink2"]
    convert(member, maker.make(folder), folder / "out" / "a")
    for source, target in (("a", "b"), ("b", "c")):
        again = convert(plink2, folder / "out" / f"{source}.pgen", folder / "out" / target)
        assert again.records_left_out == {}, f"{member.name}: a written record was left out when read again"
    opened = [plink2.open(folder / "out" / f"{name}.pgen") for name in ("a", "b")]
    (one,), (other,) = ([block.general() for block in source.blocks()] for source in opened)
    assert np.array_equal(one.alleles, other.alleles), f"{member.name}: calls change when converted again"
    assert np.array_equal(one.phased, other.phased), f"{member.name}: phase changes when converted again"
    with member.open(maker.files(folder)[0]) as source:
        known = source.header.ref_known
    assert [s.header.ref_known for s in opened] == [known, known], f"{member.name}: it is lost whether REF is known"
    for suffix, first, second in ((".pvar", "a", "b"), (".psam", "a", "b"), (".pgen", "b", "c")):
        before, after = ((folder / "out" / f"{name}{suffix}").read_bytes() for name in (first, second))
        assert before == after, f"{member.name}: {suffix} changes when converted again"


def check_rejects_bad_input(member: Any, maker: Maker, folder: Path) -> None:
    """A missing, empty, foreign or cut file, a broken line and a repeated sample are refused, naming the file."""
    for suffix in maker.suffixes:
        for what, change in (("missing", None), ("empty", b""), ("garbage", GARBAGE)):
            place = folder / f"{what}{suffix}"
            source = maker.make(place)
            damaged = place / f"in{suffix}"
            if change is None:
                damaged.unlink()
            else:
                damaged.write_bytes(change + (b"" if what == "empty" else damaged.read_bytes()[len(change) :]))
            error = refused(member, source, place, f"{what} {suffix}")
            _names(error, [damaged], f"{member.name}, {what} {suffix}")
            assert what != "missing" or isinstance(error, InputNotFoundError), f"{member.name}: {what} is {error!r}"
        for share in (0.3, 0.6, 0.95):
            _check_cut(member, maker, folder / f"cut{share}{suffix}", suffix, share)
    for number, damage in enumerate(maker.lines):
        _check_line(member, maker, folder / f"line{number}", damage)
    place = folder / "twice"
    error = refused(member, maker.make(place, PRIVATE_IDS), place, "a repeated sample")
    _names(error, maker.files(place), f"{member.name}, a repeated sample")
    assert "PRIVATE" not in str(error), f"{member.name}: an error shows a sample's identifier"
    assert "PRIVATE_7731" in error.render(show_identifiers=True), f"{member.name}: the repeated sample is not named"


def _check_cut(member: Any, maker: Maker, place: Path, suffix: str, share: float) -> None:
    """Cut a file inside a line or a block; files of a set that no longer fit together may name each other."""
    source = maker.make(place)
    damaged = place / f"in{suffix}"
    data = damaged.read_bytes()
    at = int(len(data) * share)
    if suffix in TEXT:
        at = data.rfind(b"\t", 0, at)  # inside a line, so that the line itself is short
    damaged.write_bytes(data[:at])
    error = refused(member, source, place, f"{suffix} cut at {share:.0%}")
    _names(error, maker.files(place), f"{member.name}, {suffix} cut at {share:.0%}")


TEXT = (".vcf", ".bim", ".fam", ".pvar", ".psam", ".sample")


def _check_line(member: Any, maker: Maker, place: Path, damage: Damage) -> None:
    source = maker.make(place)
    path = place / f"in{damage.suffix}"
    lines = path.read_text().split("\n")
    lines[damage.line - 1] = damage.change(lines[damage.line - 1])
    path.write_text("\n".join(lines))
    error = refused(member, source, place, f"line {damage.line} of {damage.suffix}")
    expected = f"{path}:{damage.line}"
    assert error.where == expected, f"{member.name}: a broken line is named {error.where}, not {expected}"


def _names(error: GenomixError, files: list[Path], what: str) -> None:
    where = error.where or ""
    assert any(str(f) in where for f in files), f"{what}: the error names {where or 'no file'}: {error.what}"


def refused(member: Any, source: Path, place: Path, what: str) -> GenomixError:
    """Return the error of a conversion that must fail, and leave what was there as it was."""
    out = place / "out"
    out.mkdir()
    earlier = {out / f"a{suffix}": b"earlier" for suffix in STORE_SUFFIXES if suffix != ".pvar.zst"}
    for path, content in earlier.items():
        path.write_bytes(content)
    with _own_temporary_folder(place / "temporary") as temporary:
        act = partial(convert, member, source, out / "a")
        error = refusal(act, (FormatError, InputNotFoundError), f"{member.name}: {what}")
        gc.collect()
        left = sorted(p.name for p in temporary.iterdir())
    assert not left, f"{member.name}: {what} leaves {left} in the temporary folder"
    now = {p: p.read_bytes() for p in out.rglob("*")}
    assert now == earlier, f"{member.name}: {what} leaves {sorted(p.name for p in now)} in the output folder"
    return error


@contextmanager
def _own_temporary_folder(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before


def check_suffixes_are_its_own(member: Any, others: dict[str, Any]) -> None:
    """No two formats claim one suffix, and every suffix starts with a dot."""
    assert all(s.startswith(".") for s in member.suffixes), f"{member.name}: a suffix without a dot"
    for name, other in others.items():
        shared = sorted(set(member.suffixes) & set(other.suffixes)) if name != member.name else []
        assert not shared, f"{member.name} and {name} both claim {shared}"
