"""Consequence annotation in INFO: which ALT each entry means, what is counted, and what is refused."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, TruncatedInputError
from genomix.io.annotation import (
    Annotation,
    read_annotation,
    read_any_annotation,
    read_gene_bed,
    read_mask_file,
    read_regenie_annotation,
    trim_alleles,
    vep_alleles,
)

VEP = "Consequence annotations from Ensembl VEP. Format: {}"
DESCRIPTION = {
    "CSQ": VEP.format("Allele|Consequence|SYMBOL|Gene|Feature|CANONICAL|MANE_SELECT|LoF"),
    "NUM": VEP.format("Consequence|SYMBOL|Gene|Feature|ALLELE_NUM"),
    "BARE": VEP.format("Consequence|SYMBOL|Gene|Feature"),
    "ANN": "Functional annotations: 'Allele | Annotation | Annotation_Impact | Gene_Name | Gene_ID | Feature_Type | "
    "Feature_ID | Transcript_BioType | Rank'",
    "BCSQ": "Local consequence annotation from BCFtools/csq. Format: '[*]consequence|gene|transcript|biotype[|strand|"
    "amino_acid_change|dna_change]'",
}


def write(folder: Path, key: str, *records: str, name: str = "a.vcf", samples: str = "") -> Path:
    lines = ["##fileformat=VCFv4.3", f'##INFO=<ID={key},Number=.,Type=String,Description="{DESCRIPTION[key]}">']
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO" + samples)
    for record in records:
        contig, position, ref, alt, info = record.split(" ", 4)
        tail = "\tGT" + "\t0/1" * samples.count("\ts") if samples else ""
        lines.append("\t".join([contig, position, ".", ref, alt, ".", ".", info]) + tail)
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def alts(found: Annotation) -> list[tuple[str, str, str]]:
    return sorted(found.rows.select("alt", "gene", "consequence").iter_rows())


@pytest.mark.parametrize(
    ("ref", "alternatives", "written"),
    [
        ("C", ("T",), ("T",)),
        ("CA", ("C",), ("-",)),
        ("C", ("CAT",), ("AT",)),
        ("CTT", ("C", "CT", "CTTT"), ("-", "T", "TTT")),
        ("CA", ("C", "CG"), ("-", "G")),
        ("CA", ("TG",), ("TG",)),
        ("CA", ("TG", "CC"), ("TG", "CC")),
        ("CA", ("C", "T"), ("C", "T")),
        ("CA", ("C", "*"), ("-", "*")),
        ("CA", ("T",), ("T",)),
    ],
)
def test_how_vep_writes_an_allele(ref: str, alternatives: tuple[str, ...], written: tuple[str, ...]) -> None:
    """VEP's parser of VCF input: the first base goes where lengths differ and all alleles share it."""
    assert vep_alleles(ref, alternatives) == written


def test_vep_entries_go_to_their_alleles(tmp_path: Path) -> None:
    path = write(
        tmp_path, "CSQ",
        "chr1 100 CTT C,CTTT AC=1;CSQ=-|frameshift_variant|G1|ENSG1|T1|YES|NM_1|HC,TTT|inframe_insertion|G1|ENSG1|T1"
        "||||;DB",
        "1 200 A G,T CSQ=T|missense_variant&splice_region_variant||ENSG2|T2|||",
        "1 300 A G CSQ=C|missense_variant|G3|ENSG3|T3|||,G|intron_variant||||||",
        "1 400 CAAG CA CSQ=-|inframe_deletion|G4|ENSG4|T4|||LC",
        "1 500 A G .",
    )  # fmt: skip
    found = read_annotation(path)
    assert alts(found) == [
        ("C", "G1", "frameshift_variant"), ("CA", "G4", "inframe_deletion"), ("CTTT", "G1", "inframe_insertion"),
        ("T", "ENSG2", "missense_variant&splice_region_variant"),
    ]  # fmt: skip
    first = found.rows.row(0, named=True)
    assert (first["contig"], first["position"], first["ref"], first["gene_id"]) == ("1", 100, "CTT", "ENSG1")
    assert (first["canonical"], first["mane"], first["lof"], first["transcript"]) == (True, True, "HC", "T1")
    assert found.rows["canonical"].to_list()[1:] == [False, False, False]
    assert found.counts["records"] == 5
    assert found.counts["alleles"] == 7
    assert found.counts["entries"] == 6
    assert found.counts["records without annotation"] == 1
    assert found.counts["entries without a gene"] == 1
    assert found.counts["entries whose allele is none of the record's"] == 1


