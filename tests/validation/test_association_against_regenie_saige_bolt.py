"""Association beside the example outputs of regenie, SAIGE and BOLT-LMM: other methods, so what must agree is stated.

regenie (``test_bin_out_firth_Y1.regenie``: 494 samples, three covariates, ``--firth --approx --pThresh 0.01``): with
the score test, approximate Firth regression and the likelihood ratio, everything is reproduced, although the folder
lacks step 1's predictions: score statistics without any offset give its figures to the last printed digit, so they were
nothing here. With PLINK 2's way instead (Wald, full Firth) -log10 P correlates above 0.999.

SAIGE (binary trait, 1,000 of 10,000 samples, two covariates): allele counts and cases are equal. It fits a mixed model
with a kinship matrix from other markers and a variance ratio, and saddlepoint P values; effects are score-based, far
from maximum likelihood for the rarest alleles. -log10 P correlates above 0.99; standard errors agree within 2 % in the
median.

BOLT-LMM (quantity, 366 samples, category and two quantitative covariates): people and frequencies are equal, which
needs its rules for missing values (NA and -9, also in the category). Its file has no LINREG column; BETA and SE are of
the infinitesimal mixed model, whose residual variance is smaller. Effects correlate above 0.95.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.phenotypes import read_covariates, read_phenotypes
from genomix.io.plink import GenotypeStore, open_store
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.association import associate

pytestmark = [pytest.mark.external_tool, pytest.mark.real_data]


@pytest.fixture(scope="module")
def filesets(plink2: str, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GenotypeStore]:
    """The three folders' PLINK 1 filesets."""
    folder = tmp_path_factory.mktemp("filesets")
    sources = {
        "regenie": "regenie-example/example",
        "saige": "saige-extdata/input/genotype_100markers",
        "bolt": "bolt-lmm-1000g-eur/EUR_subset",
    }
    for name, source in sources.items():
        command = [plink2, "--bfile", str(real_data / source), "--make-pgen", "--out", str(folder / name)]
        subprocess.run(command, check=True, capture_output=True)
    return {name: open_store(folder / name) for name in sources}


def without(store: GenotypeStore, path: Path) -> list[int]:
    """Samples that a --remove file does not name."""
    removed = {line.split()[1] for line in path.read_text().splitlines()}
    return [i for i, name in enumerate(store.samples["sample_id"].to_list()) if name not in removed]


def joined(theirs: pl.DataFrame, ours: pl.DataFrame, allele: str) -> pl.DataFrame:
    """Both tools' rows, ours turned to the other's allele."""
    both = theirs.join(ours, on="variant_id", how="left", maintain_order="left")
    assert both["a1"].null_count() == 0
    same = pl.col(allele).cast(pl.String) == pl.col("a1")
    return both.with_columns(
        pl.when(same).then(pl.col("beta")).otherwise(-pl.col("beta")).alias("beta"),
        pl.when(same).then(pl.col("a1_frequency")).otherwise(1 - pl.col("a1_frequency")).alias("frequency"),
    )


def correlation(one: pl.Series, other: pl.Series) -> float:
    return float(np.corrcoef(one.to_numpy(), other.to_numpy())[0, 1])


def largest(values: pl.Series) -> float:
    return float(values.abs().max())  # type: ignore[arg-type]  # a Float64 column


def regenie_rows(filesets: dict[str, GenotypeStore], real_data: Path, options: AssociationOptions) -> pl.DataFrame:
    folder, store = real_data / "regenie-example", filesets["regenie"]
    theirs = pl.read_csv(folder / "test_bin_out_firth_Y1.regenie", separator=" ", null_values=["NA"])
    found = associate(
        store,
        read_phenotypes(folder / "phenotype_bin.txt", ["Y1"]),
        covariates=read_covariates(folder / "covariates.txt"),
        samples=without(store, folder / "fid_iid_to_remove.txt"),
        options=options,
    ).table
    both = joined(theirs.with_columns(pl.col("ID").cast(pl.String).alias("variant_id")), found, "ALLELE1")
    assert both.height == 1000
    assert both["N"].to_list() == both["n_observed"].to_list()
    assert largest(both["frequency"] - both["A1FREQ"]) < 5.001e-7
    return both


