"""Fixed columns kept as text say and write the same as their frame, whatever the lines are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.io.genotype_format import GenotypeBlock
from genomix.io.load_steps import check_columns, left_out_reasons, n_repeated_alleles, normalised_names
from genomix.io.pvar_body import PvarBody, repeated
from genomix.io.record_lines import RecordLines
from genomix.io.vcf_fast import PieceReader
from genomix.io.vcf_pieces import Piece

FIELDS = {
    "contig": ["chr1", "chr1", "1", "2", "chrX", "GL000191.1"],
    "position": ["7", "007", "12", "12", "2147483647"],
    "variant_id": ["rs1", ".", ".", "a;b", "x y", "ü"],
    "ref": ["A", "C", "AC", "a", "N", "R"],
    "alt": ["G", "T", "G,T", "A", "G,G", "AC", "*", "<DEL>", ".", "g", "T,*"],
    "quality": [".", "30", "29.5", "3.", ".5", "1e3", "x"],
    "filter": ["PASS", ".", "q10", "q10;s50", ""],
    "info": [".", "AF=0.1", "R2=0.9;AF=0.5", "IMPUTED", "R2=0.9;IMPUTED", "R22=1"],
}
COMMON = {name: [v[0], v[1]] if name in ("ref", "alt") else [v[0]] for name, v in FIELDS.items()}
line = st.tuples(*(st.one_of(st.sampled_from(COMMON[n]), st.sampled_from(v)) for n, v in FIELDS.items()))


def lines_of(rows: list[tuple[str, ...]], *, info_keys: tuple[str, ...] = ("R2", "IMPUTED")) -> RecordLines | None:
    text = "".join("\t".join([*row, "GT", "0/1"]) + "\n" for row in rows).encode()
    reader = PieceReader(1, "auto", info_keys, Path())
    reader.load()
    piece = Piece(np.frombuffer(text + bytes(64), dtype=np.uint8), 0, len(text))
    fixed = reader.fast(piece).block.fixed
    return fixed if isinstance(fixed, RecordLines) else None


def pvar(folder: Path, parts: list[RecordLines | pl.DataFrame]) -> tuple[bytes, dict[str, int], int, object]:
    with PvarBody(folder) as body:
        for part in parts:
            body.append(part)
        body.write(folder / "x.pvar", build="GRCh38", meta=('##INFO=<ID=R2,Number=1,Type=Float,Description="r">',))
        order = body.order()
        return (
            (folder / "x.pvar").read_bytes(),
            body.notes(),
            body.n_variants,
            None if order is None else order.tolist(),
        )


@settings(deadline=None, max_examples=300)
@given(rows=st.lists(line, min_size=1, max_size=8), more=st.lists(line, min_size=1, max_size=4))
def test_text_and_frame_write_the_same(
    rows: list[tuple[str, ...]], more: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = [lines for lines in (lines_of(rows), lines_of(more)) if lines is not None]
    normal = [lines.with_normal_contigs() for lines in found if lines.is_plain]
    frames = [normalised_names(lines.frame()) for lines in found if lines.is_plain]
    if not normal:
        return
    folder = tmp_path_factory.mktemp("x")
    from_frames = pvar(folder, frames)
    assert pvar(folder, normal) == from_frames
    if len(normal) == 2:
        assert pvar(folder, [normal[0], frames[1]]) == pvar(folder, [frames[0], normal[1]]) == from_frames


def test_one_contig_under_two_names_is_one(tmp_path: Path) -> None:
    lines = lines_of(
        [(c, p, "rs1", "A", "G", ".", "PASS", ".") for c, p in (("chr1", "7"), ("chr1", "12"), ("1", "7"))]
    )
    assert lines is not None
    found = pvar(tmp_path, [lines.with_normal_contigs()])
    assert found == pvar(tmp_path, [normalised_names(lines.frame())])
    assert found[3] == [0, 2, 1]
    two = lines_of([(c, "7", "rs1", "A", "G", ".", "PASS", ".") for c in ("chr1", "1")])
    assert two is not None
    assert pvar(tmp_path, [two.with_normal_contigs()])[1] == {"same position and alleles as another": 2}


@settings(deadline=None, max_examples=500)
@given(rows=st.lists(line, min_size=1, max_size=4))
def test_nothing_is_wrong_with_plain_lines(rows: list[tuple[str, ...]]) -> None:
    lines = lines_of(rows)
    if lines is None or not lines.is_plain:
        return
    none = np.empty((0, 1), dtype=np.int8)
    block = GenotypeBlock(
        np.arange(len(rows)), lines, np.ones(len(rows), dtype=np.bool_), none, np.empty((0, 1, 2), dtype=np.int16),
        np.empty((0, 1), dtype=np.bool_), np.empty(0, dtype=np.bool_),
    )  # fmt: skip
    check_columns(block, "x")
    frame = lines.with_normal_contigs().frame()
    assert frame.equals(normalised_names(block.records))
    assert n_repeated_alleles(frame) == 0
    assert set(left_out_reasons(frame)) == {""}
    assert block.allele_counts.tolist() == [alt.count(",") + 2 for alt in frame["alt"]]


@pytest.mark.parametrize(
    "column", [{"ref": "R"}, {"alt": "*"}, {"alt": "G,G"}, {"alt": "A"}, {"alt": "T,<DEL>"}, {"variant_id": "x y"},
               {"quality": "1e3"}, {"quality": ".5"}, {"filter": "q 10"}, {"variant_id": "ü"}]
)  # fmt: skip
def test_one_odd_line_makes_a_piece_not_plain(column: dict[str, str]) -> None:
    plain = {"contig": "1", "position": "5", "variant_id": "rs1", "ref": "A", "alt": "G,T", "quality": "9.5",
             "filter": "PASS", "info": "."}  # fmt: skip
    usual = lines_of([tuple(plain.values())])
    assert usual is not None
    assert usual.is_plain
    odd = lines_of([tuple(plain.values()), tuple({**plain, **column}.values())])
    assert odd is not None
    assert not odd.is_plain


def test_a_column_that_comes_late_reaches_the_lines_before(tmp_path: Path) -> None:
    first = lines_of([("1", "5", "rs1", "A", "G", ".", "PASS", ".")])
    late = lines_of([("1", "6", ".", "A", "G", "9", "q10", "R2=1")])
    assert first is not None
    assert late is not None
    text, notes, _, order = pvar(tmp_path, [first, late])
    assert text.decode().splitlines()[-3:] == [
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        "1\t5\trs1\tA\tG\t.\tPASS\t.",
        "1\t6\t1:6:A:G\tA\tG\t9\tq10\tR2=1",
    ]
    assert notes == {"FILTER is not PASS": 1}
    assert order is None


@settings(deadline=None, max_examples=200)
@given(
    places=st.lists(
        st.tuples(st.sampled_from("12"), st.integers(1, 4), st.sampled_from("ACG")), min_size=1, max_size=30
    ),
    cut=st.integers(1, 29),
)
def test_neighbours_with_the_same_alleles_are_all_counted(
    places: list[tuple[str, int, str]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [(c, str(p), "x", "T", a, ".", "PASS", ".") for c, p, a in sorted(places)]
    parts = [lines_of(part) for part in (rows[:cut], rows[cut:]) if part]
    kept = [p for p in parts if p is not None]
    _, notes, _, order = pvar(tmp_path_factory.mktemp("x"), list(kept))
    assert order is None
    assert notes.get("same position and alleles as another", 0) == repeated(pl.concat([p.frame() for p in kept]))


@settings(deadline=None, max_examples=200)
@given(places=st.lists(st.tuples(st.sampled_from(["chr2", "1", "GL1"]), st.integers(1, 9)), min_size=1, max_size=20))
def test_order_is_by_contig_and_place(places: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = lines_of([(c, str(p), "x", "T", "A", ".", "PASS", ".") for c, p in places])
    assert lines is not None
    *_, order = pvar(tmp_path_factory.mktemp("x"), [lines.with_normal_contigs()])
    rank = {"1": 0, "chr2": 1, "GL1": 2}
    expected = sorted(range(len(places)), key=lambda i: (rank[places[i][0]], places[i][1]))
    assert (order if order is not None else list(range(len(places)))) == expected
    assert (order is None) == (expected == list(range(len(places))))