def test_allele_num_wins_and_no_allele_at_all_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "NUM", "1 100 CTT C,CT NUM=frameshift_variant|G|E|T|2,stop_gained|G|E|T|7")
    found = read_annotation(path, key="NUM")
    assert alts(found) == [("CT", "G", "frameshift_variant")]
    assert found.counts["entries whose allele is none of the record's"] == 1
    path = write(tmp_path, "BARE", "1 100 C A,T BARE=missense_variant|G|E|T", "1 200 C A BARE=stop_lost|G|E|T")
    found = read_annotation(path, key="BARE")
    assert alts(found) == [("A", "G", "stop_lost")]
    assert found.counts["entries without an allele at a record with several ALTs"] == 1
    assert found.rows["canonical"].null_count() == found.rows["mane"].null_count() == 1


def test_snpeff_writes_the_whole_alt(tmp_path: Path) -> None:
    path = write(
        tmp_path, "ANN",
        "1 100 CA C,CAA ANN=C|frameshift_variant&splice_region_variant|HIGH|G1|E1|transcript|T1|protein_coding|1/2,"
        "CAA|stop_gained|HIGH|G1|E1|transcript|T1|protein_coding|1/2,G|missense_variant|MODERATE|G1|E1|transcript|T1||",
        "1 200 A T ANN=T|intergenic_region|MODIFIER|G1-G2|E1-E2|intergenic_region|E1-E2|||",
    )  # fmt: skip
    found = read_annotation(path)
    assert found.tool == "snpeff"
    assert alts(found) == [("C", "G1", "frameshift_variant&splice_region_variant"), ("CAA", "G1", "stop_gained")]
    assert found.rows["biotype"].to_list() == ["protein_coding"] * 2
    assert found.counts["entries whose allele is none of the record's"] == 1
    assert found.counts["entries without a gene"] == 1, "an intergenic variant lies in neither neighbour"


def test_bcftools_changes_pointers_and_words(tmp_path: Path) -> None:
    path = write(
        tmp_path, "BCSQ",
        "6 100 A C,G BCSQ=missense|G|T|protein_coding|+|1K>1N|100A>G+103T>C,3_prime_utr|H|U|protein_coding",
        "6 103 T C BCSQ=@100,*missense|G|V|protein_coding|+|9K>9N|103T>C",
        "6 200 T C BCSQ=@150",
    )  # fmt: skip
    found = read_annotation(path)
    assert sorted(found.rows.select("position", "alt", "gene", "consequence").iter_rows()) == [
        (100, "C", "H", "3_prime_UTR_variant"), (100, "G", "G", "missense_variant"),
        (100, "G", "H", "3_prime_UTR_variant"), (103, "C", "G", "*missense"), (103, "C", "G", "missense_variant"),
    ]  # fmt: skip
    assert found.counts["pointers to an entry that is not there"] == 1


def test_compressions_and_samples_change_nothing(tmp_path: Path) -> None:
    records = [f"chr2 {100 + i} A G CSQ=G|missense_variant|G{i}|E{i}|T|||" for i in range(50)]
    plain = read_annotation(write(tmp_path, "CSQ", *records))
    with_samples = read_annotation(write(tmp_path, "CSQ", *records, name="b.vcf", samples="\tFORMAT\ts1\ts2"))
    (tmp_path / "c.vcf.gz").write_bytes(gzip.compress((tmp_path / "a.vcf").read_bytes()))
    zipped = read_annotation(tmp_path / "c.vcf.gz")
    assert plain.rows.height == 50
    assert plain.rows.equals(with_samples.rows)
    assert plain.rows.equals(zipped.rows)
    cut = (tmp_path / "c.vcf.gz").read_bytes()
    (tmp_path / "d.vcf.gz").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(TruncatedInputError):
        read_annotation(tmp_path / "d.vcf.gz")


def test_bcf_through_cyvcf2_equals_the_text(tmp_path: Path) -> None:
    from cyvcf2 import VCF, Writer

    path = write(
        tmp_path,
        "CSQ",
        "1 100 CTT C,CTTT CSQ=-|frameshift_variant|G1|E|T|YES|NM|HC",
        "1 120 C T CSQ=T|stop_lost|G|E|T|||",
    )
    text = path.read_text().replace("#CHROM", "##contig=<ID=1,length=1000>\n#CHROM")
    path.write_text(text)
    source = VCF(str(path))
    writer = Writer(str(tmp_path / "a.bcf"), source, "wb")
    for record in source:
        writer.write_record(record)
    writer.close()
    binary = read_annotation(tmp_path / "a.bcf")
    assert binary.rows.equals(read_annotation(path).rows)
    assert binary.counts == read_annotation(path).counts


