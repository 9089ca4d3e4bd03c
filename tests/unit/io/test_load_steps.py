"""What a liftover, a split and a half-call do to records when they meet; truth is worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomix.errors import ConfigError
from genomix.io.convert import convert_genotypes
from genomix.io.load_options import LoadOptions
from genomix.io.plink import open_store

HEADER = (
    '##fileformat=VCFv4.3\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
)


def vcf(folder: Path, *records: str) -> Path:
    path = folder / "in.vcf"
    path.write_text(HEADER + "".join("\t".join(r.split()) + "\n" for r in records))
    return path


def chain(folder: Path, target: str = "1", name: str = "a.chain") -> Path:
    """Contig 1 lies 100 bases further on in the target."""
    path = folder / name
    path.write_text(f"chain 100 1 1000 + 0 500 {target} 2000 + 100 600 1\n500\n")
    return path


def fasta(folder: Path, base: str) -> Path:
    """A target of A, with one base at position 150 (1-based), where source position 50 comes to lie."""
    path = folder / "target.fa"
    path.write_text(">1\n" + "A" * 149 + base + "A" * 1850 + "\n")
    return path


def test_a_half_call_keeps_the_reference_of_its_own_build(tmp_path: Path) -> None:
    """REF C of the source is ALT in the target: ./G completed with C is C/G, one copy of either."""
    source = vcf(tmp_path, "1 50 . C G . . . GT ./1 0/0")
    options = LoadOptions(
        chain=chain(tmp_path), target_build="GRCh38", target_fasta=fasta(tmp_path, "G"), half_call="reference"
    )
    report = convert_genotypes(source, tmp_path / "o", options)
    store = open_store(tmp_path / "o")
    assert store.variants.select("position", "ref", "alt").rows() == [(150, "G", "C")]
    assert store.read_calls().tolist() == [[1, 2]]
    assert report.records_noted["half-calls completed with REF before REF and ALT changed places"] == 1


def test_names_made_of_place_and_alleles_are_made_anew(tmp_path: Path) -> None:
    source = vcf(tmp_path, "1 50 . C G,T . . . GT 1/2 0/0", "1 60 rs1 A G . . . GT 0/1 0/0")
    convert_genotypes(source, tmp_path / "first")
    options = LoadOptions(chain=chain(tmp_path), target_build="GRCh38", multi_allelic="split")
    convert_genotypes(tmp_path / "first", tmp_path / "second", options)
    assert open_store(tmp_path / "second").variants["variant_id"].to_list() == ["1:150:C:G", "1:150:C:T", "rs1"]


def test_a_record_lifted_to_an_alternate_contig_is_listed(tmp_path: Path) -> None:
    source = vcf(tmp_path, "1 50 gone C G . . . GT 0/1 0/0", "2 50 kept C G . . . GT 0/1 0/0")
    both = tmp_path / "both.chain"
    both.write_text(
        "chain 100 1 1000 + 0 500 chr1_KI270762v1_alt 2000 + 100 600 1\n500\n\n"
        "chain 100 2 1000 + 0 500 2 2000 + 100 600 2\n500\n"
    )
    report = convert_genotypes(source, tmp_path / "o", LoadOptions(chain=both, target_build="GRCh38"))
    assert report.rejected.select("variant_id", "reason").rows() == [
        ("gone", "lifted to an alternate or unplaced contig")
    ]
    assert open_store(tmp_path / "o").variants["variant_id"].to_list() == ["kept"]


@pytest.mark.real_data
@pytest.mark.parametrize("wrong", ["GRCh37", "GRCm38"])
def test_a_target_build_that_the_chain_file_contradicts(wrong: str, real_data: Path, tmp_path: Path) -> None:
    chains = real_data / "pgscatalog-utils" / "pgscatalog.core" / "tests" / "data" / "chain"
    source = vcf(tmp_path, "1 1000000 . C G . . . GT 0/1 0/0")
    options = LoadOptions(chain=chains / "hg19ToHg38.over.chain.gz", target_build=wrong)
    with pytest.raises(ConfigError, match=f"leads to GRCh38, not to {wrong}"):
        convert_genotypes(source, tmp_path / "o", options)
    assert not list(tmp_path.glob("o.*"))
