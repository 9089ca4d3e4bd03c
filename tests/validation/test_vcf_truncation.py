"""A compressed file that was cut is refused wherever the cut is, by both readers; never is a part taken for the whole.

The full number of cuts (every block boundary, 1,000 places in text and 200 in BCF) is marked slow.
"""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from genomix.errors import FormatError, TruncatedInputError
from genomix.io.genotype_format import OpenOptions
from genomix.io.vcf import VcfSource
from tests.unit.io.vcf_readers import bgzf_members, read_all

HEAD = '##fileformat=VCFv4.3\n##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">\n'
N_SAMPLES, N_RECORDS = 8, 400


def vcf_text(n_records: int = N_RECORDS, seed: int = 1) -> bytes:
    """Records of random calls; their lines have many lengths, so blocks end in all parts of a line."""
    rng = np.random.default_rng(seed)
    calls = np.array(["0/0", "0|1", "1/1", "./.", "1"])
    names = "\t".join(f"s{i}" for i in range(N_SAMPLES))
    lines = [HEAD + f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}\n"]
    for i in range(n_records):
        row = "\t".join(calls[rng.integers(0, 5, N_SAMPLES)])
        alt = "C" * int(rng.integers(1, 30))
        lines.append(f"1\t{i + 1}\trs{rng.integers(10**9)}\tA\t{alt}\t.\tPASS\t.\tGT\t{row}\n")
    return "".join(lines).encode()


def cut_everywhere(path: Path, members: list[bytes], n_random: int, readers: tuple[str, ...]) -> int:
    whole = b"".join(members)
    boundaries = np.cumsum([0, *map(len, members)])[:-1].tolist()
    places = sorted({*boundaries, *random.Random(5).sample(range(1, len(whole)), min(n_random, len(whole) - 1))})
    for place in places:
        path.write_bytes(whole[:place])
        for reader in readers:
            with pytest.raises(FormatError) as caught:
                read_all(path, reader=reader)
            assert place < 200 or isinstance(caught.value, TruncatedInputError), f"cut at {place}: {caught.value!r}"
    return len(places)


def bcf_members(folder: Path, bcftools: str, text: bytes) -> list[bytes]:
    import subprocess

    (folder / "whole.vcf").write_bytes(text)
    arguments = [bcftools, "view", "-Ob", "-o", str(folder / "whole.bcf"), str(folder / "whole.vcf")]
    subprocess.run(arguments, check=True, capture_output=True)
    return bgzf_members(gzip.decompress((folder / "whole.bcf").read_bytes()), block=900)


@pytest.mark.parametrize("block", [500, 6000])
def test_cut_bgzf_text(tmp_path: Path, block: int) -> None:
    assert cut_everywhere(tmp_path / "a.vcf.gz", bgzf_members(vcf_text(150), block), 40, ("fast", "reference")) > 40


@pytest.mark.slow
def test_cut_bgzf_text_at_every_boundary_and_1000_places(tmp_path: Path) -> None:
    members = bgzf_members(vcf_text(), 700)
    assert cut_everywhere(tmp_path / "a.vcf.gz", members, 1000, ("fast", "reference")) > 1000


@pytest.mark.slow
def test_cut_gzip_text_at_1000_places(tmp_path: Path) -> None:
    whole = [gzip.compress(vcf_text(), mtime=0)]
    assert cut_everywhere(tmp_path / "a.vcf.gz", whole, 1000, ("fast", "reference")) > 999


def test_cut_gzip_text(tmp_path: Path) -> None:
    whole = [gzip.compress(vcf_text(150), mtime=0)]
    assert cut_everywhere(tmp_path / "a.vcf.gz", whole, 40, ("fast", "reference")) > 39


@pytest.mark.external_tool
def test_cut_bcf(tmp_path: Path, bcftools: str) -> None:
    members = bcf_members(tmp_path, bcftools, vcf_text(100))
    assert cut_everywhere(tmp_path / "a.bcf", members, 20, ("fast", "reference")) > 19


@pytest.mark.slow
@pytest.mark.external_tool
def test_cut_bcf_at_every_boundary_and_200_places(tmp_path: Path, bcftools: str) -> None:
    members = bcf_members(tmp_path, bcftools, vcf_text())
    assert cut_everywhere(tmp_path / "a.bcf", members, 200, ("fast", "reference")) > 200


def test_missing_end_block_may_be_allowed_but_blocks_must_be_whole(tmp_path: Path) -> None:
    members = bgzf_members(vcf_text(150), 500)
    path = tmp_path / "a.vcf.gz"
    path.write_bytes(b"".join(members[:-1]))
    for reader in ("fast", "reference"):
        found = read_all(path, reader=reader, allow_missing_end=True)
        assert found is not None
        assert found.n_records == 150
    path.write_bytes(b"".join(members[:-1])[:-10])
    for reader in ("fast", "reference"):
        with pytest.raises(TruncatedInputError):
            read_all(path, reader=reader, allow_missing_end=True)


@pytest.mark.external_tool
def test_bcf_without_end_block_may_be_allowed_but_blocks_and_records_must_be_whole(
    tmp_path: Path, bcftools: str
) -> None:
    members = bcf_members(tmp_path, bcftools, vcf_text(100))
    path = tmp_path / "a.bcf"
    path.write_bytes(b"".join(members[:-1]))
    for reader in ("fast", "reference"):
        found = read_all(path, reader=reader, allow_missing_end=True)
        assert found is not None
        assert found.n_records == 100
        for cut in (b"".join(members[:-1])[:-10], b"".join(members[:-2])):  # inside a block; inside a record
            (tmp_path / "b.bcf").write_bytes(cut)
            with pytest.raises(FormatError):
                read_all(tmp_path / "b.bcf", reader=reader, allow_missing_end=True)


def test_plain_text_cut_inside_a_line_is_found_by_its_columns(tmp_path: Path) -> None:
    text = vcf_text(20)
    path = tmp_path / "a.vcf"
    start = text.rindex(b"\n", 0, len(text) - 1) + 1
    for place in range(start + 1, text.rindex(b"\t")):
        path.write_bytes(text[:place])
        for reader in ("fast", "reference"):
            with pytest.raises(FormatError, match="columns, the header"):
                read_all(path, reader=reader)


def test_share_read_ends_at_one(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    path.write_bytes(b"".join(bgzf_members(vcf_text(50), 500)))
    with VcfSource(path, OpenOptions(reader="fast", block_size=7)) as source:
        sizes = [b.n_records for b in source.blocks()]
        assert source.share_read() == 1.0
    assert sizes == [7] * 7 + [1]
