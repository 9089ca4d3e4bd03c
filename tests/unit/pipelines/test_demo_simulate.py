"""The demo's SIMULATED inputs: determinism, truth that can be recovered, and the oddities that they promise."""

from __future__ import annotations

import gzip
import json
import math
import os
import runpy
import subprocess
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from genomix.errors import ConfigError, FormatError, InputNotFoundError, OutputError, TruncatedInputError
from genomix.provenance import sha256_file, sha256_tree
from genomix.schemas.events import EVENTS
from genomix_pipelines.demo import bundled
from genomix_pipelines.demo.effects import AGE, CAUSAL, NULLS, OUTCOME, PROXIES, SCORE, TRAPS, true_effects
from genomix_pipelines.demo.genotype_text import read_snvs, subset_vcf
from genomix_pipelines.demo.simulate import DemoTruth, simulate_demo

ROOT = Path(__file__).resolve().parents[3]
Floats = npt.NDArray[np.float64]
SYMBOLS = [e.symbol for e in CAUSAL]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoTruth]:
    out = tmp_path_factory.mktemp("demo") / "full"
    return out, simulate_demo(out, seed=0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoTruth]:
    out = tmp_path_factory.mktemp("demo") / "small"
    return out, simulate_demo(out, seed=0, n_subjects=300)


def read_events(out: Path) -> pl.DataFrame:
    return EVENTS.validate(pl.read_parquet(out / "records" / "data" / "*.parquet"))


def known_events(out: Path, truth: DemoTruth) -> pl.DataFrame:
    """Events that count at the prediction time, and the prediction time."""
    index = truth.people.select("subject_id", pl.col("index_time").cast(pl.Datetime("us")))
    events = read_events(out).join(index, on="subject_id")
    return events.filter(pl.col("time") <= pl.col("index_time"), pl.col("available_time") <= pl.col("index_time"))


def fit_logistic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Maximum-likelihood coefficients and standard errors (intercept first), by Newton's method."""
    design = np.column_stack([np.ones(len(y)), x])
    beta = np.zeros(design.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        information = design.T @ (design * (p * (1 - p))[:, None])
        beta = beta + np.linalg.solve(information, design.T @ (y - p))
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))


def auroc(y: Floats, risk: Floats) -> float:
    ranks = np.empty(len(y))
    ranks[np.argsort(risk, kind="stable")] = np.arange(1, len(y) + 1)
    n1 = y.sum()
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


