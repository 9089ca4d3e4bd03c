"""The fast and the reference reader, and a naive reading of the text, agree on made-up VCFs of every shape."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.errors import FormatError
from genomix.io.genotype_format import HAPLOID, MISSING, OVER_PLOIDY, GenotypeBlock
from tests.unit.io.vcf_readers import assert_same, bgzf_members, outcome

HEADER = (
    "##fileformat=VCFv4.4\n##contig=<ID=chr1,length=248956422>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">\n##FORMAT=<ID=DS,Number=A,Type=Float,Description="DS">\n'
)
FORMATS = ("GT", "GT", "GT:DP:GQ", "GT:DS:GP", "DP:GT", "DS", "DS:GP", "DP", "GT:XX", "GP:GT:DS")
VALUES = {
    "DP": ("1", "32", ".", "12345678", ""),
    "GQ": ("99", ".", "7"),
    "DS": ("0.02", "1", ".", "2", "1.5e-1", "0,1", "0.5,1.25", "1,.", ".,."),
    "GP": ("0.1,0.2,0.7", ".", "1,0,0", "0.5,0.5", "0,0,0", "0.1,0.1,0.2,0.1,0.2,0.3"),
    "XX": ("text with spaces", "é", "a|b/c", ""),
}


@st.composite
def call(draw: st.DrawFn, n_alts: int) -> str:
    """One GT: mostly diploid, sometimes of another ploidy, half, with mixed separators or one that leads."""
    ploidy = draw(st.sampled_from((2, 2, 2, 2, 2, 1, 3, 4)))
    allele = st.one_of(st.sampled_from(("0", "0", ".")), st.integers(0, max(n_alts, 1)).map(str))
    parts = [draw(allele)]
    for _ in range(ploidy - 1):
        parts += [draw(st.sampled_from("/|")), draw(allele)]
    return draw(st.sampled_from(("", "", "", "", "/", "|"))) + "".join(parts)


@st.composite
def line(draw: st.DrawFn, n_samples: int, number: int) -> str:
    n_alts = draw(st.sampled_from((0, 1, 1, 1, 1, 2, 11, 130)))
    alts = ",".join("A" * (i + 2) for i in range(n_alts)) or "."
    keys = draw(st.sampled_from(FORMATS)).split(":")
    plain = draw(st.sampled_from(("", "/", "|")))  # a line of one kind of call reaches the words' kernels
    samples = []
    for _ in range(n_samples):
        whole = draw(st.sampled_from(("0{}0", "0{}1", "1{}0", "1{}1", ".{}."))).format(plain)
        gt = whole if plain else draw(call(n_alts))
        values = [gt if k == "GT" else draw(st.sampled_from(VALUES[k])) for k in keys]
        samples.append(":".join(values[: draw(st.integers(1, len(keys))) if draw(st.booleans()) else None]))
    info = draw(st.sampled_from((".", "R2=0.5;AF=0.1", "AF=1;IMP", "END=5;DR2=.;XR2=1", "NOTE=ü;R2=1")))
    rest = draw(st.sampled_from((("50", "PASS"), (".", "."), ("1e3", "q10;s50"))))
    fixed = ("chr1", str(number), draw(st.sampled_from((".", "rs1", "ë"))), "A", alts, *rest, info, ":".join(keys))
    return "\t".join((*fixed, *samples))


@st.composite
def vcf(draw: st.DrawFn) -> bytes:
    n_samples = draw(st.sampled_from((1, 2, 3, 9, 40)))
    lines = [draw(line(n_samples, i + 1)) for i in range(draw(st.integers(0, 6)))]
    head = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(f"s{i}" for i in range(n_samples))
    end = draw(st.sampled_from(("\n", "\r\n")))
    text = end.join([*HEADER.rstrip("\n").split("\n"), head, *lines]) + draw(st.sampled_from((end, "", end + end)))
    if draw(st.sampled_from((False, False, False, True))):
        place = draw(st.integers(len(text) // 2, len(text) - 1))
        wrong = draw(st.sampled_from(("\t", "\n", "\r", "", "x", "0", "/", ":", "\0")))
        text = text[:place] + wrong + text[place + 1 :]
    old = draw(st.sampled_from((False, False, True)))  # before 4.4 no mark may lead
    return (text.replace("VCFv4.4", "VCFv4.3", 1) if old else text).encode()


def naive(text: bytes) -> list[list[tuple[int, int, bool]]]:
    """Calls by splitting the text: (first, second, phased) in the readers' normal form."""
    found = []
    for raw in text.decode().replace("\r\n", "\n").split("\n"):
        if not raw or raw.startswith("#"):
            continue
        columns = raw.split("\t")
        keys = columns[8].split(":")
        row = []
        for sample in columns[9:]:
            values = sample.split(":")
            place = keys.index("GT") if "GT" in keys else len(values)
            gt = values[place] if place < len(values) else ""
            row.append(_naive_call(gt, "GT" in keys))
        found.append(row)
    return found


def _naive_call(gt: str, has_gt: bool) -> tuple[int, int, bool]:
    if not has_gt:
        return MISSING, MISSING, False
    leads, gt = (gt[0], gt[1:]) if gt.startswith(("/", "|")) else ("", gt)
    alleles = [MISSING if a in (".", "") else int(a) for a in gt.replace("|", "/").split("/")]
    if len(alleles) > 2:
        return OVER_PLOIDY, OVER_PLOIDY, False
    if len(alleles) == 1:
        return alleles[0], HAPLOID, False
    a, b = alleles
    is_phased = "|" in gt and leads != "/"
    if a == b or is_phased:
        return a, b, is_phased and a != b
    return (min(a, b), max(a, b), False) if min(a, b) >= 0 else (a, b, False)


@settings(max_examples=100, deadline=None)
@given(vcf(), st.sampled_from(("auto", "GT", "DS", "GP")), st.sampled_from(("plain", "gzip", "bgzf")), st.data())
def test_both_readers_agree(text: bytes, dosage: str, kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.vcf"
        packed = {"plain": text, "gzip": gzip.compress(text), "bgzf": b"".join(bgzf_members(text, 200))}[kind]
        path.write_bytes(packed)
        keys = data.draw(st.sampled_from((("R2", "DR2", "IMP"), ("*",), ())))
        options = {
            "dosage_field": dosage, "split_dosages": data.draw(st.booleans()), "info_keys": keys,
            "block_size": data.draw(st.sampled_from((None, 1, 2))),
        }  # fmt: skip
        reference = outcome(path, reader="reference", **options)
        assert_same(outcome(path, reader="fast", **options), reference)
        assert_same(outcome(path, reader="fast", threads=3, **options), reference)


@settings(max_examples=80, deadline=None)
@given(st.lists(line(5, 7), min_size=1, max_size=5), st.sampled_from(("fast", "reference")))
def test_calls_equal_a_naive_reading(lines: list[str], reader: str) -> None:
    head = HEADER + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\td\te\n"
    text = (head + "\n".join(lines) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.vcf"
        path.write_bytes(text)
        block = outcome(path, reader=reader, info_keys=("*",))
    if isinstance(block, FormatError):
        assert block.what == "the record cannot be parsed" or "names an allele" in block.what
        return
    assert isinstance(block, GenotypeBlock)
    expected = naive(text)
    found = np.dstack([block.alleles, block.phased]).tolist()
    assert [[tuple(c) for c in row] for row in found] == [[(a, b, int(p)) for a, b, p in row] for row in expected]
    columns = [raw.split("\t")[:8] for raw in lines]
    assert [[str(v) for v in row] for row in block.records.iter_rows()] == columns
