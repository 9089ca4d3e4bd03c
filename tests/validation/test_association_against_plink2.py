"""Association against ``plink2 --glm`` (2.00a3.5, 2022): the same tests on real genotypes.

Linear regression must agree to the six digits that plink2 prints. Logistic and Firth regression stop by other criteria
(ours when no coefficient moves by 1e-8; plink2, in single precision, at about 1e-4), so effects agree within
0.002 standard errors, standard errors within 0.03 %. Two differences are meant: plink2 fits all ALTs of a record in one
model, here each is tested alone (the files have one ALT each); and plink2 calls some Firth fits UNFINISHED after its
25 steps (fewer than 5 %; it prints their figures), which converge here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from genomix.errors import LabelError
from genomix.io.phenotypes import read_covariates, read_phenotypes
from genomix.io.plink import GenotypeStore, open_store
from genomix.io.tables import read_expression_bed, read_qtltools_covariates
from genomix.schemas.association import TESTED
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.association import associate

pytestmark = [pytest.mark.external_tool, pytest.mark.real_data]

HALF_A_DIGIT = 5.001e-6
TINY = "pgscatalog-utils/pgscatalog.calc/tests"


class Case(NamedTuple):
    store: GenotypeStore
    prefix: Path
    traits: Path
    covariates: list[str]


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def write_table(path: Path, columns: dict[str, Any]) -> Path:
    pl.DataFrame(columns).write_csv(path, separator="\t", null_value="NA")
    return path


@pytest.fixture(scope="module")
def tiny(plink2: str, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """1000 Genomes, 1,004 variants with X, seeded phenotypes and covariates with gaps."""
    prefix = tmp_path_factory.mktemp("tiny") / "tiny"
    run(plink2, "--vcf", str(real_data / TINY / "data/vcf/tiny1000G.vcf.gz"), "--psam",
        str(real_data / TINY / "legacy/data/ref.psam"), "--make-pgen", "--out", str(prefix))  # fmt: skip
    store = open_store(prefix)
    rng = np.random.default_rng(5)
    n = store.n_samples
    gap = pl.Series(rng.random(n) < 0.1)
    columns = {
        "#IID": store.samples["sample_id"],
        "Q1": rng.normal(size=n), "Q2": pl.Series(rng.normal(size=n)).set(gap, None),
        "B1": 1 + (rng.random(n) < 0.2), "C1": rng.normal(size=n), "C2": 100 * rng.normal(size=n),
        "C3": pl.Series(rng.normal(size=n)).set(pl.Series(rng.random(n) < 0.05), -9.0),
    }  # fmt: skip
    return Case(store, prefix, write_table(prefix.with_suffix(".tsv"), columns), ["C1", "C2", "C3"])


@pytest.fixture(scope="module")
def mouse(plink2: str, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Mouse HS1940 with a measured phenotype, and whether it lies above its mean."""
    prefix = tmp_path_factory.mktemp("mouse") / "mouse"
    source = real_data / "gemma-mouse-hs1940/mouse_hs1940"
    run(plink2, "--bfile", str(source), "--make-pgen", "--out", str(prefix))
    rows = [line.split() for line in source.with_suffix(".fam").read_text().splitlines()]
    value = [None if r[5] == "NA" else float(r[5]) for r in rows]
    columns = {
        "#FID": [r[0] for r in rows], "IID": [r[1] for r in rows], "Q": value,
        "B": [None if v is None else 1 + int(v > 0) for v in value],
    }  # fmt: skip
    return Case(open_store(prefix), prefix, write_table(prefix.with_suffix(".tsv"), columns), [])


