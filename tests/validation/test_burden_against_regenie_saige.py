"""Masks that regenie built, gene sets that SAIGE-GENE tested, and annotation that bcftools splits.

regenie's example masks come from ``--build-mask max --aaf-bins 0.2`` without the six people of
``fid_iid_to_remove.txt``: only then do its ALT frequencies give these masks. SAIGE-GENE's example
(``genotype_100markers_bgen_groupTest_out.txt``) has other p values by design: a mixed model with a relationship matrix,
a saddle-point approximation, and variants with a minor allele count of at most 10 merged into one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.annotation import Annotation, read_annotation, read_mask_file, read_regenie_annotation
from genomix.io.plink import GenotypeStore, open_store
from genomix.schemas.burden import ANNOTATIONS
from genomix.variants.burden import BurdenOptions, BurdenResult, collapse_sets, compute_burden
from genomix.variants.burden_test import prepare, scan_burdens
from genomix.variants.gene_masks import Mask, make_mask
from genomix.variants.skat import scan_skat

pytestmark = [pytest.mark.real_data, pytest.mark.external_tool]


def fileset(plink2: str, bed: Path, folder: Path) -> GenotypeStore:
    """A PLINK 1 fileset as plink2 converts it."""
    out = folder / bed.name
    subprocess.run([plink2, "--bfile", str(bed), "--make-pgen", "--out", str(out), "--silent"], check=True)
    return open_store(out)


def test_masks_equal_regenies_own(real_data: Path, plink2: str, tmp_path: Path) -> None:
    folder = real_data / "regenie-example"
    store = fileset(plink2, folder / "example_3chr", tmp_path)
    theirs = fileset(plink2, folder / "example_3chr_masks", tmp_path)
    removed = {line.split()[1] for line in (folder / "fid_iid_to_remove.txt").read_text().splitlines()}
    ids = store.samples["sample_id"].to_list()
    assert ids == theirs.samples["sample_id"].to_list()
    tested = [i for i, name in enumerate(ids) if name not in removed]
    assert len(tested) == 494
    source = read_regenie_annotation(folder / "example_3chr.annotations", folder / "example_3chr.setlist")
    masks = tuple(make_mask(entry, 0.2) for entry in read_mask_file(folder / "example_3chr.masks"))
    result = compute_burden(store, source, BurdenOptions(masks, collapse="max"), frequency_samples=tested)
    names = [one.name for one in result.sets]
    calls = theirs.read_calls()
    for row, name in enumerate(theirs.variants["variant_id"].to_list()):
        gene, mask, _ = name.split(".", 2)
        ours = result.matrix.values[:, names.index(f"{gene}:{mask}")]
        assert np.array_equal(ours, calls[row].astype(np.float32)), f"{name}: {int((ours != calls[row]).sum())} differ"
    assert theirs.n_variants == 2
    empty = result.genes.filter(pl.col("mask") == "M3")
    assert (empty["n_variants"] == 0).all(), "no variant has its labels"
    assert (empty["reason"] != "").all()


@pytest.fixture(scope="module")
def saige(real_data: Path, plink2: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[GenotypeStore, Annotation]:
    folder = real_data / "saige-extdata/input"
    rows, names = [], []
    for line in (folder / "group_new_chrposa1a2.txt").read_text().splitlines():
        gene, kind, *values = line.split()
        if kind == "var":
            names = [value.split(":") for value in values]
        elif kind == "anno":
            rows += [(c, int(p), r, a, gene, None, None, label, None, None, None, None)
                     for (c, p, r, a), label in zip(names, values, strict=True)]  # fmt: skip
    schema = {c.name: c.dtype for c in ANNOTATIONS.columns if c.name != "variant_id"}
    frame = ANNOTATIONS.validate(pl.DataFrame(rows, schema=schema, orient="row"))
    alleles = frame.select("contig", "position", "ref", "alt").unique(maintain_order=True)
    store = fileset(plink2, folder / "genotype_100markers", tmp_path_factory.mktemp("saige"))
    return store, Annotation(frame, alleles, "saige", (), {})


def saige_people(real_data: Path, store: GenotypeStore) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples, binary phenotype and covariates of SAIGE's example."""
    path = real_data / "saige-extdata/input/pheno_1000samples.txt_withdosages_withBothTraitTypes.txt"
    table = pl.read_csv(path, separator=" ")
    place = {name: i for i, name in enumerate(store.samples["sample_id"].to_list())}
    samples = np.array([place[name] for name in table["IID"]])
    return samples, table["y_binary"].to_numpy().astype(float), table.select("x1", "x2").to_numpy().astype(float)


