"""Access to a FASTA by position: equal to slices of the text, in every layout; a file that was cut is never read."""

from __future__ import annotations

import gzip
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io import fasta_index
from genomix.io.bgzf import inflated_chunks
from genomix.io.fasta import Fasta
from genomix.io.reference_check import check_fasta_build, check_reference
from tests.fasta_files import bgzf_bytes, repetitive_sequence, write_fasta

CONTIGS = {
    name: repetitive_sequence(np.random.default_rng(i), size)
    for i, (name, size) in enumerate([("chr1", 3001), ("2", 600), ("chrM", 61), ("decoy|x.1", 1), ("HLA-A*01:01", 60)])
}


@pytest.fixture(params=["plain", "crlf", "no last newline", "one line", "bgzf", "bgzf, tiny blocks"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    layout = request.param
    plain = write_fasta(
        tmp_path / "a.fa",
        CONTIGS,
        width=10_000 if layout == "one line" else 60,
        end="\r\n" if layout == "crlf" else "\n",
    )
    if layout == "no last newline":
        plain.write_bytes(plain.read_bytes()[:-1])
    if not layout.startswith("bgzf"):
        return plain
    packed = tmp_path / "b.fa.gz"
    packed.write_bytes(bgzf_bytes(plain.read_bytes(), block=7 if "tiny" in layout else 0xFF00))
    return packed


def slices(n: int) -> list[tuple[str, int, int]]:
    rng = np.random.default_rng(4)
    places = []
    for _ in range(n):
        name = list(CONTIGS)[int(rng.integers(len(CONTIGS)))]
        start, end = sorted(rng.integers(0, len(CONTIGS[name]) + 1, 2).tolist())
        places.append((name, start, end))
    return places


def test_slices_are_those_of_the_text(path: Path) -> None:
    fasta = Fasta(path)
    assert fasta.contigs == {name: len(bases) for name, bases in CONTIGS.items()}
    for name, start, end in slices(200):
        assert fasta.fetch(name, start, end) == CONTIGS[name][start:end].upper().encode()


def test_an_index_that_is_written_is_read_and_fits(path: Path) -> None:
    fasta = Fasta(path, save_index=True)
    fai = path.with_name(path.name + ".fai")
    assert len(fai.read_text().splitlines()) == len(CONTIGS)
    again = Fasta(path)
    assert again.contigs == fasta.contigs
    assert all(again.fetch(*place) == fasta.fetch(*place) for place in slices(50))


def test_an_index_made_in_many_pieces_is_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Fasta(path)
    text = b"".join(inflated_chunks(path))
    monkeypatch.setattr(fasta_index, "_SCAN_BYTES", 1)
    for size in (1, 7, 61, 100, 1000):
        pieces = fasta_index.scan_fasta((text[i : i + size] for i in range(0, len(text), size)), where="x")
        assert dict(zip(pieces.names, pieces.lengths.tolist(), strict=True)) == whole.contigs
        numbers = np.arange(len(pieces.names))
        last = pieces.file_offsets(numbers, pieces.lengths - 1)
        assert [chr(text[i]) for i in last] == [bases[-1] for bases in CONTIGS.values()]


def test_contigs_go_by_either_name(path: Path) -> None:
    fasta = Fasta(path)
    assert fasta.find("1") == fasta.find("01") == "chr1"
    assert fasta.find("chr2") == "2"
    assert fasta.find("MT") == fasta.find("chrMT") == fasta.find("26") == "chrM"
    assert fasta.find("3") is None


def test_two_contigs_of_one_normalised_name_go_by_their_own_only(tmp_path: Path) -> None:
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"chr1": "AC", "1": "GT"}))
    assert fasta.fetch("chr1", 0, 2) == b"AC"
    assert fasta.fetch("1", 0, 2) == b"GT"
    assert fasta.find("01") is None


def test_threads_and_forked_and_pickled_processes_read_the_same(path: Path) -> None:
    fasta = Fasta(path)
    places = slices(300)
    expected = [CONTIGS[n][s:e].upper().encode() for n, s, e in places]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda place: fasta.fetch(*place), places)) == expected
    with multiprocessing.get_context("fork").Pool(2, initializer=_hold, initargs=(fasta,)) as processes:
        assert processes.map(_fetch_held, places) == expected
    copy = pickle.loads(pickle.dumps(fasta))
    assert [copy.fetch(*place) for place in places] == expected


_held: list[Fasta] = []


def _hold(fasta: Fasta) -> None:
    _held.append(fasta)


def _fetch_held(place: tuple[str, int, int]) -> bytes:
    return _held[0].fetch(*place)


def test_places_beyond_the_ends_are_refused(path: Path) -> None:
    fasta = Fasta(path)
    for start, end in ((-1, 2), (5, 4), (0, 602), (600, 601)):
        with pytest.raises(FormatError, match="beyond the ends"):
            fasta.fetch("2", start, end)
    with pytest.raises(FormatError, match="no contig 7"):
        fasta.fetch("7", 0, 1)


def test_ref_is_compared_base_by_base(tmp_path: Path) -> None:
    bases = "ACGTNacgtnRYKMSWBDHVU"
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"chr1": bases}, width=4))
    sets = {
        "N": "N", "R": "AGN", "Y": "CTN", "K": "GTN", "M": "ACN", "S": "CGN", "W": "ATN", "B": "CGTN", "D": "AGTN",
        "H": "ACTN", "V": "ACGN", "U": "TN", **{b: b for b in "ACGT"},
    }  # fmt: skip
    for at, base in enumerate(bases):
        for ref in "ACGTNacgtnRY":
            frame = pl.DataFrame({"contig": ["1"], "position": [at + 1], "ref": [ref]})
            assert fasta.ref_matches(frame).tolist() == [int(ref.upper() in sets[base.upper()])], (base, ref)


