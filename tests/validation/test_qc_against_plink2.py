"""Figures of variants and samples against plink2 on real genotypes, to the six digits that it prints.

Last run with PLINK v2.00a3.5 (9 Aug 2022), which has no ``--check-sex``: F on X is checked by a loop there.
plink2's ``--hardy`` on X tests females and males together; the female-only mid-p is in its ``femalep`` column.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.contigs import PloidyClass
from genomix.io.plink import GenotypeStore, open_store
from genomix.variants.genotype_counts import count_genotypes, store_ploidy_classes
from genomix.variants.qc import VariantThresholds, variant_qc
from genomix.variants.sample_qc import sample_qc

pytestmark = [pytest.mark.real_data, pytest.mark.external_tool]

PGS = "pgscatalog-utils/pgscatalog.calc/tests"
NAMES = ["tiny", "mouse", "geuvadis"]


def call(plink2: str, *arguments: str) -> None:
    done = subprocess.run(
        [plink2, "--threads", "1", "--memory", "2000", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", infer_schema_length=None, null_values=["nan", "NA"])


def agree(found: pl.Series, printed: pl.Series) -> None:
    """Equal to six significant digits, and absent together."""
    ours, peer = found.to_numpy().astype(float), printed.to_numpy().astype(float)
    assert (np.isnan(ours) == np.isnan(peer)).all()
    np.testing.assert_allclose(ours, peer, rtol=6e-6, atol=1e-12)


@pytest.fixture(scope="module")
def stores(real_data: Path, plink2: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GenotypeStore]:
    folder = tmp_path_factory.mktemp("filesets")
    sources = {
        "tiny": [
            "--vcf",
            f"{PGS}/data/vcf/tiny1000G.vcf.gz",
            "--psam",
            f"{PGS}/legacy/data/ref.psam",
            "--split-par",
            "hg38",
        ],
        "geuvadis": ["--vcf", "geuvadis-chr22-qtltools/genotypes.chr22.vcf.gz"],
        "mouse": ["--bfile", "gemma-mouse-hs1940/mouse_hs1940", "--sort-vars"],
    }
    found = {}
    for name, (flag, path, *rest) in sources.items():
        rest = [str(real_data / r) if r.endswith(".psam") else r for r in rest]
        names = ["--set-all-var-ids", "@:#:$r:$a", "--new-id-max-allele-len", "200"]
        call(plink2, flag, str(real_data / path), *rest, *names, "--make-pgen", "--out", str(folder / name))
        found[name] = open_store(folder / name)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_variants(name: str, stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path) -> None:
    store = stores[name]
    call(
        plink2, "--pfile", str(store.prefix), "--freq", "--missing", "variant-only", "--hardy", "midp",
        "cols=chrom,pos,ref,alt,gcounts,femalep,p", "--nonfounders", "--out", str(tmp_path / "peer"),
    )  # fmt: skip
    quality = variant_qc(store)
    assert not store.variants["record"].is_duplicated().any()
    frequency = table(tmp_path / "peer.afreq")
    agree(quality["alt_frequency"], frequency["ALT_FREQS"])
    assert quality["allele_count"].to_list() == frequency["OBS_CT"].to_list()
    missing = table(tmp_path / "peer.vmiss")
    assert quality["n_called"].to_list() == (missing["OBS_CT"] - missing["MISSING_CT"]).to_list()
    agree(1 - quality["call_rate"], missing["F_MISS"])
    classes = store_ploidy_classes(store)
    autosomal = pl.Series(classes == PloidyClass.AUTOSOME)
    hardy = table(tmp_path / "peer.hardy").filter(pl.col("#CHROM").cast(pl.String) != "PAR1")
    own = quality.filter(autosomal)
    hardy = hardy.filter(hardy["ID"].is_in(own["variant_id"].to_list()))
    agree(own["hwe_p"], hardy["MIDP"])
    assert own["n_het"].to_list() == hardy["HET_A1_CT"].to_list()
    on_x = quality.filter(pl.Series(classes == PloidyClass.X))
    if on_x.height:
        agree(on_x["hwe_p"], table(tmp_path / "peer.hardy.x")["FEMALE_ONLY_MIDP"])
    assert on_x.height == (36 if name == "tiny" else 0)


@pytest.mark.parametrize("name", NAMES)
def test_samples(name: str, stores: dict[str, GenotypeStore], plink2: str, tmp_path: Path) -> None:
    store = stores[name]
    call(
        plink2, "--pfile", str(store.prefix), "--autosome", "--het", "--missing", "sample-only", "--nonfounders",
        "--sample-counts", "cols=hom,homref,homalt,het,ts,tv,single,missing", "--out", str(tmp_path / "peer"),
    )  # fmt: skip
    quality = sample_qc(store)
    counts = table(tmp_path / "peer.scount")
    for ours, peer in (
        ("n_het", "HET_CT"),
        ("n_hom_alt", "HOM_ALT_CT"),
        ("n_transitions", "TRANSITION_CT"),
        ("n_transversions", "TRANSVERSION_CT"),
        ("n_singletons", "SINGLETON_CT"),
    ):
        assert quality[ours].to_list() == counts[peer].to_list(), ours
    missing = table(tmp_path / "peer.smiss")
    agree(1 - quality["call_rate"], missing["F_MISS"])
    het = table(tmp_path / "peer.het")
    agree(quality["heterozygosity_f"], het["F"])


def test_f_on_x_equals_a_loop(stores: dict[str, GenotypeStore]) -> None:
    """Frequencies with one copy per male, expected heterozygotes 2p(1 - p) over the called."""
    store = stores["tiny"]
    rows = np.flatnonzero(store_ploidy_classes(store) == PloidyClass.X)
    calls, sex = store.read_calls(rows), store.samples["sex"].to_numpy()
    found = sample_qc(store)["x_f"].to_numpy()
    p = count_genotypes(store, variants=rows).alt_frequency
    for v in range(len(rows)):
        males = [int(c) // 2 for c in calls[v, sex == 1] if c in (0, 2)]
        others = [int(c) for c in calls[v, sex != 1] if c >= 0]
        assert p[v] == pytest.approx((sum(males) + sum(others)) / (len(males) + 2 * len(others)))
    for s in range(0, store.n_samples, 97):
        called = calls[:, s] >= 0
        expected = float((2 * p * (1 - p))[called].sum())
        assert found[s] == pytest.approx(1 - float((calls[called, s] == 1).sum()) / expected)
    assert np.median(found[sex == 1]) == 1.0
    assert np.median(found[sex == 2]) < 0.5


def test_ancestry_labels_change_what_hardy_weinberg_removes(stores: dict[str, GenotypeStore]) -> None:
    store = stores["tiny"]
    within = variant_qc(store, VariantThresholds(maf=None), ancestry=store.samples["SuperPop"])
    afr = np.flatnonzero(store.samples["SuperPop"].cast(pl.String) == "AFR")
    alone = variant_qc(store, VariantThresholds(maf=None), samples=afr)
    assert within["hwe_p"].equals(alone["hwe_p"])
    assert not within["hwe_p"].equals(variant_qc(store)["hwe_p"])


def test_heterozygous_calls_of_one_copy(plink2: str, tmp_path: Path) -> None:
    """No call here, as in plink2's ``--geno-counts``; half a copy of each allele in its ``--freq`` on X and MT."""
    men, women = ["0/0", "0/0", "1/1", "1/1", "0/1", "./."], ["0/0", "0/1", "0/1", "1/1", "0/1", "0/0"]
    people = [f"s{i}" for i in range(12)]
    head = "##fileformat=VCFv4.2\n##contig=<ID=X,length=156040895>\n##contig=<ID=MT,length=16569>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">\n'
    head += "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *people]) + "\n"
    rows = [
        "\t".join([contig, place, f"v{contig}", "A", "G", ".", ".", ".", "GT", *men, *women])
        for contig, place in (("X", "10000000"), ("MT", "100"))
    ]
    (tmp_path / "x.vcf").write_text(head + "\n".join(rows) + "\n")
    (tmp_path / "sex").write_text("#IID\tSEX\n" + "".join(f"{n}\t{1 + (i > 5)}\n" for i, n in enumerate(people)))
    out = str(tmp_path / "x")
    call(plink2, "--vcf", f"{out}.vcf", "--update-sex", str(tmp_path / "sex"), "--make-pgen", "--out", out)
    call(plink2, "--pfile", out, "--geno-counts", "--freq", "--missing", "--hardy", "midp", "--out", out)
    found = count_genotypes(open_store(tmp_path / "x"))
    counts = table(tmp_path / "x.gcount")
    assert found.one_ref.tolist() == counts["HAP_REF_CT"].to_list() == [2, 4]
    assert found.one_alt.tolist() == counts["HAP_ALT_CTS"].to_list() == [2, 3]
    assert (found.n_eligible - found.n_called).tolist() == counts["MISSING_CT"].to_list() == [2, 5]
    assert table(tmp_path / "x.vmiss")["MISSING_CT"].to_list() == [1, 1], "called, by plink2's --missing"
    halves = [(found.alt_count[i] + n / 2) / (found.allele_count[i] + n) for i, n in enumerate((1, 4))]
    assert table(tmp_path / "x.afreq")["ALT_FREQS"].to_list() == pytest.approx(halves, abs=1e-6)
    ours = variant_qc(open_store(tmp_path / "x"), VariantThresholds())["hwe_p"][0]
    assert ours == pytest.approx(0.6969697, abs=1e-6)
    assert table(tmp_path / "x.hardy.x")["MIDP"][0] == pytest.approx(0.874126, abs=1e-6)
