"""BGEN: probabilities against hand-worked bytes and brute force, cuts, contradictions, samples."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.errors import FormatError, GenomixError, InputNotFoundError, TruncatedInputError
from genomix.io.bgen import FORMAT, BgenSource
from genomix.io.bgen_probabilities import decode, genotypes
from genomix.io.convert import convert_genotypes
from genomix.io.genotype_format import GenotypeBlock, OpenOptions
from genomix.io.load_options import LoadOptions
from genomix.io.plink import open_store
from genomix.io.regions import Regions, parse_regions
from tests.bgen_maker import (
    PLAIN,
    ZLIB,
    ZSTD,
    BgenRecord,
    bgen_bytes,
    diploid,
    probability_block,
    record_bytes,
    unphased_order,
    write_bgen,
    write_sample,
)

UNIT = 16384


def read(path: Path, **options: object) -> tuple[BgenSource, list[GenotypeBlock]]:
    with FORMAT.open(path, OpenOptions(**options)) as source:
        return source, list(source.blocks())


def one_block(path: Path, **options: object) -> GenotypeBlock:
    (block,) = read(path, **options)[1]
    return block


def rounding(bits: int) -> float:
    """How far a dosage may lie from its stored step: half a step, and a little more where plink2 rounds so."""
    return (0.5 + 0.5 / (2**bits - 1)) / UNIT + 1e-7


def names(n: int) -> list[str]:
    return [f"s{i}" for i in range(n)]


def test_the_bytes_of_the_specification_by_hand(tmp_path: Path) -> None:
    block = bytes.fromhex("03000000 0200 02 02 02 02 82 00 08 ff00 7f80 0000")
    length = struct.pack("<I", len(block))
    record = (
        b"\x00\x00" + b"\x02\x00r1" + b"\x02\x0001" + b"\x07\x00\x00\x00" + b"\x02\x00"
        + b"\x01\x00\x00\x00A" + b"\x02\x00\x00\x00CT" + length + block
    )  # fmt: skip
    ids = b"".join(b"\x01\x00" + c for c in (b"a", b"b", b"c"))
    head = bytes.fromhex("14000000 01000000 03000000") + b"bgen" + bytes.fromhex("08000080")
    listed = struct.pack("<II", 8 + len(ids), 3) + ids
    path = tmp_path / "x.bgen"
    path.write_bytes(struct.pack("<I", 20 + len(listed)) + head + listed + record)
    source, (found,) = read(path)
    assert found.records.rows() == [("01", 7, "r1", "A", "CT", ".", "PASS", ".")]
    assert source.header.samples["sample_id"].to_list() == ["a", "b", "c"]
    # 0x7f = 127 and 0x80 = 128: P(AA) = 127/255, P(A/CT) = 128/255, so 128/255 copies of CT
    assert found.dosages is not None
    assert found.dosages[0, 0] == 0
    assert abs(float(found.dosages[0, 1]) - 128 / 255) < 1 / 32768
    assert np.isnan(found.dosages[0, 2])


@pytest.mark.parametrize("compression", [PLAIN, ZLIB, ZSTD])
@pytest.mark.parametrize("bits", [1, 2, 7, 8, 11, 16, 23, 32])
@pytest.mark.parametrize("phased", [False, True])
def test_dosages_are_the_expected_counts(tmp_path: Path, compression: int, bits: int, phased: bool) -> None:
    rng = np.random.default_rng(bits)
    full = 2**bits - 1
    pairs = [tuple(int(v) for v in rng.integers(0, full + 1, size=2)) for _ in range(40)]
    values = pairs if phased else [p if sum(p) <= full else (full - p[0], 0) for p in pairs]
    path = write_bgen(
        tmp_path / "x.bgen", [diploid([*values, None], bits=bits, phased=phased)], 41, ids=names(41),
        compression=compression,
    )  # fmt: skip
    for ref, sign in (("first", 1), ("last", -1)):
        block = one_block(path, bgen_ref=ref)
        found = dosages_of(block)[0]
        assert np.isnan(found[-1])
        for (first, second), got in zip(values, found[:-1], strict=True):
            copies = Fraction(first + second if phased else 2 * first + second, full)
            expected = float(2 - copies if sign > 0 else copies)
            assert abs(got - expected) <= rounding(bits)


def dosages_of(block: GenotypeBlock) -> np.ndarray:
    """ALT dosages of a biallelic block, hard calls as whole numbers."""
    general = block.general()
    calls = np.where((general.alleles < 0).any(axis=2), np.nan, (general.alleles == 1).sum(axis=2))
    if general.dosages is None:
        return calls
    recorded = np.isfinite(general.dosages).any(axis=1)[:, None]
    return np.where(recorded, general.dosages, calls)


def test_certain_records_are_hard_calls_and_others_dosages(tmp_path: Path) -> None:
    sure, unsure = [(255, 0), (0, 255), (0, 0), None], [(255, 0), (0, 255), (0, 1), None]
    path = write_bgen(tmp_path / "x.bgen", [diploid(sure), diploid(unsure)], 4, ids=names(4))
    block = one_block(path)
    assert block.is_compact.tolist() == [True, False]
    assert block.compact.tolist() == [[0, 1, 2, -9]]
    assert block.dosages is not None
    assert block.dosages[0, :2].tolist() == [0, 1]
    assert block.dosages[0, 2] == pytest.approx(2 - 1 / 255, abs=1 / 32768)


def test_phase_is_kept_where_every_haplotype_is_certain(tmp_path: Path) -> None:
    sure = [(255, 255), (255, 0), (0, 255), (0, 0), None]
    path = write_bgen(
        tmp_path / "x.bgen", [diploid(sure, phased=True), diploid([*sure[:4], (254, 0)], phased=True)], 5, ids=names(5)
    )
    block = one_block(path)
    assert block.compact.tolist() == [[0, 3, 4, 2, -9]]
    assert one_block(path, bgen_ref="last").compact.tolist() == [[2, 4, 3, 0, -9]]
    assert block.dosages is not None
    assert not block.phased.any()


def test_genotypes_without_dosages_follow_the_threshold(tmp_path: Path) -> None:
    """0.1 from a whole number, inclusive to the nearest stored step: 25/255 = 0.098 is called, 26/255 = 0.102 not."""
    values = [(0, 25), (0, 26), (229, 26), (230, 25), None]
    path = write_bgen(tmp_path / "x.bgen", [diploid(values)], 5, ids=names(5))
    block = one_block(path, dosage_field="GT")
    assert block.dosages is None
    assert block.compact.tolist() == [[2, -9, -9, 0, -9]]
    mixed = BgenRecord(("A", "C"), ((25,), (240,), (255, 0)), (1, 1, 2), (False,) * 3)
    source, (other,) = read(write_bgen(tmp_path / "y.bgen", [mixed], 3, ids=names(3)), dosage_field="GT")
    assert other.alleles.tolist() == [[[-1, -1], [-1, -1], [0, 0]]]  # 50/255 and 480/255 copies of A lie too far off
    assert not source.notes


def test_the_order_of_genotypes_is_the_specification_s() -> None:
    """The example of the specification: three alleles, ploidy three, as allele counts."""
    counts = [[row.count(k) for k in range(3)] for row in genotypes(3, 3).tolist()]
    assert counts == [
        [3, 0, 0], [2, 1, 0], [1, 2, 0], [0, 3, 0], [2, 0, 1], [1, 1, 1], [0, 2, 1], [1, 0, 2], [0, 1, 2], [0, 0, 3],
    ]  # fmt: skip
    for ploidy, n in itertools.product(range(1, 5), range(1, 6)):
        assert [tuple(g) for g in genotypes(ploidy, n).tolist()] == unphased_order(ploidy, n)


@st.composite
def any_record(draw: st.DrawFn) -> BgenRecord:
    """Any ploidies, allele counts, bits and probabilities that the format allows."""
    n_alleles, bits, phased = draw(st.integers(1, 4)), draw(st.integers(1, 20)), draw(st.booleans())
    full = 2**bits - 1
    ploidy = draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    certain = draw(st.booleans())
    values = []
    for z in ploidy:
        groups = z if phased else 1
        width = (n_alleles if phased else len(unphased_order(z, n_alleles))) - 1
        row: list[int] = []
        for _ in range(groups):
            left = full
            chosen = draw(st.integers(0, width))
            for i in range(width):
                value = (full if i == chosen else 0) if certain else draw(st.integers(0, left))
                left -= value
                row.append(value)
        values.append(tuple(row))
    missing = tuple(draw(st.booleans()) for _ in ploidy)
    return BgenRecord(tuple("ACGT"[:n_alleles]), tuple(values), tuple(ploidy), missing, phased, bits)


def brute_force(record: BgenRecord, sample: int) -> tuple[list[Fraction], list[tuple[int, ...]]]:
    """Expected copies of each allele, and the calls that have all the probability (one at most, per haplotype)."""
    full = 2**record.bits - 1
    z, k, row = record.ploidy[sample], len(record.alleles), list(record.values[sample])
    copies = [Fraction(0)] * k
    if record.phased:
        call: list[int] = []
        for h in range(z):
            part = row[h * (k - 1) : (h + 1) * (k - 1)]
            part.append(full - sum(part))
            for allele, value in enumerate(part):
                copies[allele] += Fraction(value, full)
            call += [a for a, value in enumerate(part) if value == full]
        return copies, [tuple(call)] if len(call) == z else []
    row.append(full - sum(row))
    order = unphased_order(z, k)
    for genotype, value in zip(order, row, strict=True):
        for allele in genotype:
            copies[allele] += Fraction(value, full)
    return copies, [g for g, value in zip(order, row, strict=True) if value == full]


@settings(max_examples=300, deadline=None)
@given(any_record())
def test_any_record_equals_brute_force(record: BgenRecord) -> None:
    n = len(record.ploidy)
    found = decode(probability_block(record), n, len(record.alleles), ref_last=False, dosages=True, where="here")
    if found.compact is not None:
        codes = {0: (0, 0), 1: (0, 1), 2: (1, 1), 3: (0, 1), 4: (1, 0), -9: (-1, -1)}
        alleles = [codes[c] for c in found.compact.tolist()]
    else:
        alleles = [(-1, -1)] * n if found.alleles is None else [tuple(a) for a in found.alleles.tolist()]
    for i, got in enumerate(alleles):
        copies, certain = brute_force(record, i)
        z = record.ploidy[i]
        if record.missing[i] or z == 0:
            assert got == (-1, -1)
            assert found.dosages is None or np.isnan(found.dosages[i])
        elif z > 2:
            assert got == (-3, -3)
        elif found.dosages is not None:
            assert abs(found.dosages[i] - float(copies[1] * 2 / z)) <= rounding(record.bits)
        elif certain:
            assert got == ((certain[0] + (-2,))[:2] if z == 1 else certain[0])
        elif len(record.alleles) == 2 and found.compact is not None:
            assert abs(sum(got) - float(copies[1])) <= 1 / 16384  # rounded to a whole number of copies
        else:
            off = sum(abs(c * 2 / z - round(c * 2 / z)) for c in copies) / 2
            called = [round(c * 2 / z) for c in copies]
            if got == (-1, -1):
                assert off > Fraction(1, 10) - Fraction(1, 4000) or sum(called) != 2 or (z == 1 and 1 in called)
            else:
                assert off < Fraction(1, 10) + Fraction(1, 4000)
                both = got if z == 2 else (got[0], got[0])
                assert [both.count(a) for a in range(len(copies))] == called


def test_uncertain_multiallelic_calls_are_derived_and_counted(tmp_path: Path) -> None:
    """AA 245/255, then AC 128/255 against AA, then AG certain."""
    values = ((245, 10, 0, 0, 0), (127, 128, 0, 0, 0), (0, 0, 0, 255, 0))
    record = BgenRecord(("A", "C", "G"), values, (2, 2, 2), (False,) * 3)
    path = write_bgen(tmp_path / "x.bgen", [record], 3, ids=names(3))
    source, (block,) = read(path)
    assert block.dosages is None
    assert block.alleles[0].tolist() == [[0, 0], [-1, -1], [0, 2]]
    assert source.notes == {
        "multi-allelic calls derived from probabilities": 1, "multi-allelic calls too uncertain, set missing": 1,
    }  # fmt: skip


def test_ref_last_of_many_alleles_keeps_the_others_in_order(tmp_path: Path) -> None:
    record = BgenRecord(("A", "C", "G"), ((0, 0, 0, 255, 0), (0, 0, 0, 0, 255)), (2, 2), (False, False))
    path = write_bgen(tmp_path / "x.bgen", [record], 2, ids=names(2))
    block = one_block(path, bgen_ref="last")
    assert block.records.select("ref", "alt").rows() == [("G", "A,C")]
    assert block.alleles[0].tolist() == [[0, 1], [0, 2]]


def test_haploid_calls_keep_their_ploidy_and_follow_the_policy(tmp_path: Path) -> None:
    values, ploidy = ((255,), (0,), (0, 255), (0,)), (1, 1, 2, 1)
    missing = (False, False, False, True)
    on = [BgenRecord(("A", "C"), values, ploidy, missing, contig=c, position=5_000_000, rsid=c) for c in ("1", "X")]
    path = write_bgen(tmp_path / "x.bgen", on, 4, ids=names(4))
    block = one_block(path)
    assert block.alleles[0].tolist() == [[0, -2], [1, -2], [0, 1], [-1, -1]]
    report = convert_genotypes(path, tmp_path / "out", LoadOptions(build="GRCh38"))
    assert open_store(tmp_path / "out").read_calls().tolist() == [[-9, -9, 1, -9], [0, 2, 1, -9]]
    assert report.calls["haploid calls set missing"] == 2
    assert report.calls["haploid calls doubled"] == 2
    assert sum(report.calls.values()) == 8


def test_a_fileset_keeps_the_dosages_to_the_last_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    full = 65535
    firsts = rng.integers(0, full + 1, size=50)
    values = [(int(a), int(rng.integers(0, full - a + 1))) for a in firsts]
    path = write_bgen(tmp_path / "x.bgen", [diploid(values, bits=16)], 50, ids=names(50))
    block = one_block(path)
    report = convert_genotypes(path, tmp_path / "out", LoadOptions(build="GRCh38"))
    store = open_store(tmp_path / "out")
    assert block.dosages is not None
    assert np.array_equal(store.read_dosages(), block.dosages)
    steps = np.rint(block.dosages[0] * UNIT).astype(int)
    off = np.abs(steps - np.rint(block.dosages[0]).astype(int) * UNIT)
    called = np.where(off > 1638, -9, np.rint(block.dosages[0])).astype(int)
    assert store.read_calls()[0].tolist() == called.tolist()
    assert report.calls == {"dosages kept, hard calls derived": 50}


def small(ids: bool = True, compression: int = ZLIB) -> bytes:
    records = [
        diploid([(255, 0), (0, 200), None], rsid="a", position=5),
        BgenRecord(("A", "C", "G"), ((0, 255, 0, 0, 0),) * 3, (2, 2, 2), (False,) * 3, rsid="b", position=6),
        diploid([(7, 0), (0, 200), (1, 1)], rsid="c", bits=11, position=7),
    ]
    return bgen_bytes(records, 3, ids=names(3) if ids else None, compression=compression)


@pytest.mark.parametrize("compression", [PLAIN, ZLIB, ZSTD])
def test_a_cut_at_every_byte_is_found(tmp_path: Path, compression: int) -> None:
    data, path = small(compression=compression), tmp_path / "x.bgen"
    for at in range(len(data)):
        path.write_bytes(data[:at])
        with pytest.raises(TruncatedInputError) as caught:
            read(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data + b"\0")
    with pytest.raises(FormatError, match="1 bytes follow the last of 3 records"):
        read(path)


def test_a_cut_is_found_by_a_conversion_that_wants_a_region_only(tmp_path: Path) -> None:
    data, path = small(), tmp_path / "x.bgen"
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at])
        with pytest.raises(TruncatedInputError):
            read(path, regions=parse_regions(("1:5-5",)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_byte_is_refused_or_read_but_never_crashes(data: st.DataObject) -> None:
    import tempfile

    original = small(compression=data.draw(st.sampled_from([PLAIN, ZLIB, ZSTD])))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = original[:at] + bytes([data.draw(st.integers(0, 255))]) + original[at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bgen"
        path.write_bytes(changed)
        try:
            _, blocks = read(path)
        except GenomixError:
            return
        assert sum(b.n_records for b in blocks) == 3


def test_regions_pass_over_records_without_reading_them(tmp_path: Path) -> None:
    data = bytearray(small())
    spoiled = bytes(data).replace(record_bytes(diploid([(255, 0), (0, 200), None], rsid="a", position=5), ZLIB), b"")
    assert len(spoiled) < len(data)
    path = tmp_path / "x.bgen"
    path.write_bytes(bytes(data))
    regions: Regions = parse_regions(("chr1:7-9",))
    block = one_block(path, regions=regions)
    assert block.records["variant_id"].to_list() == ["c"]
    assert block.numbers.tolist() == [2]
    source, blocks = read(path, regions=parse_regions(("7",)))
    assert not blocks
    assert source.contigs_passed_over == {"1"}, "the input has this contig, though no record of it is given"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 2, None])
def test_blocks_and_threads_change_nothing(tmp_path: Path, threads: int, size: int | None) -> None:
    path = tmp_path / "x.bgen"
    path.write_bytes(small())
    source, blocks = read(path, threads=threads, block_size=size)
    assert [b.n_records for b in blocks] == {1: [1, 1, 1], 2: [2, 1], None: [3]}[size]
    whole = one_block(path)
    assert np.array_equal(np.concatenate([b.general().alleles for b in blocks]), whole.general().alleles)
    assert source.share_read() == 1.0


def test_memory_follows_the_block_and_not_the_file(tmp_path: Path) -> None:
    """Sixteen times the records take no more memory at once: 16 records of 2,000 samples, 12 bytes a genotype."""
    peaks = []
    for n in (64, 1024):
        records = [diploid([(250, 5)] * 2000, rsid=f"r{i}") for i in range(64)]
        path = write_bgen(tmp_path / "x.bgen", (records * 16)[:n], 2000, ids=names(2000))
        with FORMAT.open(path, OpenOptions(block_size=16)) as source:
            tracemalloc.start()
            assert sum(block.n_records for block in source.blocks()) == n
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 3 * 16 * 2000 * 12 + (1 << 20)


def test_layout_1_is_refused_with_a_way_out(tmp_path: Path) -> None:
    data = bytearray(small())
    data[20] = (data[20] & 0b11) | 1 << 2
    path = tmp_path / "x.bgen"
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=r"layout 1.*plink2 --bgen"):
        read(path)


def _other_block(change: dict[int, int]) -> bytes:
    block = bytearray(probability_block(diploid([(255, 0), (0, 255), None])))
    for at, value in change.items():
        block[at] = value
    return bytes(block)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 4}, "states 4 samples"),
        ({4: 3}, "and 3 alleles"),
        ({6: 3}, "a ploidy lies outside"),
        ({7: 1}, "a ploidy lies outside"),
        ({11: 2}, "phase flag is 2"),
        ({12: 0}, "0 bits"),
        ({12: 33}, "33 bits"),
        ({12: 9}, "probabilities take 6 bytes; 7 are needed"),
        ({13: 255, 14: 1}, "sum to more than one"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(change: dict[int, int], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode(_other_block(change), 3, 2, ref_last=False, dosages=True, where="x.bgen, record 1")


def test_a_lying_size_is_refused_and_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.bgen"
    for compression in (ZLIB, ZSTD):
        for lie in (5, 13 + 6 + 1, 2**32 - 1):
            data = bytearray(bgen_bytes([diploid([(255, 0)] * 3)], 3, compression=compression))
            at = data.index(struct.pack("<I", len(probability_block(diploid([(255, 0)] * 3)))), 24)
            data[at : at + 4] = struct.pack("<I", lie)
            path.write_bytes(bytes(data))
            write_sample(tmp_path / "x.sample", names(3))
            with pytest.raises(FormatError, match="record 1"):
                read(path)


@pytest.mark.parametrize(
    ("field", "value"), [("contig", ""), ("contig", "a\tb"), ("rsid", "a b"), ("alleles", ("A,C", "G"))]
)
def test_texts_that_would_split_a_table_are_refused(tmp_path: Path, field: str, value: object) -> None:
    record = BgenRecord(**{**vars(diploid([(255, 0)])), field: value})
    path = write_bgen(tmp_path / "x.bgen", [record], 1, ids=["s"])
    with pytest.raises(FormatError, match="record 1"):
        read(path)


class TestSamples:
    """Identifiers inside, in a .sample beside, in a named one, and when they disagree."""

    def test_inside_or_beside_or_named(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small())
        assert read(path)[0].header.samples.to_dict(as_series=False) == {"sample_id": names(3), "sex": [0, 0, 0]}
        write_sample(tmp_path / "x.sample", names(3), [1, 2, 0])
        assert read(path)[0].header.samples["sex"].to_list() == [1, 2, 0]
        named = write_sample(tmp_path / "other.sample", ["x", "y", "z"])
        assert read(path, sample_file=named)[0].header.samples["sample_id"].to_list() == ["x", "y", "z"]

    def test_none_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small(ids=False))
        with pytest.raises(InputNotFoundError, match="holds no sample identifiers, and there is no x"):
            read(path)

    def test_another_number(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small(ids=False))
        write_sample(tmp_path / "x.sample", names(4))
        with pytest.raises(FormatError, match=r"x.sample has 4 samples, x.bgen has 3"):
            read(path)

    def test_others_beside(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small())
        write_sample(tmp_path / "x.sample", ["s0", "s2", "s1"])
        with pytest.raises(FormatError, match="name sample 2 differently") as caught:
            read(path)
        assert "s2" not in str(caught.value)
        assert "s2" in caught.value.render(show_identifiers=True)

    @pytest.mark.parametrize("ids", [["s0", "s0", "s1"], ["s0", "", "s1"], ["0", "s0", "s1"]])
    def test_repeated_or_empty_inside(self, tmp_path: Path, ids: list[str]) -> None:
        path = write_bgen(tmp_path / "x.bgen", [diploid([(255, 0)] * 3)], 3, ids=ids)
        with pytest.raises(FormatError, match="identifier"):
            read(path)

    def test_families_sexes_and_other_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small(ids=False))
        text = "ID_1 ID_2 missing SEX age group\n0 0 0 D C D\nf1 a 0 M 5 x\nf1 b 0.5 2 NA y\n0 c 0 NA 7 x\n"
        (tmp_path / "x.sample").write_text(text)
        samples = read(path)[0].header.samples
        assert samples.columns == ["sample_id", "sex", "FID", "age", "group"]
        assert samples["sample_id"].to_list() == ["a", "b", "c"]
        assert samples["sex"].to_list() == [1, 2, 0]
        assert samples["FID"].to_list() == ["f1", "f1", "0"]
        assert samples["age"].to_list() == ["5", None, "7"]

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("A B C\n0 0 0\n", 1, "names neither ID_1"),
            ("ID_1 ID_2 missing\nx y 0\n", 2, "does not give each column's type"),
            ("ID_1 ID_2 missing\n0 0\n", 2, "does not give each column's type"),
            ("ID_1 ID_2 missing\n0 0 0\n0 a\n", 3, "has 2 columns, the header 3"),
            ("ID_1 ID_2 sex sex\n0 0 D D\n", 1, "two columns have the same name"),
        ],
    )
    def test_broken_lines_are_named(self, tmp_path: Path, text: str, line: int, message: str) -> None:
        path = tmp_path / "x.bgen"
        path.write_bytes(small(ids=False))
        (tmp_path / "x.sample").write_text(text)
        with pytest.raises(FormatError, match=message) as caught:
            read(path)
        assert caught.value.where == f"{tmp_path / 'x.sample'}:{line}"


def test_another_reader_finds_the_same_probabilities(tmp_path: Path) -> None:
    """The files of these tests, read by a library that nobody here wrote."""
    other = pytest.importorskip("bgen")
    rng = np.random.default_rng(3)
    records = []
    for i, (bits, phased) in enumerate(itertools.product((8, 11, 16), (False, True))):
        full = 2**bits - 1
        pairs = rng.integers(0, full // 2, size=(20, 2)).tolist()
        records.append(
            diploid([None if i == 5 else tuple(p) for i, p in enumerate(pairs)], bits=bits, phased=phased, position=i)
        )
    path = write_bgen(tmp_path / "x.bgen", records, 20, ids=names(20))
    found = np.concatenate([dosages_of(b) for b in read(path)[1]])
    with other.BgenReader(str(path)) as reader:
        expected = np.stack([v.alt_dosage for v in reader])
    assert np.allclose(found, expected, atol=1 / 16384, equal_nan=True)