# --- determinism -----------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_bytes_in_another_process(small: tuple[Path, DemoTruth], tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from genomix_pipelines.demo.simulate import simulate_demo;"
        "simulate_demo(Path(sys.argv[1]), seed=0, n_subjects=300)"
    )
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "cli", "pipelines"))
    odd = {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "POLARS_MAX_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "again")], check=True, env=os.environ | odd)
    assert sha256_tree(tmp_path / "again") == sha256_tree(small[0])


def test_another_seed_changes_records_and_weights(small: tuple[Path, DemoTruth], tmp_path: Path) -> None:
    simulate_demo(tmp_path / "other", seed=1, n_subjects=300)
    for name in ("score_weights.tsv", "link.csv", "records/data/0.parquet"):
        assert sha256_file(tmp_path / "other" / name) != sha256_file(small[0] / name)


def test_writing_again_is_allowed_for_equal_parameters_only(tmp_path: Path) -> None:
    simulate_demo(tmp_path, seed=0, n_subjects=20)
    before = sha256_tree(tmp_path)
    simulate_demo(tmp_path, seed=0, n_subjects=20)
    assert sha256_tree(tmp_path) == before
    with pytest.raises(OutputError, match="other parameters"):
        simulate_demo(tmp_path, seed=1, n_subjects=20)
    assert sha256_tree(tmp_path) == before


def test_small_form_holds_people_of_the_full_form(full: tuple[Path, DemoTruth], small: tuple[Path, DemoTruth]) -> None:
    both = full[1].people.join(small[1].people.select("sample_id"), on="sample_id", how="semi")
    assert both.equals(small[1].people)
    assert small[1].people.height == 300


# --- the truth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_logistic_regression_on_latent_values_recovers_the_effects(seed: int, tmp_path: Path) -> None:
    truth = simulate_demo(tmp_path, seed=seed)
    people = truth.people
    x = people.select(*SYMBOLS, "sex").to_numpy().astype(float)
    beta, error = fit_logistic(x, people["disease"].to_numpy().astype(float))
    expected = [truth.intercept, *(e.log_odds for e in CAUSAL), 0.0]
    z = (beta - expected) / error
    assert np.abs(z).max() < 3, dict(zip(["intercept", *SYMBOLS, "sex"], z.round(2).tolist(), strict=True))
    assert error[1:].max() < 0.35


def test_effects_are_the_published_figures() -> None:
    ratios = {e.name: math.exp(e.log_odds) for e in CAUSAL}
    assert ratios["LAB//non_hdl_cholesterol"] == pytest.approx(1.50)
    assert ratios["LAB//hdl_cholesterol"] == pytest.approx(0.78)
    assert ratios["LAB//c_reactive_protein"] == pytest.approx(1.37)
    assert ratios["DIAGNOSIS//type_2_diabetes"] == pytest.approx(2.00)
    assert ratios[SCORE] == pytest.approx(1.71)
    assert ratios[AGE] == pytest.approx(math.sqrt(21.35 * 10.27), rel=1e-3)
    assert ratios["OBSERVATION//current_smoker"] == pytest.approx(math.sqrt(1.92 * 1.70), rel=5e-3)
    assert all(e.source.startswith("https://doi.org/10.") for e in CAUSAL)


def test_scales_multiply_what_they_name() -> None:
    score = next(e.symbol for e in CAUSAL if e.name == SCORE)
    plain = true_effects()
    assert set(true_effects(scale_all=0).values()) == {0.0}
    halved = true_effects(scale_records=0.5)
    assert halved[score] == plain[score]
    assert all(halved[s] == plain[s] / 2 for s in plain if s != score)


def test_discrimination_lies_where_the_demo_needs_it(full: tuple[Path, DemoTruth]) -> None:
    people = full[1].people
    y = people["disease"].to_numpy().astype(float)
    with_score = people["linear_predictor"].to_numpy()
    without = with_score - full[1].effects["z_score"] * people["z_score"].to_numpy()
    assert 0.75 < auroc(y, with_score) < 0.81
    assert 0.02 < auroc(y, with_score) - auroc(y, without) < 0.05
    assert 0.20 < y.mean() < 0.26


def test_records_carry_the_signal(full: tuple[Path, DemoTruth]) -> None:
    """A linear model on what the records tell is nearly as good as the truth, so a study can find it."""
    out, truth = full
    events = known_events(out, truth)
    table = truth.people.select("subject_id", "age_years", "disease", "z_score")
    for code in ("LAB//non_hdl_cholesterol", "LAB//hdl_cholesterol", "LAB//c_reactive_protein"):
        value = in_first_unit(events.filter(code=code))
        mean = value.group_by("subject_id").agg(pl.col("value").log().mean().alias(code))
        table = table.join(mean, on="subject_id", how="left").with_columns(pl.col(code).fill_null(pl.col(code).mean()))
    for code in ("DIAGNOSIS//type_2_diabetes", "OBSERVATION//current_smoker"):
        has = events.filter(code=code)["subject_id"].unique().implode()
        table = table.with_columns(pl.col("subject_id").is_in(has).cast(pl.Float64).alias(code))
    y = table["disease"].to_numpy().astype(float)
    x = table.drop("subject_id", "disease").with_columns(pl.col("age_years").log()).to_numpy()
    beta, _ = fit_logistic(x, y)
    assert 0.74 < auroc(y, x @ beta[1:]) < 0.80


def test_without_effect_the_score_is_worthless_and_nothing_else_moves(tmp_path: Path, small: tuple[Path, Any]) -> None:
    truth = simulate_demo(tmp_path, seed=0, score_effect=0)
    beta, error = fit_logistic(
        truth.people.select(SYMBOLS).to_numpy().astype(float), truth.people["disease"].to_numpy().astype(float)
    )
    score = SYMBOLS.index("z_score") + 1
    assert abs(beta[score]) < 3 * error[score]
    assert beta[SYMBOLS.index("ln_age") + 1] > 5 * error[SYMBOLS.index("ln_age") + 1]
    assert sha256_file(tmp_path / "score_weights.tsv") == sha256_file(small[0] / "score_weights.tsv")


def test_null_study_depends_on_nothing(tmp_path: Path) -> None:
    truth = simulate_demo(tmp_path, seed=0, effects=0)
    people = truth.people
    assert people["probability"].max() == pytest.approx(0.24)
    assert people["probability"].min() == pytest.approx(0.24)
    events = known_events(tmp_path, truth).filter(~pl.col("code").str.contains("SIMULATED"))
    counts = events.group_by("subject_id", "code").len().pivot(on="code", index="subject_id", values="len")
    means = (
        events.filter(pl.col("numeric_value").is_not_null(), pl.col("unit").is_not_null())
        .group_by("subject_id", pl.format("{} {}", "code", "unit").alias("what"))
        .agg(pl.col("numeric_value").mean())
        .pivot(on="what", index="subject_id", values="numeric_value")
    )
    table = people.select("subject_id", "disease", "sex", *SYMBOLS).join(counts.fill_null(0), on="subject_id")
    table = table.join(means, on="subject_id", how="left")
    for name in table.columns[2:]:
        pair = table.select("disease", name).drop_nulls().to_numpy().astype(float)
        if pair[:, 1].std() == 0:
            continue
        r = np.corrcoef(pair[:, 0], pair[:, 1])[0, 1]
        assert abs(r) * math.sqrt(len(pair)) < 4, name


def test_truth_file_names_every_code_of_the_records(full: tuple[Path, DemoTruth]) -> None:
    truth = json.loads((full[0] / "truth.json").read_text())
    codes = set(read_events(full[0])["code"].unique())
    assert codes - {"MEDS_BIRTH", "MEDS_DEATH", "GENDER//F", "GENDER//M"} <= set(truth["features"])
    assert {n for n, f in truth["features"].items() if f["log_odds"] != 0} == {e.name for e in CAUSAL}
    kinds = {n: f["kind"] for n, f in truth["features"].items()}
    assert len(kinds) == len(CAUSAL) + len(PROXIES) + len(NULLS) + len(TRAPS)
    assert truth["n_people"] == 3_202
    text = (full[0] / "truth.json").read_text()
    assert "HG00096" not in text
    assert "SIMULATED" in text


# --- genotypes and score ---------------------------------------------------------------------------------------------


def test_bundled_files_are_what_origin_says() -> None:
    stated = (bundled.data_folder() / "ORIGIN.md").read_text()
    for name in ("tiny1000G.vcf.gz", "people.tsv", "LICENSE-pygscatalog.txt", "small_samples.tsv"):
        assert f"`{sha256_file(bundled.data_folder() / name)}`" in stated
    assert sha256_file(bundled.genotypes_path()) == bundled.GENOTYPES_SHA256


def test_full_form_copies_the_bundled_genotypes(full: tuple[Path, DemoTruth]) -> None:
    assert sha256_file(full[0] / "genotypes.vcf.gz") == bundled.GENOTYPES_SHA256


@cache
def read_with_cyvcf2(path: Path) -> tuple[list[str], dict[tuple[str, int, str, str], list[list[int]]]]:
    from cyvcf2 import VCF

    vcf = VCF(str(path))
    rows = {(v.CHROM, v.POS, v.REF, ",".join(v.ALT)): [g[:-1] for g in v.genotypes] for v in vcf}
    return list(vcf.samples), rows


def test_small_vcf_is_the_large_one_with_fewer_columns(small: tuple[Path, DemoTruth]) -> None:
    path = small[0] / "genotypes.vcf.gz"
    samples, rows = read_with_cyvcf2(path)
    all_samples, all_rows = read_with_cyvcf2(bundled.genotypes_path())
    column = [all_samples.index(s) for s in samples]
    assert samples == small[1].people["sample_id"].to_list()
    assert list(rows) == list(all_rows)
    assert len(rows) == 1_004
    assert all(calls == [all_rows[key][c] for c in column] for key, calls in rows.items())
    data = path.read_bytes()
    assert data[12:16] == b"BC\x02\x00"
    assert data.endswith(bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"))


def test_text_reader_counts_like_cyvcf2() -> None:
    snvs = read_snvs(bundled.genotypes_path())
    _, rows = read_with_cyvcf2(bundled.genotypes_path())
    expected = {k: [sum(g) for g in v] for k, v in rows.items() if k[0] != "X" and len(k[2]) == len(k[3]) == 1}
    keys = zip(snvs.contig, snvs.position.tolist(), snvs.ref, snvs.alt, strict=True)
    assert {k: d.tolist() for k, d in zip(keys, snvs.dosage, strict=True)} == expected


@pytest.mark.parametrize(
    ("calls", "message"), [("0|1\t.|.", "missing"), ("0|1\t1", "diploid"), ("0|2\t0|0", "third allele")]
)
def test_text_reader_refuses_other_forms(calls: str, message: str, tmp_path: Path) -> None:
    head = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    path = tmp_path / "odd.vcf"
    path.write_text(head + f"1\t5\t.\tA\tG\t.\t.\t.\tGT\t{calls}\n")
    with pytest.raises(FormatError, match=message) as raised:
        read_snvs(path)
    assert raised.value.where == f"{path}:3"


def test_wrong_genotypes_are_refused(tmp_path: Path) -> None:
    few = tmp_path / "few.vcf.gz"
    few.write_bytes(subset_vcf(bundled.genotypes_path(), ["HG00096", "HG00097"]))
    with pytest.raises(FormatError, match="not those of the bundled"):
        simulate_demo(tmp_path / "out", seed=0, genotypes=few)
    cut = tmp_path / "cut.vcf.gz"
    cut.write_bytes(bundled.genotypes_path().read_bytes()[:200_000])
    with pytest.raises(TruncatedInputError):
        simulate_demo(tmp_path / "out", seed=0, genotypes=cut)
    with pytest.raises(InputNotFoundError):
        simulate_demo(tmp_path / "out", seed=0, genotypes=tmp_path / "none.vcf.gz")
    with pytest.raises(FormatError, match="not in the file"):
        subset_vcf(bundled.genotypes_path(), ["HG00096", "nobody"])
    assert not (tmp_path / "out").exists()


def test_score_file_reproduces_the_true_score(full: tuple[Path, DemoTruth]) -> None:
    """Brute force over the written file: flip, swap, sum, standardise; count what a matcher must cope with."""
    out, truth = full
    text = (out / "score_weights.tsv").read_text()
    assert text.startswith("###SIMULATED")
    assert "#genome_build=GRCh38\n" in text
    assert "#variants_number=240\n" in text
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")][1:]
    samples, genotypes = read_with_cyvcf2(bundled.genotypes_path())
    at = {key[:2]: key for key in genotypes}
    complement = str.maketrans("ACGT", "TGCA")
    raw = np.zeros(len(samples))
    found = swapped = flipped = ambiguous = 0
    for contig, position, effect, other, weight in rows:
        key = at.get((contig, int(position)))
        if key is None:
            continue
        found += 1
        if {effect, other} != set(key[2:]):
            effect, other = effect.translate(complement), other.translate(complement)
            flipped += 1
        assert {effect, other} == set(key[2:])
        ambiguous += effect.translate(complement) == other
        copies = np.array([sum(g) for g in genotypes[key]])
        swapped += effect == key[2]
        raw += float(weight) * (copies if effect == key[3] else 2 - copies)
    assert (len(rows), found, flipped, ambiguous) == (240, 200, 4, 5)
    assert 60 < swapped < 140
    place = np.array(bundled.read_people()["superpopulation"].to_list())
    raws = [raw[place == p] for p in np.unique(place)]
    z = np.empty(len(raw))
    for p, part in zip(np.unique(place), raws, strict=True):
        z[place == p] = (part - part.mean()) / part.std()
    assert np.allclose(z, truth.people["z_score"].to_numpy(), atol=1e-9)
    # Allele frequencies differ between superpopulations, so raw means do too: the reason for standardising within.
    assert np.ptp([part.mean() for part in raws]) > 0.5 * raw.std()


# --- people and kin --------------------------------------------------------------------------------------------------


def test_people_and_link(full: tuple[Path, DemoTruth]) -> None:
    out, truth = full
    info = pl.read_csv(out / "sample_info.tsv", separator="\t")
    assert info.columns == ["sample_id", "sex", "superpopulation", "population"]
    assert info["sample_id"].to_list() == read_with_cyvcf2(bundled.genotypes_path())[0]
    link = pl.read_csv(out / "link.csv")
    assert link.columns == ["sample_id", "subject_id"]
    assert link["sample_id"].to_list() != info["sample_id"].to_list()
    assert set(link["subject_id"]) == set(read_events(out)["subject_id"])
    static = read_events(out).filter(pl.col("code").str.starts_with("GENDER"))
    said = link.join(static, on="subject_id").join(info, on="sample_id")
    assert said.height == 3_202
    assert (said["code"] == "GENDER//M").equals(said["sex"] == 1)
    assert truth.people["subject_id"].n_unique() == 3_202


def test_sex_fits_the_ploidy_of_x() -> None:
    _, rows = read_with_cyvcf2(bundled.genotypes_path())
    haploid = np.array([[len(g) == 1 for g in calls] for key, calls in rows.items() if key[0] == "X"])
    assert haploid.shape[0] == 36
    assert (haploid.all(axis=0) == (bundled.read_people()["sex"].to_numpy() == 1)).all()
    assert (haploid.any(axis=0) == haploid.all(axis=0)).all()


def king_robust(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> Floats:
    """KING-robust kinship of every pair (doi:10.1093/bioinformatics/btq559, equation 11); (variants, samples) each."""
    het_a, het_b = (a == 1).astype(np.float32), (b == 1).astype(np.float32)
    hom = [((x == 0).astype(np.float32), (x == 2).astype(np.float32)) for x in (a, b)]
    both_het = het_a.T @ het_b
    opposite = hom[0][0].T @ hom[1][1] + hom[0][1].T @ hom[1][0]
    n_a, n_b = het_a.sum(axis=0)[:, None], het_b.sum(axis=0)[None, :]
    least = np.minimum(n_a, n_b)
    return np.asarray((both_het - 2 * opposite) / (2 * least) + 0.5 - 0.25 * (n_a + n_b) / least, dtype=np.float64)


def test_small_form_keeps_kin_groups_whole_and_holds_relatives() -> None:
    snvs = read_snvs(bundled.genotypes_path())
    small = bundled.read_small_samples()
    group = dict(small.iter_rows())
    inside = np.array([s in group for s in snvs.samples])
    kinship = king_robust(snvs.dosage[:, inside], snvs.dosage)
    assert kinship[:, ~inside].max() < 0.177
    groups = np.array([group[s] for s, chosen in zip(snvs.samples, inside, strict=True) if chosen])
    within = kinship[:, inside]
    close = (within > 0.177) & ~np.eye(len(within), dtype=bool)
    assert (groups[:, None] == groups[None, :])[close].all()
    assert close.sum() / 2 >= 50


@pytest.mark.real_data
@pytest.mark.external_tool
def test_small_samples_come_from_the_script(
    real_data: Path, plink2: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    psam = real_data / "pgscatalog-utils/pgscatalog.calc/tests/legacy/data/ref.psam"
    script = ROOT / "fixtures" / "make_small_samples.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(psam)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == (bundled.data_folder() / "small_samples.tsv").read_text()
    people = pl.read_csv(psam, separator="\t", schema_overrides={"PAT": pl.String, "MAT": pl.String})
    chosen = set(bundled.read_small_samples()["sample_id"])
    names = set(people["#IID"])
    edges = [(c, p) for c, *parents in people.select("#IID", "PAT", "MAT").iter_rows() for p in parents if p in names]
    assert all((child in chosen) == (parent in chosen) for child, parent in edges)
    assert sum(child in chosen for child, _ in edges) >= 50


@pytest.mark.parametrize("n", [1, 20, 137, 300])
def test_any_small_number_takes_whole_kin_groups(n: int) -> None:
    chosen = bundled.choose_samples(n)
    groups = bundled.read_small_samples().filter(pl.col("sample_id").is_in(chosen))["kin_group"].unique().implode()
    assert n <= len(chosen) < n + 6
    whole = bundled.read_small_samples().filter(pl.col("kin_group").is_in(groups))["sample_id"].to_list()
    assert whole == chosen


@pytest.mark.parametrize("n", [0, -3, 301])
def test_impossible_numbers_are_refused(n: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot hold"):
        simulate_demo(tmp_path / "out", seed=0, n_subjects=n)
    assert not (tmp_path / "out").exists()


# --- records ---------------------------------------------------------------------------------------------------------

FACTORS = {
    ("LAB//non_hdl_cholesterol", "mmol/L"): 38.67,
    ("LAB//hdl_cholesterol", "mmol/L"): 38.67,
    ("LAB//c_reactive_protein", "mg/dL"): 10.0,
}
"""To mg/dL of cholesterol (molar mass 386.65 g/mol) and mg/L of C-reactive protein."""


def in_first_unit(events: pl.DataFrame) -> pl.DataFrame:
    factors = pl.DataFrame([(c, u, f) for (c, u), f in FACTORS.items()], ["code", "unit", "factor"], orient="row")
    joined = events.join(factors, on=["code", "unit"], how="left")
    return joined.with_columns((pl.col("numeric_value") * pl.col("factor").fill_null(1.0)).alias("value"))


@pytest.mark.parametrize(
    ("code", "first", "second", "typical"),
    [
        ("LAB//non_hdl_cholesterol", "mg/dL", "mmol/L", 160.0),
        ("LAB//hdl_cholesterol", "mg/dL", "mmol/L", 50.0),
        ("LAB//c_reactive_protein", "mg/L", "mg/dL", 1.7),
    ],
)
def test_units_are_mixed_and_convert(
    full: tuple[Path, DemoTruth], code: str, first: str, second: str, typical: float
) -> None:
    events = in_first_unit(read_events(full[0]).filter(code=code))
    share = {u: events.filter(pl.col("unit").eq_missing(u)).height / events.height for u in (first, second, None)}
    assert sum(share.values()) == pytest.approx(1)
    assert 0.2 < share[second] < 0.5
    assert 0.005 < share[None] < 0.05
    median = {u: np.median(events.filter(pl.col("unit").eq_missing(u))["value"].to_numpy()) for u in share}
    assert median[second] == pytest.approx(median[first], rel=0.1)
    # C-reactive protein is ordered more often where it is high, so its median lies above the population's.
    assert all(typical / 1.5 < value < typical * 1.5 for value in median.values())


def test_a_persons_own_units_change(full: tuple[Path, DemoTruth]) -> None:
    events = read_events(full[0]).filter(code="LAB//non_hdl_cholesterol")
    units = events.group_by("subject_id").agg(pl.col("unit").drop_nulls().n_unique())["unit"]
    assert (units == 2).sum() > 0.3 * units.len()


def test_readings_scatter_around_a_long_term_level(full: tuple[Path, DemoTruth]) -> None:
    """Published reliability of one reading of ln CRP: 0.57 (doi:10.1136/bmj.d548)."""
    events = in_first_unit(read_events(full[0]).filter(code="LAB//c_reactive_protein")).with_columns(
        pl.col("value").log()
    )
    table = events.join(full[1].people.select("subject_id", "z_crp"), on="subject_id")
    slope = float(np.polyfit(table["z_crp"].to_numpy(), table["value"].to_numpy(), 1)[0])
    assert slope == pytest.approx(math.log(3), rel=0.05)
    r2 = float(np.corrcoef(table["z_crp"].to_numpy(), table["value"].to_numpy())[0, 1] ** 2)
    assert r2 == pytest.approx(0.57, abs=0.04)


def test_measurement_is_missing_not_at_random(full: tuple[Path, DemoTruth]) -> None:
    events = known_events(*full).filter(code="LAB//c_reactive_protein").group_by("subject_id").len()
    table = full[1].people.join(events, on="subject_id", how="left").with_columns(pl.col("len").fill_null(0))
    assert (table["len"] == 0).any()
    assert np.corrcoef(table["z_crp"].to_numpy(), table["len"].to_numpy())[0, 1] > 0.05


def test_dates_are_midnights_known_at_the_end_of_their_day(full: tuple[Path, DemoTruth]) -> None:
    events = read_events(full[0])
    dated = events.filter(pl.col("code").str.contains("^(DIAGNOSIS|DRUG|MEDS_)"))
    assert dated["time_precision"].unique().to_list() == ["day"]
    assert (dated["time"] == dated["time"].dt.truncate("1d")).all()
    assert (dated["available_time"] - dated["time"]).unique().to_list() == [timedelta(days=1, microseconds=-1)]
    stamped = events.filter(time_precision="second")
    assert stamped["code"].str.contains("^(LAB|MEASUREMENT|OBSERVATION|VISIT)").all()
    assert (stamped["available_time"] >= stamped["time"]).all()
    late = stamped.filter(pl.col("available_time") > pl.col("time"))
    assert late["code"].unique().to_list() == ["LAB//c_reactive_protein"]
    static = events.filter(time_precision="static")
    assert static["code"].str.starts_with("GENDER").all()
    assert static.select(pl.col("time", "available_time").is_null().all()).row(0) == (True, True)


def test_traps_follow_the_outcome_but_were_not_known(full: tuple[Path, DemoTruth]) -> None:
    out, truth = full
    known = known_events(out, truth)
    healthy_past = truth.people.filter(~pl.col("prior_disease"))["subject_id"].implode()
    assert known.filter(pl.col("subject_id").is_in(healthy_past), pl.col("code").is_in(list(TRAPS))).is_empty()
    index = truth.people.select("subject_id", "disease", pl.col("index_time").cast(pl.Datetime("us")))
    events = read_events(out).join(index, on="subject_id")
    careless = events.filter(code="DIAGNOSIS//SIMULATED_chest_pain").filter(pl.col("time") <= pl.col("index_time"))
    assert careless.height == events.filter(code="DIAGNOSIS//SIMULATED_chest_pain").height > 300
    assert careless["disease"].sum() > 0.7 * careless.height
    later = events.filter(code="LAB//SIMULATED_stress_test")
    assert (later["time"] > later["index_time"]).all()
    assert (later["time"].dt.date() == later["index_time"].dt.date()).all()
    at_index = known.filter(pl.col("time") == pl.col("index_time"))
    assert set(at_index["code"]) == {"VISIT//index_checkup", "MEASUREMENT//systolic_pressure"}


def labels_by_hand(events: pl.DataFrame) -> dict[int, str]:
    """The task in words, one person at a time: excluded, censored, no or yes."""
    found = {}
    for (subject,), rows in events.filter(pl.col("time").is_not_null()).group_by("subject_id"):
        records = list(rows.select("time", "code").iter_rows())
        t = next(time for time, code in records if code == "VISIT//index_checkup")
        outcomes = [time for time, code in records if code == OUTCOME]
        earlier_visits = [time for time, code in records if code == "VISIT//outpatient" and time <= t]
        start, end = t + timedelta(days=30), t + timedelta(days=30 + 1_826)
        if any(o <= start for o in outcomes) or not earlier_visits:
            found[subject] = "excluded"
        elif any(start < o <= end for o in outcomes):
            found[subject] = "yes"
        else:
            found[subject] = "no" if records[-1][0] >= end else "censored"
    return found


def test_task_finds_the_simulated_outcome(full: tuple[Path, DemoTruth]) -> None:
    out, truth = full
    labels = labels_by_hand(read_events(out))
    counts = {kind: sum(v == kind for v in labels.values()) for kind in ("excluded", "censored", "yes", "no")}
    assert 80 < counts["excluded"] < 250
    assert 60 < counts["censored"] < 250
    assert sum(counts.values()) == 3_202
    people = truth.people.select("subject_id", "disease", "prior_disease", "has_history", "lost_day", "death_day")
    for subject, disease, prior, has_history, lost, death in people.iter_rows():
        label = labels[subject]
        assert (label == "excluded") == (prior or not has_history)
        if label in ("yes", "no"):
            assert (label == "yes") == disease
        if label == "censored":
            assert min(lost, death) < 1_856


def test_task_is_aces_with_a_stated_policy(small: tuple[Path, DemoTruth]) -> None:
    import yaml

    task = yaml.safe_load((small[0] / "task.yaml").read_text())
    assert set(task) == {"predicates", "trigger", "windows", "genomix"}
    assert task["trigger"] == "index_checkup"
    assert task["genomix"] == {"censoring": "drop", "prediction_time": "inclusive"}
    codes = set(read_events(small[0])["code"].unique())
    assert {"VISIT//index_checkup", "VISIT//outpatient", OUTCOME} <= codes
    assert sum("label" in w for w in task["windows"].values()) == 1
    assert sum("index_timestamp" in w for w in task["windows"].values()) == 1


def test_records_are_meds(full: tuple[Path, DemoTruth]) -> None:
    meds = pytest.importorskip("meds")
    import pyarrow.parquet as pq

    folder = full[0] / "records"
    for file in sorted((folder / "data").glob("*.parquet")):
        meds.DataSchema.validate(pq.read_table(file))
    meds.CodeMetadataSchema.validate(pq.read_table(folder / "metadata" / "codes.parquet"))
    dataset = json.loads((folder / "metadata" / "dataset.json").read_text())
    meds.DatasetMetadataSchema.validate(dataset)
    assert "SIMULATED" in dataset["dataset_name"]
    described = pl.read_parquet(folder / "metadata" / "codes.parquet")
    assert described["description"].str.starts_with("SIMULATED ").all()
    events = read_events(full[0])
    assert set(described["code"]) == set(events["code"])
    assert 180_000 < events.height < 260_000
    assert events.sort("subject_id", "time", nulls_last=False, maintain_order=True).equals(events)


def test_outputs_hold_no_path(small: tuple[Path, DemoTruth]) -> None:
    for path in sorted(p for p in small[0].rglob("*") if p.is_file()):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert str(small[0].parent).encode() not in data, path.name