def test_regenie_as_regenie_does(filesets: dict[str, GenotypeStore], real_data: Path) -> None:
    both = regenie_rows(filesets, real_data, AssociationOptions(
        min_allele_count=0, logistic_test="score", firth_p=0.01, firth_test="likelihood_ratio", firth_approximate=True,
    ))  # fmt: skip
    score, firth = both.filter(pl.col("model") == "logistic"), both.filter(pl.col("model") == "firth")
    assert score.height > 950
    assert firth.height > 10
    for theirs, mine in (("BETA", "beta"), ("SE", "se"), ("LOG10P", "minus_log10_p")):
        assert largest((score[theirs] - score[mine]) / score[theirs]) < 5.1e-6, theirs
    assert (firth["LOG10P"] > 1.5).all()
    for theirs, mine in (("BETA", "beta"), ("SE", "se"), ("LOG10P", "minus_log10_p")):
        assert largest((firth[theirs] - firth[mine]) / firth[theirs]) < 1e-3, theirs


def test_regenie_as_plink_does(filesets: dict[str, GenotypeStore], real_data: Path) -> None:
    both = regenie_rows(
        filesets, real_data, AssociationOptions(min_allele_count=0, firth_p=0.01, firth_test="likelihood_ratio")
    )
    assert correlation(both["beta"], both["BETA"]) > 0.999
    assert correlation(both["minus_log10_p"], both["LOG10P"]) > 0.9995
    assert largest(both["minus_log10_p"] - both["LOG10P"]) < 0.1


def test_saige(filesets: dict[str, GenotypeStore], real_data: Path) -> None:
    folder = real_data / "saige-extdata"
    traits = folder / "input/pheno_1000samples.txt"
    found = associate(
        filesets["saige"], read_phenotypes(traits, ["y"]), covariates=read_covariates(traits, ["x1", "x2"]),
        options=AssociationOptions(min_allele_count=0),
    ).table  # fmt: skip
    theirs = pl.read_csv(folder / "output/genotype_100markers_marker_plink.txt", separator="\t")
    both = joined(theirs.rename({"MarkerID": "variant_id"}), found, "Allele2")
    assert both.height == 32
    assert (both["N_case"] == both["n_cases"]).all()
    assert (both["N_case"] + both["N_ctrl"] == both["n_observed"]).all()
    assert largest(both["frequency"] - both["AF_Allele2"]) < 5.001e-7
    assert correlation(both["minus_log10_p"], -both["p.value"].log10()) > 0.99
    assert correlation(both["beta"], both["BETA"]) > 0.95
    assert abs(float(np.median(both["se"] / both["SE"])) - 1) < 0.02


def test_bolt(filesets: dict[str, GenotypeStore], real_data: Path) -> None:
    folder, store = real_data / "bolt-lmm-1000g-eur", filesets["bolt"]
    traits = folder / "EUR_subset.pheno2.covars"
    result = associate(
        store, read_phenotypes(traits, ["PHENO"]), covariates=read_covariates(traits, ["QCOV1", "QCOV2", "CAT_COV"]),
        samples=without(store, folder / "EUR_subset.remove"), options=AssociationOptions(min_allele_count=0),
    )  # fmt: skip
    assert result.summary["samples"]["PHENO"] == {"no_phenotype": 4, "no_covariate": 3, "tested": 366}
    theirs = pl.read_csv(folder / "example.stats", separator="\t").rename({"SNP": "variant_id"})
    both = joined(theirs, result.table, "ALLELE1")
    assert both.height == 5475
    assert largest(both["frequency"] - both["A1FREQ"]) < 5.001e-7
    constant = both.filter(pl.col("errcode") != ".")
    assert constant["errcode"].to_list() == ["CONST_OMITTED_ALLELE"]
    tested = both.filter(pl.col("errcode") == ".")
    assert correlation(tested["beta"], tested["BETA"]) > 0.95
    assert 1.0 < float(np.median(tested["se"] / tested["SE"])) < 1.08
