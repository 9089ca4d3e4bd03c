"""The fast scan against one least-squares fit per variant, and what must not change its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.errors import ConfigError, LabelError
from genomix.io.loco import ANY, Offsets
from genomix.io.phenotypes import PhenotypeTable
from genomix.io.plink import GenotypeStore
from genomix.schemas.association import ASSOCIATION, ERROR_CODES, TESTED
from genomix.variants import association as module
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.assoc_linear import fit_linear_null, linear_reference, scan_linear
from genomix.variants.assoc_logistic import logistic_reference
from genomix.variants.assoc_relatives import find_relatives, refuse_relatives
from genomix.variants.association import associate
from tests.genotype_store import random_calls, store_of

M, N = 70, 120
VARIANTS = [("1", 100 * (i + 1), "A", "G") for i in range(50)] + [
    ("X", 20_000_000 + i, "A", "G") for i in range(12)
] + [("Y", 10_000_000 + i, "A", "G") for i in range(4)] + [("MT", 100 + i, "A", "G") for i in range(4)]  # fmt: skip
SEX = [1 + (i % 2) for i in range(N - 2)] + [0, 0]
ALL = AssociationOptions(min_allele_count=0)


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    found = random_calls(M, N, seed=5, missing=0.06)
    found[:10][found[:10] < 0] = 0
    male = np.array(SEX) == 1
    for i in range(50, 70):
        haploid = np.ones(N, dtype=bool) if i >= 66 else male
        found[i, haploid & (found[i] == 1)] = 2
    found[11] = 0
    found[12] = 0
    found[12, 3] = 1
    return found


@pytest.fixture(scope="module")
def store(calls: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> GenotypeStore:
    return store_of(tmp_path_factory.mktemp("store"), calls, variants=VARIANTS, sex=SEX)


@pytest.fixture(scope="module")
def people(calls: np.ndarray) -> tuple[PhenotypeTable, pl.DataFrame]:
    rng = np.random.default_rng(2)
    q = 3 + rng.normal(size=(N, 3)) + 0.4 * np.maximum(calls[4], 0)[:, None]
    q[5:12, 1] = np.nan
    case = (rng.random(N) < 0.4).astype(float)
    names = [f"s{i}" for i in range(N)]
    values = pl.DataFrame(
        {"sample_id": names, "q1": q[:, 0], "q2": pl.Series(q[:, 1]).fill_nan(None), "q3": q[:, 2], "cc": case}
    )
    covariates = pl.DataFrame(
        {
            "sample_id": names,
            "age": rng.normal(50, 9, N),
            "batch": [["a", "b", "c"][i % 3] for i in range(N)],
            "flat": np.ones(N),
            "score": pl.Series(rng.normal(size=N)).set(pl.Series([i == 20 for i in range(N)]), None),
        }
    )
    return PhenotypeTable(values, {"q1": "quantitative", "q2": "quantitative", "q3": "quantitative", "cc": "binary"}), (
        covariates
    )


def plain_design(covariates: pl.DataFrame, sex: np.ndarray | None) -> np.ndarray:
    columns = [np.ones(N), covariates["age"].to_numpy(), covariates["score"].fill_null(float("nan")).to_numpy()]
    columns += [(covariates["batch"] == b).to_numpy().astype(float) for b in "bc"]
    return np.column_stack(columns if sex is None else [*columns, sex])


def brute_force(
    calls: np.ndarray, phenotypes: PhenotypeTable, covariates: pl.DataFrame, name: str, i: int
) -> tuple[float, float, int]:
    """One variant, one phenotype, by least squares on the complete cases."""
    sex = np.array(SEX)
    contig = VARIANTS[i][0]
    genotype = np.where(calls[i] < 0, np.nan, calls[i].astype(float))
    who = np.ones(N, dtype=bool)
    design = plain_design(covariates, None)
    if contig == "X":
        design, who = plain_design(covariates, (sex == 1).astype(float)), sex > 0
    elif contig in ("Y", "MT"):
        genotype, who = genotype / 2, (sex == 1) if contig == "Y" else who
    y = phenotypes.values[name].fill_null(float("nan")).to_numpy()
    who = who & np.isfinite(y) & np.isfinite(design).all(axis=1)
    fit = logistic_reference if name == "cc" else linear_reference
    found = fit(y[who], design[who], genotype[who])
    return found[0], found[1], int((who & np.isfinite(genotype)).sum())


def test_every_variant_and_phenotype_equals_brute_force(
    store: GenotypeStore, calls: np.ndarray, people: tuple[PhenotypeTable, pl.DataFrame]
) -> None:
    phenotypes, covariates = people
    result = associate(store, phenotypes, covariates=covariates, options=ALL)
    assert result.table.height == M * 4
    assert result.table["variant_id"].to_list()[::4] == store.variants["variant_id"].to_list()
    checked = 0
    for number, row in enumerate(result.table.iter_rows(named=True)):
        if row["errcode"] != TESTED or row["model"] == "firth":
            continue
        beta, se, n = brute_force(calls, phenotypes, covariates, row["phenotype"], number // 4)
        assert row["n_observed"] == n
        assert row["beta"] == pytest.approx(beta, rel=1e-7, abs=1e-9)
        assert row["se"] == pytest.approx(se, rel=1e-7)
        assert row["statistic"] == pytest.approx(beta / se, rel=1e-6, abs=1e-9)
        checked += 1
    assert checked > 0.9 * M * 4


def test_reasons_and_counts_add_up(
    store: GenotypeStore, calls: np.ndarray, people: tuple[PhenotypeTable, pl.DataFrame]
) -> None:
    phenotypes, covariates = people
    result = associate(store, phenotypes, covariates=covariates, options=AssociationOptions(min_allele_count=3))
    q1 = result.table.filter(pl.col("phenotype") == "q1")
    assert q1["errcode"][11] == "CONST_OMITTED_ALLELE"
    assert q1["errcode"][12] == "LOW_ALLELE_COUNT"
    assert set(result.table["errcode"]) <= {TESTED, *ERROR_CODES}
    untested = result.table.filter(pl.col("errcode") != TESTED)
    assert (
        untested.select(pl.col("beta", "se", "statistic", "p", "minus_log10_p").is_null().all()).row(0) == (True,) * 5
    )
    for name, found in result.summary["phenotypes"].items():
        assert found["variants"] == M == found["tested"] + sum(found["not_tested"].values()), name
    flow = result.summary["samples"]
    assert flow["q2"] == {"no_phenotype": 7, "no_covariate": 1, "tested": N - 8}
    known = (calls[0] >= 0) & (np.arange(N) != 20)
    assert q1["a1_count"][0] == calls[0][known].sum()
    assert q1["allele_count"][0] == 2 * known.sum()


def test_bytes_do_not_depend_on_blocks_threads_or_tiles_in_flight(
    store: GenotypeStore, people: tuple[PhenotypeTable, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    phenotypes, covariates = people
    monkeypatch.setattr(module, "MAX_TILE", 8)
    runs = [
        associate(store, phenotypes, covariates=covariates, options=ALL, threads=threads, block_size=size).table
        for threads, size in ((1, None), (3, 8), (2, 24), (1, 1))
    ]
    for other in runs[1:]:
        assert other.equals(runs[0])


def test_progress_ends_at_one_and_counts_variants(
    store: GenotypeStore, people: tuple[PhenotypeTable, pl.DataFrame]
) -> None:
    seen: list[tuple[float, int]] = []
    associate(store, people[0], options=ALL, block_size=20, progress=lambda share, count: seen.append((share, count)))
    assert seen[-1] == (1.0, M)
    assert seen == sorted(seen)


def test_swapping_the_allele_turns_the_sign() -> None:
    rng = np.random.default_rng(8)
    g = rng.binomial(2, 0.3, (5, 80)).astype(float)
    null = fit_linear_null(rng.normal(size=(80, 1)), np.column_stack([np.ones(80), rng.normal(size=80)]))
    one, other = scan_linear(null, g, None), scan_linear(null, 2 - g, None)
    assert np.allclose(one.beta, -other.beta, rtol=1e-9)
    assert np.allclose(one.se, other.se, rtol=1e-9)


def test_many_missing_calls_and_covariates_that_vanish_with_them() -> None:
    """Where the called people have one level of a covariate only, the fit must not pretend to know."""
    rng = np.random.default_rng(9)
    n = 60
    level = (np.arange(n) < 12).astype(float)
    design = np.column_stack([np.ones(n), level, rng.normal(size=n)])
    g = rng.binomial(2, 0.4, (3, n)).astype(float)
    missing = np.zeros((3, n), dtype=bool)
    missing[0, :12] = True
    missing[1, :11] = True
    missing[2, rng.random(n) < 0.5] = True
    y = rng.normal(size=(n, 2))
    fit = scan_linear(fit_linear_null(y, design), np.where(missing, 0, g), missing)
    assert np.isnan(fit.beta[:, 0]).all()
    for i in (1, 2):
        for p in range(2):
            beta, se, df = linear_reference(y[:, p], design, np.where(missing[i], np.nan, g[i]))
            assert fit.beta[p, i] == pytest.approx(beta, rel=1e-9)
            assert fit.se[p, i] == pytest.approx(se, rel=1e-9)
            assert fit.df[i] == df


def test_a_copy_of_a_covariate_is_not_tested(store: GenotypeStore, calls: np.ndarray) -> None:
    rng = np.random.default_rng(10)
    names = [f"s{i}" for i in range(N)]
    q = PhenotypeTable(pl.DataFrame({"sample_id": names, "q": rng.normal(size=N)}), {"q": "quantitative"})
    covariates = pl.DataFrame({"sample_id": names, "copy": calls[0].astype(float)})
    near = pl.DataFrame({"sample_id": names, "near": calls[0] + 0.05 * rng.normal(size=N)})
    assert associate(store, q, covariates=covariates, options=ALL).table["errcode"][0] == "CORR_TOO_HIGH"
    assert associate(store, q, covariates=near, options=ALL).table["errcode"][0] == "VIF_TOO_HIGH"
    tolerant = AssociationOptions(min_allele_count=0, max_vif=1e6, max_correlation=1.0)
    assert associate(store, q, covariates=near, options=tolerant).table["errcode"][0] == TESTED


def test_an_offset_is_subtracted_by_contig(store: GenotypeStore, calls: np.ndarray) -> None:
    rng = np.random.default_rng(12)
    names = tuple(f"s{i}" for i in range(N))
    y, loco = rng.normal(size=N), {c: rng.normal(size=N) for c in ("1", "X", "Y", "MT")}
    loco["1"][4] = np.nan
    q = PhenotypeTable(pl.DataFrame({"sample_id": names, "q": y}), {"q": "quantitative"})
    found = associate(store, q, offsets=Offsets(names, {ANY: loco}), options=ALL).table
    for i in (0, 30, 68):
        shift = loco[VARIANTS[i][0]]
        g = np.where((calls[i] < 0) | np.isnan(shift), np.nan, calls[i] / (2 if VARIANTS[i][0] == "MT" else 1))
        beta, se, _ = linear_reference(y - np.nan_to_num(shift), np.ones((N, 1)), g)
        assert found["beta"][i] == pytest.approx(beta, rel=1e-9)
        assert found["se"][i] == pytest.approx(se, rel=1e-9)
        assert found["n_observed"][i] == np.isfinite(g).sum()


def test_regenie_offsets_are_in_units_of_the_residual(store: GenotypeStore, calls: np.ndarray) -> None:
    rng = np.random.default_rng(13)
    names = tuple(f"s{i}" for i in range(N))
    y, shift = 7 * rng.normal(size=N), rng.normal(size=N)
    q = PhenotypeTable(pl.DataFrame({"sample_id": names, "q": y}), {"q": "quantitative"})
    offsets = Offsets(names, {ANY: {ANY: shift}}, "residual_sd")
    found = associate(store, q, offsets=offsets, options=ALL).table
    beta, _, _ = linear_reference(
        y - shift * y.std(ddof=1), np.ones((N, 1)), np.where(calls[2] < 0, np.nan, calls[2].astype(float))
    )
    assert found["beta"][2] == pytest.approx(beta, rel=1e-9)


def test_logistic_offsets_enter_the_linear_predictor(store: GenotypeStore, calls: np.ndarray) -> None:
    rng = np.random.default_rng(14)
    names = tuple(f"s{i}" for i in range(N))
    case, shift = (rng.random(N) < 0.5).astype(float), rng.normal(size=N)
    cc = PhenotypeTable(pl.DataFrame({"sample_id": names, "cc": case}), {"cc": "binary"})
    found = associate(store, cc, offsets=Offsets(names, {ANY: {ANY: shift}}), options=ALL).table
    g = np.where(calls[2] < 0, np.nan, calls[2].astype(float))
    assert found["beta"][2] == pytest.approx(logistic_reference(case, np.ones((N, 1)), g, shift)[0], rel=1e-7)


@pytest.mark.parametrize(
    ("error", "words", "values", "kind", "options"),
    [
        (LabelError, "one class", [1.0] * N, "binary", ALL),
        (LabelError, "one value", [2.5] * N, "quantitative", ALL),
        (LabelError, "known in 2 samples", [1.0, 2.0] + [None] * (N - 2), "quantitative", ALL),
        (LabelError, "no sample of the genotypes", [None] * N, "quantitative", ALL),
        (ConfigError, "is a quantity", list(range(N)), "quantitative", AssociationOptions(model="logistic")),
    ],
)
def test_phenotypes_that_cannot_be_tested(
    store: GenotypeStore, error: type[Exception], words: str, values: list[Any], kind: Any, options: AssociationOptions
) -> None:
    table = pl.DataFrame({"sample_id": [f"s{i}" for i in range(N)], "y": pl.Series(values, dtype=pl.Float64)})
    with pytest.raises(error, match=words):
        associate(store, PhenotypeTable(table, {"y": kind}), options=options)


def test_dependent_covariates_are_named(store: GenotypeStore, people: tuple[PhenotypeTable, pl.DataFrame]) -> None:
    twice = people[1].with_columns((2 * pl.col("age") + 1).alias("age_again"))
    with pytest.raises(ConfigError, match="age_again is a linear combination"):
        associate(store, people[0], covariates=twice)


def test_relatives_are_counted_and_refused(tmp_path: Path) -> None:
    calls = random_calls(600, 12, seed=3, missing=0.0)
    calls[:, 5] = calls[:, 4]
    store = store_of(tmp_path, calls)
    found = find_relatives(store, np.arange(12))
    assert (found.pairs, found.unrelated) == (1, 11)
    with pytest.raises(LabelError, match="1 pairs of the 12 tested samples are related"):
        refuse_relatives(found, 12)
    assert find_relatives(store, np.delete(np.arange(12), 5)).pairs == 0
    given = pl.DataFrame({"sample_a": [1, 4], "sample_b": [2, 11], "kinship": [0.3, 0.1]})
    assert find_relatives(store, np.arange(12), pairs=given).pairs == 1
    (tmp_path / "few").mkdir()
    few = store_of(tmp_path / "few", calls[:40])
    assert find_relatives(few, np.arange(12)).pairs is None


def test_memory_holds_blocks_not_the_file(
    store: GenotypeStore, people: tuple[PhenotypeTable, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read asks for more variants than the block."""
    widest = 0
    read = GenotypeStore.read_calls

    def watched(self: GenotypeStore, variants: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal widest
        widest = max(widest, len(variants))
        return read(self, variants, *args, **kwargs)

    monkeypatch.setattr(GenotypeStore, "read_calls", watched)
    monkeypatch.setattr(module, "MAX_TILE", 4)
    table = associate(store, people[0], options=ALL, block_size=4).table
    assert widest == 4
    assert ASSOCIATION.validate(table).height == 4 * M


def test_a_variant_without_a_call_keeps_its_row_with_the_reason(tmp_path: Path) -> None:
    calls = random_calls(6, 40, seed=8, missing=0.0)
    calls[2] = -9
    calls[4, 3:] = -9
    store = store_of(tmp_path, calls)
    rng = np.random.default_rng(9)
    names = [f"s{i}" for i in range(40)]
    values = pl.DataFrame({"sample_id": names, "q": rng.normal(size=40), "cc": rng.integers(0, 2, 40).astype(float)})
    others = pl.DataFrame({"sample_id": names, "age": rng.normal(size=40), "bmi": rng.normal(size=40)})
    table = associate(
        store, PhenotypeTable(values, {"q": "quantitative", "cc": "binary"}), covariates=others, options=ALL
    ).table
    for at in (2, 4):
        part = table.filter(pl.col("variant_id") == store.variants["variant_id"][at])
        assert part["errcode"].to_list() == ["SAMPLE_CT<=PREDICTOR_CT"] * 2
        assert part["beta"].null_count() == part["p"].null_count() == 2
    assert set(table.filter(pl.col("phenotype") == "q")["errcode"]) == {TESTED, "SAMPLE_CT<=PREDICTOR_CT"}


def test_covariates_that_are_nearly_copies_are_refused_by_name(store: GenotypeStore) -> None:
    rng = np.random.default_rng(3)
    names = [f"s{i}" for i in range(N)]
    a, c = rng.normal(size=N), rng.normal(size=N)
    traits = PhenotypeTable(pl.DataFrame({"sample_id": names, "q": rng.normal(size=N)}), {"q": "quantitative"})
    near = pl.DataFrame({"sample_id": names, "A": a, "B": (2 * a + 1).round(5)})
    with pytest.raises(ConfigError, match=r"covariates A and B .*CORR_TOO_HIGH"):
        associate(store, traits, covariates=near)
    summed = pl.DataFrame({"sample_id": names, "A": a, "C": c, "S": a + c + 0.05 * rng.normal(size=N)})
    with pytest.raises(ConfigError, match=r"covariate S .*VIF_TOO_HIGH"):
        associate(store, traits, covariates=summed)
    wide = AssociationOptions(max_vif=1e7)
    assert associate(store, traits, covariates=summed, options=wide).summary["phenotypes"]["q"]["tested"] > 0


def test_a_rare_first_category_does_not_inflate_the_others(store: GenotypeStore) -> None:
    """Beside a reference level of one person, 60 and 59 others' indicators would have a factor of about 60."""
    rng = np.random.default_rng(3)
    names = [f"s{i}" for i in range(N)]
    traits = PhenotypeTable(pl.DataFrame({"sample_id": names, "q": rng.normal(size=N)}), {"q": "quantitative"})
    site = ["A", *(["B", "C"] * N)[: N - 1]]
    covariates = pl.DataFrame({"sample_id": names, "site": site})
    few = AssociationOptions(max_vif=10)
    assert associate(store, traits, covariates=covariates, options=few).summary["phenotypes"]["q"]["tested"] > 0


@pytest.mark.parametrize(
    "given",
    [
        {"max_vif": -1.0},
        {"max_vif": float("nan")},
        {"max_correlation": 1.5},
        {"firth_p": -0.1},
        {"min_allele_count": -1},
    ],
)
def test_options_out_of_range(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        AssociationOptions(**given)  # type: ignore[arg-type]  # wrong on purpose