@pytest.fixture(scope="module")
def geuvadis(plink2: str, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """GEUVADIS: the expression of one gene, three genotype components, 12,000 variants around it."""
    folder = real_data / "geuvadis-chr22-qtltools"
    prefix = tmp_path_factory.mktemp("geuvadis") / "geuvadis"
    run(plink2, "--vcf", str(folder / "genotypes.chr22.vcf.gz"), "--chr", "22", "--to-bp", "24000000", "--make-pgen",
        "--out", str(prefix))  # fmt: skip
    expression = read_expression_bed(folder / "genes.50percent.chr22.bed.gz")
    gene = expression.values.columns[1]
    components = read_qtltools_covariates(folder / "genes.covariates.pc50.txt.gz")
    frame = expression.values.select("sample_id", pl.col(gene).alias("Q")).join(
        components.select("sample_id", *[c for c in components.columns if c.startswith("genotypes")]), on="sample_id"
    )
    table = write_table(prefix.with_suffix(".tsv"), frame.rename({"sample_id": "#IID"}).to_dict())
    return Case(open_store(prefix), prefix, table, frame.columns[2:])


def glm(plink2: str, case: Case, phenotype: str, *modifiers: str) -> pl.DataFrame:
    out = case.prefix.with_name("glm_" + "_".join([phenotype, *modifiers]))
    covariates = ["--covar", str(case.traits), "--covar-name", ",".join(case.covariates)] if case.covariates else []
    free = [] if case.covariates else ["allow-no-covars"]
    run(plink2, "--pfile", str(case.prefix), "--pheno", str(case.traits), "--pheno-name", phenotype, *covariates,
        "--glm", *modifiers, *free, "omit-ref", "hide-covar", "log10", "cols=+a1count,+totallele,+a1freq,+nobs,+firth",
        "--out", str(out))  # fmt: skip
    (found,) = out.parent.glob(f"{out.name}.{phenotype}.glm.*")
    return pl.read_csv(
        found, separator="\t", null_values=["NA"], infer_schema_length=None, schema_overrides={"#CHROM": pl.String}
    )


def ours(case: Case, phenotype: str, **options: Any) -> pl.DataFrame:
    covariates = read_covariates(case.traits, case.covariates) if case.covariates else None
    return associate(
        case.store, read_phenotypes(case.traits, [phenotype]), covariates=covariates,
        options=AssociationOptions(min_allele_count=0, **options),
    ).table  # fmt: skip


def relative(expected: pl.Series, found: pl.Series, *, least: float = 0.0) -> float:
    """Largest relative difference where plink2 has a value of at least ``least``; a value missing on one side fails."""
    x, y = (s.cast(pl.Float64).fill_null(float("nan")).to_numpy() for s in (expected, found))
    assert np.array_equal(np.isnan(x), np.isnan(y))
    at = np.abs(x) > least
    return float((np.abs(x - y)[at] / np.abs(x)[at]).max())


@pytest.mark.parametrize(("name", "phenotype"), [("tiny", "Q1"), ("tiny", "Q2"), ("mouse", "Q"), ("geuvadis", "Q")])
def test_linear_to_printed_precision(name: str, phenotype: str, plink2: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    expected, found = glm(plink2, case, phenotype), ours(case, phenotype)
    assert expected["ID"].to_list() == found["variant_id"].to_list()
    assert found.height > 1000
    for theirs, mine in (("A1", "a1"), ("OBS_CT", "n_observed"), ("ALLELE_CT", "allele_count"), ("ERRCODE", "errcode")):
        assert expected[theirs].cast(pl.String).to_list() == found[mine].cast(pl.String).to_list(), theirs
    for theirs, mine in (
        ("A1_CT", "a1_count"), ("A1_FREQ", "a1_frequency"), ("BETA", "beta"), ("SE", "se"), ("T_STAT", "statistic"),
    ):  # fmt: skip
        assert relative(expected[theirs], found[mine]) < HALF_A_DIGIT, theirs
    # near P = 1 plink2's own -log10(P) is a difference of nearly equal numbers
    assert relative(expected["LOG10_P"], found["minus_log10_p"], least=0.01) < HALF_A_DIGIT


@pytest.mark.parametrize(
    ("name", "phenotype", "model"), [("tiny", "B1", "logistic"), ("tiny", "B1", "firth"), ("mouse", "B", "logistic")]
)
def test_logistic_and_firth_within_tolerance(
    name: str, phenotype: str, model: str, plink2: str, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    expected = glm(plink2, case, phenotype, *(["firth"] if model == "firth" else []))
    found = ours(case, phenotype, model=model)
    assert expected["ID"].to_list() == found["variant_id"].to_list()
    assert expected["OBS_CT"].to_list() == found["n_observed"].to_list()
    both = (expected["ERRCODE"] == TESTED) & (found["errcode"] == TESTED)
    given_up = expected["ERRCODE"] == "UNFINISHED"
    differ = expected.filter(~given_up)["ERRCODE"].to_list(), found.filter(~given_up)["errcode"].to_list()
    assert differ[0] == differ[1]
    assert given_up.sum() < 0.05 * len(given_up)
    assert (found.filter(given_up)["errcode"] == TESTED).all()
    if "FIRTH?" in expected.columns:
        assert (expected["FIRTH?"] == "Y").to_list() == (found["model"] == "firth").to_list()
    theirs, mine = expected.filter(both), found.filter(both)
    in_se = np.abs(np.log(theirs["OR"].to_numpy()) - mine["beta"].to_numpy()) / mine["se"].to_numpy()
    assert in_se.max() < 2e-3
    assert relative(theirs["LOG(OR)_SE"], mine["se"]) < 3e-4
    z = np.abs(theirs["Z_STAT"].to_numpy() - mine["statistic"].to_numpy())
    assert z.max() < 2e-3
    assert relative(theirs["LOG10_P"], mine["minus_log10_p"], least=0.05) < 4e-3


@pytest.mark.parametrize("model", ["auto", "firth"])
def test_covariates_that_separate_leave_firth(model: str, plink2: str, tiny: Case, tmp_path: Path) -> None:
    """A covariate that only cases have: no logistic estimate exists, PLINK 2 fits Firth's from zero."""
    prefix = tmp_path / "tiny"
    for suffix in (".pgen", ".pvar", ".psam"):
        prefix.with_suffix(suffix).symlink_to(tiny.prefix.with_suffix(suffix))
    at = np.arange(tiny.store.n_samples)
    columns = {
        "#IID": tiny.store.samples["sample_id"], "B": 1 + at % 2, "C1": (at % 6 == 1).astype(float),
        "C2": np.random.default_rng(8).normal(size=len(at)),
    }  # fmt: skip
    case = Case(open_store(prefix), prefix, write_table(tmp_path / "t.tsv", columns), ["C1", "C2"])
    expected = glm(plink2, case, "B", *(["firth"] if model == "firth" else []))
    found = ours(case, "B", model=model)
    tested = (expected["ERRCODE"] == TESTED).to_numpy()
    assert tested.sum() > 500
    theirs, mine = expected.filter(tested), found.filter(tested)
    assert (mine["errcode"] == TESTED).all()
    assert (mine["model"] == "firth").all()
    in_se = np.abs(np.log(theirs["OR"].to_numpy()) - mine["beta"].to_numpy()) / mine["se"].to_numpy()
    assert in_se.max() < 2e-2
    assert relative(theirs["LOG(OR)_SE"], mine["se"]) < 3e-3
    with pytest.raises(LabelError, match="separate cases from controls"):
        ours(case, "B", model="logistic", firth_fallback=False)


def test_covariate_gaps_written_minus_nine_are_gaps(tiny: Case) -> None:
    gaps = sum(line.split("\t")[6] == "-9.0" for line in tiny.traits.read_text().splitlines())
    assert gaps > 50
    assert ours(tiny, "Q1")["n_observed"].max() == tiny.store.n_samples - gaps