def test_what_is_no_annotation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    path.write_text("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    with pytest.raises(ConfigError, match="holds no consequence annotation"):
        read_annotation(path)
    with pytest.raises(ConfigError, match="declares no INFO field XYZ"):
        read_annotation(write(tmp_path, "CSQ"), key="XYZ")
    path.write_text("##fileformat=VCFv4.3\n##nothing else\n")
    with pytest.raises(FormatError, match="no #CHROM line"):
        read_annotation(path)
    good = write(tmp_path, "CSQ", "1 5 A G CSQ=G|stop_lost|G|E|T|||").read_text()
    path.write_text(good + "1\tfive\t.\tA\tG\t.\t.\tCSQ=x\n")
    with pytest.raises(FormatError, match=r"a\.vcf:5"):
        read_annotation(path)


def test_regenie_files(tmp_path: Path) -> None:
    (tmp_path / "a.annotations").write_text("v1 S1 pLof\nv2 S1\tdomain\tmissense\nv9 S1 pLof\n")
    (tmp_path / "a.setlist").write_text("S1 1 10 v1,v2,v3\nS2 2 5 v4\n")
    (tmp_path / "a.masks").write_text("M1\tpLof\nM2\tpLof,missense\n")
    found = read_any_annotation(tmp_path / "a.annotations", set_list=tmp_path / "a.setlist")
    assert found.tool == "regenie"
    assert list(found.rows.select("gene", "variant_id", "consequence").iter_rows()) == [
        ("S1", "v1", "pLof"), ("S1", "v2", "missense"), ("S1", "v3", "NULL"), ("S2", "v4", "NULL"),
    ]  # fmt: skip
    assert found.counts["entries that are not in the set list"] == 1
    assert found.counts["variants of the set list without a label (NULL)"] == 2
    assert [m["consequences"] for m in read_mask_file(tmp_path / "a.masks")] == ["pLof", "pLof+missense"]
    assert read_regenie_annotation(tmp_path / "a.annotations").rows.height == 3
    (tmp_path / "a.annotations").write_text("v1 S1 pLof\nv2 S1\n")
    with pytest.raises(FormatError, match=r"a\.annotations:2"):
        read_regenie_annotation(tmp_path / "a.annotations")


def test_mask_file_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('[[mask]]\nname = "a"\nconsequences = ["lof", "missense"]\nmax_frequency = 0.001\n')
    assert read_mask_file(path) == [{"name": "a", "consequences": "lof+missense", "max_frequency": 0.001}]
    for text in ("mask = 1\n", "[mask]\na = 1\n", '[[masks]]\nname = "a"\n', "nonsense"):
        path.write_text(text)
        with pytest.raises(FormatError):
            read_mask_file(path)


def test_gene_bed_is_zero_based_and_knows_contig_aliases(tmp_path: Path) -> None:
    path = tmp_path / "g.bed"
    path.write_text("track name=x\n# note\nchr1\t9\t20\tG1\t0\t+\nchrM 5 9 MT1\n")
    assert list(read_gene_bed(path).iter_rows()) == [("1", 10, 20, "G1"), ("MT", 6, 9, "MT1")]
    for line in ("chr1\t9\t20\n", "chr1\t20\t20\tG\n", "chr1\tx\t20\tG\n"):
        path.write_text("chr1\t9\t20\tG1\n" + line)
        with pytest.raises(FormatError, match=r"g\.bed:2"):
            read_gene_bed(path)


def test_trimming_keeps_the_haplotype() -> None:
    """Replacing REF by ALT in a sequence gives the same sequence before and after trimming."""
    draw = random.Random(5)
    for _ in range(2000):
        sequence = "".join(draw.choice("AC") for _ in range(14))
        position, length = draw.randrange(1, 8), draw.randrange(1, 6)
        ref = sequence[position - 1 : position - 1 + length]
        alt = "".join(draw.choice("AC") for _ in range(draw.randrange(1, 6)))
        new, short_ref, short_alt = trim_alleles(position, ref, alt)
        assert sequence[new - 1 : new - 1 + len(short_ref)] == short_ref
        changed = sequence[: position - 1] + alt + sequence[position - 1 + length :]
        assert sequence[: new - 1] + short_alt + sequence[new - 1 + len(short_ref) :] == changed
        if min(len(short_ref), len(short_alt)) > 1:
            assert short_ref[0] != short_alt[0]
            assert short_ref[-1] != short_alt[-1]


def test_small_letters_are_the_same_bases(tmp_path: Path) -> None:
    path = write(tmp_path, "CSQ", "1 100 ctt c,CTg CSQ=-|frameshift_variant|G1|E|T|||,Tg|stop_lost|G1|E|T|||")
    assert alts(read_annotation(path)) == [("C", "G1", "frameshift_variant"), ("CTG", "G1", "stop_lost")]


def test_rows_follow_the_schema(tmp_path: Path) -> None:
    rows = read_annotation(write(tmp_path, "CSQ", "1 5 A G CSQ=G|stop_lost|G|E|T|||")).rows
    assert rows.schema["canonical"] == pl.Boolean
    assert rows["contig"].to_list() == ["1"]