def test_ref_of_many_records_at_once_is_compared_as_one_by_one(path: Path) -> None:
    rng = np.random.default_rng(7)
    rows = []
    for name, start, end in slices(400):
        text = CONTIGS[name][start : min(end, start + 70)] or "A"
        if rng.random() < 0.3:
            text = text[:-1] + "ACGT"[int(rng.integers(4))]
        rows.append((name if rng.random() < 0.9 else "nowhere", start + 1, text))
    rows += [("2", 0, "A"), ("2", 601, "A"), ("2", 600, "AC"), ("2", -5, "A")]
    expected = []
    for name, position, ref in rows:
        bases = CONTIGS.get(name, "")
        known = position >= 1 and position - 1 + len(ref) <= len(bases)
        expected.append(int(bases[position - 1 :][: len(ref)].upper() == ref.upper()) if known else -1)
    frame = pl.DataFrame(rows, schema=["contig", "position", "ref"], orient="row")
    assert Fasta(path).ref_matches(frame).tolist() == expected
    assert set(expected) == {1, 0, -1}


@pytest.mark.parametrize("cut", [1, 50, 61, 200, 2000])
def test_a_cut_file_does_not_fit_its_index(tmp_path: Path, cut: int) -> None:
    path = write_fasta(tmp_path / "a.fa", CONTIGS)
    Fasta(path, save_index=True)
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    if cut == 1:  # only the last line's end is gone
        assert Fasta(path).contigs["chr1"] == 3001
        return
    with pytest.raises(FormatError, match="is not the file that"):
        Fasta(path)


def test_an_index_of_another_file_is_refused(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "a.fa", CONTIGS)
    Fasta(path, save_index=True)
    for other in ({**CONTIGS, "more": "ACGT"}, {"chrX" if n == "chr1" else n: b for n, b in CONTIGS.items()}):
        write_fasta(path, other)
        with pytest.raises(FormatError, match="describes"):
            Fasta(path)
    write_fasta(path, CONTIGS, width=50)
    with pytest.raises(FormatError, match="describes"):
        Fasta(path)


def test_bgzf_cut_anywhere_is_truncated(tmp_path: Path) -> None:
    whole = bgzf_bytes(write_fasta(tmp_path / "a.fa", CONTIGS).read_bytes(), block=500)
    path = tmp_path / "b.fa.gz"
    for cut in (1, 28, 29, 300, len(whole) - 100):
        path.write_bytes(whole[:-cut])
        with pytest.raises(TruncatedInputError):
            Fasta(path)
    path.write_bytes(whole[:-100] + whole[-28:])
    with pytest.raises(FormatError):
        Fasta(path)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (">a\nACGT\nAC\nACGT\n", "differ in length", 4),
        (">a\nACGT\nACGTA\n", "differ in length", 3),
        (">a\nACGT\n\nACGT\n", "differ in length", 4),
        ("ACGT\n", "before the first header", 1),
        (">a\nAC\n> \nAC\n", "without a name", 3),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str, line: int) -> None:
    path = tmp_path / "a.fa"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        Fasta(path)
    assert caught.value.where == f"{path}:{line}"


def test_other_bad_inputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    for text in ("", "\n", ">a\nAC\n>b\nAC\n>a x\nGT\n"):
        path.write_text(text)
        with pytest.raises(FormatError):
            Fasta(path)
    path.write_bytes(gzip.compress(b">a\nAC\n"))
    with pytest.raises(FormatError, match="cannot be read by position"):
        Fasta(path)
    with pytest.raises(InputNotFoundError):
        Fasta(tmp_path / "none.fa")
    path.write_text(">a\nAC\n")
    (tmp_path / "a.fa.fai").write_text("a\t2\t3\ttwo\t3\n")
    with pytest.raises(FormatError, match="a name and four numbers"):
        Fasta(path)


def test_the_build_is_confirmed_or_contradicted(tmp_path: Path) -> None:
    fasta = Fasta(write_fasta(tmp_path / "a.fa", {"chr1": "ACGTACGTAC"}))
    frame = pl.DataFrame({"contig": ["1"] * 10, "position": range(1, 11), "ref": list("ACGTACGTAA")})
    assert check_reference(frame, fasta, "GRCh38") == ("GRCh38", 9, 1, 0)
    wrong = frame.with_columns(ref=pl.Series(list("CCGTACGTAA")))
    with pytest.raises(FormatError, match=r"8 of 10 records \(80.0%\); the genotypes are declared as GRCh38"):
        check_reference(wrong, fasta, "GRCh38")
    with pytest.raises(FormatError, match="no record lies on a contig"):
        check_reference(frame.with_columns(contig=pl.lit("9")), fasta, "GRCh38")


def test_contig_lengths_of_the_fasta_tell_its_build(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.write_text(">chr21\n" + "N" * 48129895 + "\n")
    fasta = Fasta(path)
    assert check_fasta_build(fasta, "unknown") == "GRCh37"
    assert check_fasta_build(fasta, "hg19") == "GRCh37"
    with pytest.raises(FormatError, match=r"in GRCh38, but a\.fa has the contig lengths of GRCh37"):
        check_fasta_build(fasta, "GRCh38")
