"""One small cohort of calls in memory, and how to write it in every genotype format, without genomix's own writers.

The cohort is the truth of the genotype contract. A format holds what it can: ``Maker.holds`` says which kinds of call
it can express, and records with other kinds are left out of its file. A new format needs one more ``Maker`` here.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bgen_maker import ZSTD, BgenRecord, unphased_order, write_bgen, write_sample

MISSING, HAPLOID = -1, -2
SAMPLES = ("an_na", "bo", "cem", "dee", "eve")
SEXES = (2, 1, 1, 0, 2)

Call = tuple[int, int, bool]
"""First allele, second allele, phased."""


@dataclass(frozen=True)
class Record:
    """One record: its fixed columns, its calls, and the kinds of call that a format must hold to express it."""

    contig: str
    position: int
    variant_id: str
    ref: str
    alts: tuple[str, ...]
    calls: tuple[Call, ...]
    kinds: frozenset[str] = frozenset()


_TOKENS = {".": MISSING, "": HAPLOID}


def _record(contig: str, position: int, name: str, ref: str, alts: str, text: str) -> Record:
    calls: list[Call] = []
    kinds: set[str] = set()
    for word in text.split():
        phased = "|" in word
        first, _, second = word.replace("|", "/").partition("/")
        a, b = (_TOKENS[t] if t in _TOKENS else int(t) for t in (first, second))
        kinds |= {"phase"} if phased else set()
        kinds |= {"haploid"} if b == HAPLOID and a >= 0 else set()
        kinds |= {"half"} if min(a, b) == MISSING and max(a, b) >= 0 else set()
        calls.append((a, b, phased))
    kinds |= {"mixed phase"} if "phase" in kinds and not all(phased for *_, phased in calls) else set()
    alleles = tuple(a for a in alts.split(",") if a != ".")
    kinds |= {"multiallelic"} if len(alleles) > 1 else set()
    return Record(contig, position, name, ref, alleles, tuple(calls), frozenset(kinds))


COHORT: tuple[Record, ...] = (
    _record("1", 100, "plain", "A", "G", "0/0 0/1 1/1 ./. 0/1"),
    _record("1", 200, "lost", "C", "T", "./. ./. ./. ./. ./."),
    _record("1", 300, "long", "AT", "A", "1/1 1/1 0/0 0/1 ./."),
    _record("1", 400, "three", "A", "G,T", "0/2 1/2 2/2 ./. 0/1"),
    _record("1", 500, "phase", "G", "C", "0|1 1|0 1/1 ./. 0/1"),
    _record("1", 550, "inphase", "G", "C", "0|1 1|0 1|1 .|. 0|0"),
    _record("1", 560, "inphase3", "G", "C,T", "0|2 2|1 1|1 .|. 0|0"),
    _record("1", 600, "half", "G", "C", "./1 0/. 1/1 ./. 0/1"),
    _record("1", 700, "alone", "G", ".", "0/0 0/0 0/0 0/0 0/0"),
    _record("2", 100, "other", "T", "C", "0/1 0/0 ./. 1/1 0/0"),
    _record("2", 200, "hap", "T", "C", "1 0/0 0 1/1 0/1"),
    _record("X", 5_000_000, "x", "T", "C", "0/1 1 0 ./. 1/1"),
)  # fmt: skip
"""In canonical order: the n-th record that is kept is the n-th record written."""

WITHOUT_ALT = "alone"


@dataclass(frozen=True)
class Damage:
    """A broken line: the file by its suffix, the 1-based line, and what the line becomes."""

    suffix: str
    line: int
    change: Callable[[str], str]


@dataclass(frozen=True)
class Maker:
    """How to write the cohort in one format.

    Parameters
    ----------
    label: names the case. format: name of the registered member.
    suffixes: the files that are written; the first one is opened.
    holds: kinds of call that the format can express, of multiallelic, phase, mixed phase (some calls of a record
        phased), haploid, half; ``sex`` when it carries it.
    write: given the prefix, the records and the sample identifiers, writes every file.
    lines: one broken line for each text file.
    """

    label: str
    format: str
    suffixes: tuple[str, ...]
    holds: frozenset[str]
    write: Callable[[Path, Sequence[Record], Sequence[str]], None]
    lines: tuple[Damage, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The cohort's records that the format can express."""
        return tuple(r for r in COHORT if r.kinds <= self.holds)

    def make(self, folder: Path, ids: Sequence[str] = SAMPLES) -> Path:
        """Write the files into a new folder and return the path to open."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder / "in", self.records, ids)
        return self.files(folder)[0]

    def files(self, folder: Path) -> list[Path]:
        """Return the files that :meth:`make` writes into ``folder``."""
        return [folder / f"in{suffix}" for suffix in self.suffixes]


def _vcf_text(records: Sequence[Record], ids: Sequence[str]) -> str:
    lines = ["##fileformat=VCFv4.3"]
    lines += [f"##contig=<ID={c}>" for c in ("1", "2", "X")]
    lines += ['##FILTER=<ID=PASS,Description="All filters passed">']
    lines += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    lines += ["\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *ids])]
    for r in records:
        calls = [_vcf_call(*call) for call in r.calls]
        alts = ",".join(r.alts) or "."
        lines.append("\t".join([r.contig, str(r.position), r.variant_id, r.ref, alts, ".", "PASS", ".", "GT", *calls]))
    return "\n".join(lines) + "\n"


VCF_HEADER_LINES = 7


def _vcf_call(first: int, second: int, phased: bool) -> str:
    a = "." if first == MISSING else str(first)
    b = "." if second == MISSING else str(second)
    return a if second == HAPLOID else a + ("|" if phased else "/") + b


def _plain(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    prefix.with_name("in.vcf").write_text(_vcf_text(records, ids))


def _gzipped(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    prefix.with_name("in.vcf.gz").write_bytes(gzip.compress(_vcf_text(records, ids).encode(), mtime=0))


def _blocked(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    prefix.with_name("in.vcf.bgz").write_bytes(_bgzf(_vcf_text(records, ids).encode()))


def _bgzf(data: bytes) -> bytes:
    """Blocks of 200 bytes (SAM specification, section 4.1), so that a small file has several, and the empty last."""
    parts = [data[i : i + 200] for i in range(0, len(data), 200)]
    return b"".join(_bgzf_block(p) for p in [*parts, b""])


def _bgzf_block(data: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = deflater.compress(data) + deflater.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def _bcf(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    """Through htslib, with stand-ins for the identifiers: htslib writes no header in which one repeats."""
    import cyvcf2

    text, out = prefix.with_name("text.vcf"), prefix.with_name("in.bcf")
    stand_ins = [chr(ord("p") + i) * len(name) for i, name in enumerate(ids)]
    text.write_text(_vcf_text(records, stand_ins))
    reader = cyvcf2.VCF(str(text))
    writer = cyvcf2.Writer(str(out), reader, mode="wb")
    for record in reader:
        writer.write_record(record)
    writer.close()
    reader.close()
    text.unlink()
    data = gzip.decompress(out.read_bytes())
    data = data.replace("\t".join(stand_ins).encode(), "\t".join(ids).encode())
    out.write_bytes(_bgzf(data))


def _plink1(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    """SNP-major .bed: 00 two copies of the first allele (ALT here), 01 missing, 10 one, 11 none."""
    packed = bytearray(b"\x6c\x1b\x01")
    for r in records:
        codes = [1 if a == MISSING else (3, 2, 0)[a + b] for a, b, _ in r.calls]
        codes += [0] * (-len(codes) % 4)
        packed += bytes(sum(c << 2 * i for i, c in enumerate(codes[j : j + 4])) for j in range(0, len(codes), 4))
    prefix.with_name("in.bed").write_bytes(bytes(packed))
    bim = [f"{r.contig}\t{r.variant_id}\t0\t{r.position}\t{''.join(r.alts) or '0'}\t{r.ref}" for r in records]
    fam = [f"{i}\t{i}\t0\t0\t{sex}\t-9" for i, sex in zip(ids, SEXES, strict=True)]
    prefix.with_name("in.bim").write_text("\n".join(bim) + "\n")
    prefix.with_name("in.fam").write_text("\n".join(fam) + "\n")


def _plink2(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    import pgenlib

    counts = [max(2, 1 + len(r.alts)) for r in records]
    writer: Any = pgenlib.PgenWriter(
        str(prefix.with_name("in.pgen")).encode(), len(ids), variant_ct=len(records), nonref_flags=False,
        allele_ct_limit=max(counts), hardcall_phase_present=True,
    )  # fmt: skip
    for r, count in zip(records, counts, strict=True):
        codes = np.array([[-9 if v == MISSING else v for v in (a, b)] for a, b, _ in r.calls], dtype=np.int32)
        phase = np.array([p and a != b for a, b, p in r.calls], dtype=np.uint8)
        writer.append_partially_phased(codes.reshape(-1), phase, allele_ct=count)
    writer.close()
    head = "#CHROM\tPOS\tID\tREF\tALT"
    rows = [f"{r.contig}\t{r.position}\t{r.variant_id}\t{r.ref}\t{','.join(r.alts) or '.'}" for r in records]
    prefix.with_name("in.pvar").write_text("\n".join([head, *rows]) + "\n")
    people = [f"{i}\t{sex or 'NA'}" for i, sex in zip(ids, SEXES, strict=True)]
    prefix.with_name("in.psam").write_text("\n".join(["#IID\tSEX", *people]) + "\n")


def _bgen(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    write_bgen(prefix.with_name("in.bgen"), [_bgen_record(r, 8) for r in records], len(ids))
    write_sample(prefix.with_name("in.sample"), ids, SEXES)
    text = prefix.with_name("in.sample").read_text()
    prefix.with_name("in.sample").write_text(text.replace(" ", "\t"))


def _bgen_alone(prefix: Path, records: Sequence[Record], ids: Sequence[str]) -> None:
    """Probabilities of 13 bits, which no byte holds."""
    path = prefix.with_name("in.bgen")
    write_bgen(path, [_bgen_record(r, 13) for r in records], len(ids), ids=ids, compression=ZSTD)


def _bgen_record(r: Record, bits: int) -> BgenRecord:
    """Every call as one certain genotype; of each set of probabilities the last is not stored."""
    alleles = (r.ref, *r.alts)
    full, phased = 2**bits - 1, "phase" in r.kinds
    ploidy = tuple(1 if b == HAPLOID else 2 for _, b, _ in r.calls)
    values: list[tuple[int, ...]] = []
    for (a, b, _), z in zip(r.calls, ploidy, strict=True):
        if phased:
            values.append(tuple(full * (allele == k) for allele in (a, b)[:z] for k in range(len(alleles) - 1)))
        else:
            called = tuple(sorted((a, b)[:z]))
            values.append(tuple(full * (called == g) for g in unphased_order(z, len(alleles))[:-1]))
    missing = tuple(a == MISSING for a, _, _ in r.calls)
    return BgenRecord(
        alleles, tuple(values), ploidy, missing, phased, bits, r.contig, r.position, r.variant_id, f"snp {r.position}"
    )


def _column(number: int, value: str) -> Callable[[str], str]:
    def change(line: str) -> str:
        fields = line.split("\t")
        fields[number] = value
        return "\t".join(fields)

    return change


def _shortened(line: str) -> str:
    return line.rpartition("\t")[0]


_ALL = frozenset({"multiallelic", "phase", "mixed phase", "haploid", "half"})
_PGEN = frozenset({"multiallelic", "phase", "mixed phase", "sex"})
_BGEN = frozenset({"multiallelic", "phase", "haploid"})
_FIRST_RECORD = VCF_HEADER_LINES + 1

MAKERS = (
    Maker("vcf", "vcf", (".vcf",), _ALL, _plain, (
        Damage(".vcf", _FIRST_RECORD + 1, _column(1, "far")), Damage(".vcf", _FIRST_RECORD + 2, _shortened),
        Damage(".vcf", _FIRST_RECORD + 3, _column(10, "0/9")), Damage(".vcf", VCF_HEADER_LINES, _column(8, "FROMAT")),
    )),
    Maker("vcf gzip", "vcf", (".vcf.gz",), _ALL, _gzipped),
    Maker("vcf bgzf", "vcf", (".vcf.bgz",), _ALL, _blocked),
    Maker("bcf", "vcf", (".bcf",), _ALL, _bcf),
    Maker("plink1", "plink1", (".bed", ".bim", ".fam"), frozenset({"sex"}), _plink1, (
        Damage(".bim", 2, _column(3, "far")), Damage(".bim", 3, _shortened), Damage(".fam", 2, lambda _: "bo bo"),
    )),
    Maker("plink2", "plink2", (".pgen", ".pvar", ".psam"), _PGEN, _plink2, (
        Damage(".pvar", 3, _column(1, "far")), Damage(".psam", 3, _shortened),
    )),
    Maker("bgen", "bgen", (".bgen", ".sample"), _BGEN | {"sex"}, _bgen, (
        Damage(".sample", 2, lambda _: "0 0 0 X"), Damage(".sample", 4, lambda _: "0 bo 0"),
    )),
    Maker("bgen zstd, identifiers inside", "bgen", (".bgen",), _BGEN, _bgen_alone),
)  # fmt: skip