def saige_rows(real_data: Path) -> pl.DataFrame:
    path = real_data / "saige-extdata/output/genotype_100markers_bgen_groupTest_out.txt"
    frame = pl.read_csv(path, separator="\t", null_values="NA")
    return frame.filter(pl.col("Group") != "Cauchy").with_columns(pl.col("Group").str.replace_all(";", "+"))


def saige_result(store: GenotypeStore, source: Annotation, samples: np.ndarray, limit: float) -> BurdenResult:
    words = ("lof", "missense+lof", "missense+lof+synonymous")
    options = BurdenOptions(
        tuple(Mask(w, w, limit) for w in words), collapse="weighted", weights="beta", counted="minor"
    )
    return compute_burden(store, source, options, samples=samples)


def test_counts_equal_saiges(real_data: Path, saige: tuple[GenotypeStore, Annotation]) -> None:
    """Rare variants and ultra-rare ones (minor allele count <= 10) per mask; allele counts, those of cases apart.

    SAIGE merges the ultra-rare ones by their maximum before it counts, so a carrier of two counts once.
    """
    store, source = saige
    samples, cases, _ = saige_people(real_data, store)
    rows = saige_rows(real_data)
    assert rows.height == 12
    for row in rows.iter_rows(named=True):
        result = saige_result(store, source, samples, row["max_MAF"])
        (one,) = [s for s in result.sets if (s.gene, s.mask) == (row["Region"], row["Group"])]
        copies = 2 * len(samples) * np.where(one.flipped, 1 - one.frequencies, one.frequencies)
        rare = copies > 10.5
        merged = (copies > 0.5) & ~rare
        assert (int(rare.sum()), int(merged.sum())) == (row["Number_rare"], row["Number_ultra_rare"])
        for people, column in (
            (samples, "MAC"),
            (samples[cases == 1], "MAC_case"),
            (samples[cases == 0], "MAC_control"),
        ):
            parts = []
            for chosen, collapse in ((rare, "count"), (merged, "max")):
                part = one._replace(
                    rows=one.rows[chosen], frequencies=one.frequencies[chosen], weights=one.weights[chosen],
                    flipped=one.flipped[chosen],
                )  # fmt: skip
                if chosen.any():
                    found = collapse_sets(store, [part], collapse=collapse, samples=people)  # type: ignore[arg-type]  # from a tuple
                    parts.append(int(found.values.sum()))
            assert sum(parts) == row[column], (row["Region"], row["Group"], row["max_MAF"], column)


def test_p_values_lie_near_saiges(real_data: Path, saige: tuple[GenotypeStore, Annotation]) -> None:
    """The methods differ (see the module): burden p within a factor of two, SKAT p never on another scale."""
    store, source = saige
    samples, cases, covariates = saige_people(real_data, store)
    prepared = prepare(cases, covariates)
    rows = saige_rows(real_data)
    for limit in (0.001, 0.01):
        result = saige_result(store, source, samples, limit)
        tests = pl.concat([
            scan_burdens(result.matrix.values, result.sets, prepared),
            scan_skat(store, result.sets, prepared, samples=samples),
        ])  # fmt: skip
        for row in rows.filter(pl.col("max_MAF") == limit).iter_rows(named=True):
            ours = tests.filter(pl.col("gene") == row["Region"], pl.col("mask") == row["Group"])
            p = dict(zip(ours["test"].replace({"firth": "burden", "logistic": "burden"}), ours["p"], strict=True))
            assert abs(np.log2(p["burden"] / row["Pvalue_Burden"])) < 1
            if limit == 0.01:
                assert abs(np.log10(p["skat"] / row["Pvalue_SKAT"])) < 0.3
                assert abs(np.log10(p["skat-o"] / row["Pvalue"])) < 0.3


VEP_FILES = (
    ("slivar-tests/test.vcf", "CSQ"),
    ("slivar-tests/comphet-test-case.vcf", "CSQ"),
    ("slivar-tests/h1000.vcf.gz", "vep"),
    ("cyvcf2-tests/test-hemi.vcf", "CSQ"),
)


