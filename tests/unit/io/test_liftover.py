"""Liftover on made-up chains: places against a plain loop over the chain file, alleles against haplotypes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError, TruncatedInputError
from genomix.io.fasta import Fasta
from genomix.io.liftover import (
    DELETED,
    NO_CHAIN,
    NO_CONTIG,
    NO_SEQUENCE,
    OFF_TARGET,
    OTHER_MT,
    REF_MISMATCH,
    REVERSE_INDEL,
    SHARED,
    SPANS_GAP,
    LiftedRecords,
    lift_records,
    read_chain,
    reverse_complement,
)
from tests.fasta_files import random_variants, write_fasta

Block = tuple[int, int, int]


def write_chain(path: Path, chains: list[tuple[str, list[Block]]]) -> Path:
    """Write chains of (header after ``chain``, blocks of size and the gaps that follow)."""
    lines = []
    for number, (header, blocks) in enumerate(chains, start=1):
        lines.append(f"chain 1000 {header} {number}")
        lines += [f"{size}\t{dt}\t{dq}" for size, dt, dq in blocks[:-1]]
        lines += [str(blocks[-1][0]), ""]
    path.write_text("\n".join(lines) + "\n")
    return path


SIMPLE = [
    ("chr1 1000 + 100 400 chr1 2000 + 500 790", [(100, 50, 40), (150, 0, 0)]),
    ("chr1 1000 + 500 600 chr2 300 - 20 120", [(60, 0, 10), (30, 10, 0), (0, 0, 0)]),
    ("chr1 1000 + 570 700 chrX 900 + 0 130", [(130, 0, 0)]),
    ("chr2 50 + 0 50 chr2_alt 50 + 0 50", [(50, 0, 0)]),
]


def by_loop(chains: list[tuple[str, list[Block]]], contig: str, place: int) -> list[tuple[str, int, bool]]:
    """Where a 0-based place goes, by walking all blocks."""
    found = []
    for header, blocks in chains:
        fields = header.split()
        source, target, size = fields[0], fields[5], int(fields[6])
        t, q = int(fields[3]), int(fields[8])
        for length, dt, dq in blocks:
            if source == contig and t <= place < t + length:
                other = q + place - t
                reverse = fields[7] == "-"
                found.append((target, size - 1 - other if reverse else other, reverse))
            t, q = t + length + dt, q + length + dq
    return found


def frame(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["contig", "position", "ref", "alt"], orient="row")


def outcome(done: LiftedRecords) -> list[tuple[object, ...]]:
    columns = done.records.select("contig", "position", "ref", "alt").rows()
    return [(*row, why) for row, why in zip(columns, done.reason.to_list(), strict=True)]


def test_every_base_goes_where_a_walk_over_the_chains_says(tmp_path: Path) -> None:
    chain = read_chain(write_chain(tmp_path / "a.chain", SIMPLE))
    records = frame(*((c, p, "A", "C") for c, n in (("chr1", 1000), ("2", 50), ("chr3", 5)) for p in range(1, n + 1)))
    done = lift_records(records, chain)
    for i, (contig, position, *_) in enumerate(records.iter_rows()):
        places = by_loop(SIMPLE, "chr2" if contig == "2" else contig, position - 1)
        row = done.records.row(i)
        why = done.reason[i]
        if len(places) == 1:
            name, place, reverse = places[0]
            alleles = ("T", "G") if reverse else ("A", "C")
            assert (row, why, done.reverse[i]) == ((name[3:], place + 1, *alleles), "", reverse)
        else:
            assert row == records.row(i)
            assert not done.reverse[i]
            expected = {"chr3": NO_CONTIG}.get(contig, SHARED if places else None)
            in_a_gap = contig == "chr1" and 200 <= position - 1 < 250
            assert why == (expected or (DELETED if in_a_gap else NO_CHAIN)), (contig, position)
    assert not done.swapped.any()
    assert set(done.reason.to_list()) == {"", NO_CONTIG, SHARED, DELETED, NO_CHAIN}


def test_a_record_that_spans_a_gap_is_not_lifted(tmp_path: Path) -> None:
    chain = read_chain(write_chain(tmp_path / "a.chain", SIMPLE))
    done = lift_records(
        frame(
            ("1", 199, "AA", "C"),  # the last two bases of a block
            ("1", 200, "AA", "C"),
            ("1", 200, "A", "AT"),  # the inserted bases would lie in the gap
            ("1", 199, "A", "AT"),
            ("1", 200, "A", "G,AT"),
            ("1", 400, "AA", "CC"),
            ("1", 300, "A", "<DEL>"),
            ("1", 300, "A", "G,*"),
            ("1", 300, "A", "."),
        ),
        chain,
    )
    assert outcome(done) == [
        ("1", 599, "AA", "C", ""),
        ("1", 200, "AA", "C", SPANS_GAP),
        ("1", 200, "A", "AT", SPANS_GAP),
        ("1", 599, "A", "AT", ""),
        ("1", 200, "A", "G,AT", SPANS_GAP),
        ("1", 400, "AA", "CC", SPANS_GAP),
        ("1", 300, "A", "<DEL>", NO_SEQUENCE),
        ("1", 690, "A", "G,*", ""),
        ("1", 690, "A", ".", ""),
    ]


def test_indels_on_the_reverse_strand_need_the_target(tmp_path: Path) -> None:
    chain = read_chain(write_chain(tmp_path / "a.chain", SIMPLE))
    done = lift_records(frame(("1", 520, "AC", "A"), ("1", 520, "AC", "GT"), ("1", 520, "A", "T,*")), chain)
    place = 300 - 20 - 20 + 1
    assert outcome(done) == [
        ("1", 520, "AC", "A", REVERSE_INDEL),
        ("2", place - 1, "GT", "AC", ""),
        ("2", place, "T", "A,*", ""),
    ]
    assert done.reverse.tolist() == [False, True, True]


@pytest.fixture
def inverted(tmp_path: Path) -> tuple[dict[str, str], dict[str, str], Path, Path]:
    """A source contig, and a target made of its parts: one kept, one inverted, one left out, with bases put between."""
    rng = np.random.default_rng(8)
    source = "".join(rng.choice(list("ACGT"), 900)) + "CA" * 40 + "".join(rng.choice(list("ACGT"), 220))
    target = "GGATC" + source[:300] + "TTT" + reverse_complement(source[500:1100]) + "ACC" + source[1100:]
    n = len(target)
    header = "c {} + {} {} c {} {} {} {}"
    chains = [
        (header.format(len(source), 0, 300, n, "+", 5, 305), [(300, 0, 0)]),
        (header.format(len(source), 500, 1100, n, "-", n - 908, n - 308), [(600, 0, 0)]),
        (header.format(len(source), 1100, len(source), n, "+", 911, n), [(len(source) - 1100, 0, 0)]),
    ]
    fasta = write_fasta(tmp_path / "target.fa", {"c": target})
    return {"c": source}, {"c": target}, write_chain(tmp_path / "a.chain", chains), fasta


def test_lifted_alleles_make_the_same_haplotypes(
    inverted: tuple[dict[str, str], dict[str, str], Path, Path],
) -> None:
    source, target, chain_path, fasta_path = inverted
    records = random_variants(np.random.default_rng(2), source, 1500).filter(pl.col("alt") != ".")
    done = lift_records(records, read_chain(chain_path), Fasta(fasta_path))
    flank = 60
    n_indels = 0
    for i in np.flatnonzero((done.reason == "").to_numpy()).tolist():
        _, _, position, ref, alt = records.row(i)
        _, _, new_position, new_ref, new_alt = done.records.row(i)
        assert target["c"][new_position - 1 :][: len(new_ref)] == new_ref
        if done.reverse[i] and not 560 < position < 1020:
            continue  # the window below would reach over the ends of the inverted part
        if not done.reverse[i] and not (60 < position < 230 or position > 1170):
            continue
        n_indels += bool(done.reverse[i]) and len(ref) != len(alt)
        for old, new in zip(alt.split(","), new_alt.split(","), strict=True):
            before = (
                source["c"][position - 1 - flank : position - 1] + old + source["c"][position - 1 + len(ref) :][:flank]
            )
            after = target["c"][: new_position - 1] + new + target["c"][new_position - 1 + len(new_ref) :]
            assert (reverse_complement(before) if done.reverse[i] else before) in after
    assert n_indels > 100
    reasons = set(done.reason.to_list())
    assert {"", NO_CHAIN, SPANS_GAP} <= reasons
    assert REF_MISMATCH not in reasons


def test_a_substitution_whose_alt_is_the_targets_base_is_swapped(tmp_path: Path) -> None:
    chain = read_chain(
        write_chain(
            tmp_path / "a.chain", [("c 20 + 0 20 d 20 + 0 20", [(20, 0, 0)]), ("e 9 + 0 9 d 20 - 0 9", [(9, 0, 0)])]
        )
    )
    #                                                  123456789
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"d": "ACGTACGTACGTACGTACGT"}))
    done = lift_records(
        frame(
            ("c", 2, "C", "T"),
            ("c", 2, "T", "C"),
            ("c", 2, "T", "C,G"),
            ("c", 2, "T", "G"),
            ("c", 2, "T", "CG"),
            ("c", 2, "TT", "CG"),
            ("c", 2, "T", "."),
            ("e", 1, "A", "C"),  # T and G on the other strand, where the target has T
            ("e", 1, "C", "A"),
        ),
        chain,
        fasta,
    )
    assert outcome(done) == [
        ("d", 2, "C", "T", ""),
        ("d", 2, "C", "T", ""),
        ("c", 2, "T", "C,G", REF_MISMATCH),
        ("c", 2, "T", "G", REF_MISMATCH),
        ("c", 2, "T", "CG", REF_MISMATCH),
        ("d", 2, "CG", "TT", ""),
        ("c", 2, "T", ".", REF_MISMATCH),
        ("d", 20, "T", "G", ""),
        ("d", 20, "T", "G", ""),
    ]
    assert done.swapped.tolist() == [False, True, False, False, False, True, False, False, True]
    other = Fasta(write_fasta(tmp_path / "b.fa", {"f": "ACGT"}))
    assert lift_records(frame(("c", 2, "C", "T")), chain, other).reason.to_list() == [OFF_TARGET]


def test_another_mitochondrial_sequence_is_refused(tmp_path: Path) -> None:
    chains = [
        ("chrM 16571 + 0 16571 chrM 16569 + 0 16569", [(310, 2, 0), (16259, 0, 0)]),
        ("chr1 249250621 + 0 10 chr1 248956422 + 0 10", [(10, 0, 0)]),
    ]
    chain = read_chain(write_chain(tmp_path / "a.chain", chains))
    done = lift_records(frame(("MT", 100, "A", "G"), ("1", 5, "A", "G")), chain)
    assert done.reason.to_list() == [OTHER_MT, ""]
    assert (chain.source_build, chain.target_build) == ("GRCh37", "GRCh38")
    chain.check_build("hg19", where="x")
    chain.check_build("unknown", where="x")
    with pytest.raises(FormatError, match="in GRCh38, but the chain file lifts from GRCh37"):
        chain.check_build("GRCh38", where="x")


def test_no_records_are_lifted_to_no_records(tmp_path: Path) -> None:
    chain = read_chain(write_chain(tmp_path / "a.chain", SIMPLE))
    nothing = frame(("1", 1, "A", "C")).clear()
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"1": "ACGT"}))
    for target in (None, fasta):
        done = lift_records(nothing, chain, target)
        assert done.records.schema == nothing.schema
        assert done.reason.len() == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n4\n", 1),
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n3\t1\t1\n", 1),
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n5\n\n5\n", 4),
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n3 1\n", 2),
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n3 1 x\n", 2),
        ("chain 1 a 10 - 0 5 b 10 + 0 5\n5\n", 1),
        ("chain 1 a 10 + 0 11 b 10 + 0 5\n5\n", 1),
        ("chain 1 a 10 + 0\n5\n", 1),
        ("#\n5 1 1\n", 2),
        ("chain 1 a 10 + 0 5 b 10 + 0 5\n5\n\nchain 1 a 11 + 5 6 b 10 + 5 6\n1\n", 4),
    ],
)
def test_a_malformed_chain_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "a.chain"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_chain(path)
    assert caught.value.where == f"{path}:{line}"


def test_a_cut_or_empty_chain_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.chain.gz"
    text = write_chain(tmp_path / "a.chain", SIMPLE * 1).read_bytes()
    path.write_bytes(gzip.compress(text))
    assert len(read_chain(path).blocks.start) == len(read_chain(tmp_path / "a.chain").blocks.start)
    path.write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(TruncatedInputError):
        read_chain(path)
    path.write_bytes(gzip.compress(b"# nothing\n"))
    with pytest.raises(FormatError, match="holds no chain"):
        read_chain(path)