@pytest.mark.parametrize(("name", "key"), VEP_FILES)
def test_vep_entries_equal_split_vep(real_data: Path, bcftools: str, name: str, key: str) -> None:
    """``bcftools +split-vep -d`` prints one line per entry; records with several ALTs and no allele are left out."""
    form = "%CHROM\\t%POS\\t%REF\\t%ALT\\t%Consequence\\t%SYMBOL\\t%Gene\\t%Feature\\n"
    command = [bcftools, "+split-vep", "-d", "-a", key, "-f", form, str(real_data / name)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("this bcftools has no split-vep plugin")
    wanted = set()
    for line in run.stdout.splitlines():
        contig, position, ref, alt, consequence, symbol, gene, feature = line.split("\t")
        if "," not in alt and (symbol, gene) != (".", "."):
            named = symbol if symbol != "." else gene
            wanted.add((contig.removeprefix("chr"), int(position), ref, alt, consequence, named, feature))
    found = read_annotation(real_data / name, key=key)
    several = {(c, p) for c, p, _, alt in _records(bcftools, real_data / name) if "," in alt}
    rows = found.rows.select("contig", "position", "ref", "alt", "consequence", "gene", "transcript").fill_null(".")
    ours = {row for row in rows.iter_rows() if (row[0], row[1]) not in several}
    assert ours == wanted
    assert len(wanted) >= 10


def _records(bcftools: str, path: Path, field: str = "%ALT") -> list[tuple[str, int, str, str]]:
    command = [bcftools, "query", "-f", f"%CHROM\\t%POS\\t%REF\\t{field}\\n", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("\t", 3) for line in lines]
    return [(r[0].removeprefix("chr"), int(r[1]), r[2], r[3]) for r in rows]


@pytest.mark.parametrize("name", ["comphet.csq.vcf", "with-bcsq.vcf", "comphet.vcf", "ashk-trio.vcf.gz"])
def test_bcsq_entries_equal_a_plain_loop(real_data: Path, bcftools: str, name: str) -> None:
    """What ``bcftools query`` prints, split by hand: gene and consequence (in bcftools' words) of every record."""
    path = real_data / "slivar-tests" / name
    wanted, pointers, of_others = set(), 0, 0
    for contig, position, ref, both in _records(bcftools, path, "%ALT\\t%INFO/BCSQ"):
        alt, value = both.split("\t")
        for entry in value.split(",") if value != "." else ():
            if entry.startswith("@"):
                pointers += 1
                continue
            fields = entry.split("|")
            if len(fields) > 6 and not any(f"{position}{ref}>{a}" in fields[6].split("+") for a in alt.split(",")):
                of_others += 1
            elif len(fields) > 1 and fields[1]:
                wanted.add((contig, position, alt, fields[0], fields[1]))
    found = read_annotation(path)
    words = {
        "missense_variant": "missense", "synonymous_variant": "synonymous", "frameshift_variant": "frameshift",
        "splice_acceptor_variant": "splice_acceptor", "splice_donor_variant": "splice_donor",
        "splice_region_variant": "splice_region", "protein_altering_variant": "inframe_altering",
        "start_retained_variant": "start_retained", "stop_retained_variant": "stop_retained",
        "5_prime_UTR_variant": "5_prime_utr", "3_prime_UTR_variant": "3_prime_utr",
        "non_coding_transcript_exon_variant": "non_coding", "intron_variant": "intron",
        "intergenic_variant": "intergenic", "coding_sequence_variant": "coding_sequence",
    }  # fmt: skip
    ours = {
        (contig, position, alt, "&".join(words.get(t, t) for t in terms.split("&")), gene)
        for contig, position, alt, terms, gene in found.rows.select(
            "contig", "position", "alt", "consequence", "gene"
        ).iter_rows()
    }
    assert wanted <= ours
    assert len(ours - wanted) <= pointers, "only followed pointers may add to what a record itself says"
    assert found.counts["entries whose allele is none of the record's"] == of_others
    assert len(wanted) >= 4
    if name.startswith("ashk"):
        assert of_others == 45, "records that were split keep the entries of their former ALTs"


def test_ann_entries_equal_a_plain_loop(real_data: Path, bcftools: str) -> None:
    path = real_data / "slivar-tests/test.vcf"
    wanted = set()
    for contig, position, _, value in _records(bcftools, path, "%INFO/ANN"):
        for entry in value.split(","):
            allele, effect, _, gene, _, _, feature = entry.split("|")[:7]
            if effect != "intergenic_region":
                wanted.add((contig, position, allele, effect, gene, feature))
    found = read_annotation(path, key="ANN")
    rows = found.rows.select("contig", "position", "alt", "consequence", "gene", "transcript")
    assert set(rows.iter_rows()) == wanted
    assert len(wanted) > 500
    assert any("," in alt for *_, alt in _records(bcftools, path)), "some record has several ALTs"
