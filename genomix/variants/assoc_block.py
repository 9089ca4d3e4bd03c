"""Association of one block of variants: regression of each variant in its groups of people, and one frame of results.

Arithmetic runs over tiles of variants; :mod:`genomix.variants.association` cuts the variants into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.io.plink import MISSING_CALL, GenotypeStore
from genomix.schemas.association import TESTED
from genomix.variants.assoc_collinear import Collinear, collinear, collinear_incomplete
from genomix.variants.assoc_design import Group, ModelChoice, People, Place, model_of
from genomix.variants.assoc_linear import MissingSums, TileMoments, missing_sums, scan_linear, sum_missing, tile_moments
from genomix.variants.assoc_logistic import LogisticFit, LogisticNull, Tile, scan_logistic, scan_score
from genomix.variants.assoc_tails import t_two_sided, z_two_sided
from genomix.variants.firth import approximate_firth_null, scan_firth

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MINIMUM_ALLELE_COUNT = 5.0


@dataclass(frozen=True)
class AssociationOptions:
    """How to test.

    Parameters
    ----------
    model: ``auto`` is linear for a quantity and logistic for cases and controls.
    firth_fallback: Firth regression where logistic regression fails (PLINK 2's ``firth-fallback``).
    firth_p: Firth regression also where logistic regression gives a smaller P (as regenie's ``--pThresh``).
    firth_test: ``wald`` (PLINK 2) or ``likelihood_ratio`` (regenie, logistf).
    firth_approximate: only the genotype is penalised, with the covariates' effects held (regenie's ``--approx``).
    logistic_test: ``wald`` (PLINK 2) or ``score`` (regenie, SAIGE), which takes a missing genotype as the mean.
    min_allele_count: copies of the rarer allele, among those tested, below which a variant is not tested.
    max_vif, max_correlation: limits beyond which a variant is not tested (PLINK 2's ``--vif`` and ``--max-corr``).
    sex_on_x: sex as a covariate on X; people of unknown sex are left out there.
    """

    model: ModelChoice = "auto"
    firth_fallback: bool = True
    firth_p: float | None = None
    firth_test: Literal["wald", "likelihood_ratio"] = "wald"
    firth_approximate: bool = False
    logistic_test: Literal["wald", "score"] = "wald"
    min_allele_count: float = MINIMUM_ALLELE_COUNT
    max_vif: float = 50.0
    max_correlation: float = 0.999
    sex_on_x: bool = True

    @property
    def fits_separated(self) -> bool:
        """Whether covariates may separate cases from controls: full Firth regression needs no null model."""
        full = not self.firth_approximate and self.logistic_test == "wald"
        return full and (self.model == "firth" or self.firth_fallback)

    def __post_init__(self) -> None:
        for name, value, good, range_ in (
            ("firth_p", self.firth_p, self.firth_p is None or 0 <= self.firth_p <= 1, "0 to 1"),
            ("min_allele_count", self.min_allele_count, self.min_allele_count >= 0, "0 or more"),
            ("max_vif", self.max_vif, self.max_vif >= 1, "1 or more"),
            ("max_correlation", self.max_correlation, 0 <= self.max_correlation <= 1, "0 to 1"),
        ):
            if not good:
                raise ConfigError(f"{name} = {value} in an association", hint=range_)


class Block(NamedTuple):
    """Variants (rows of the store) that are tested together, their kind of contig, and the groups of people there."""

    rows: IntArray
    place: Place
    groups: list[Group]


class _Columns:
    """Result columns of one block: (n_variants, n_phenotypes) each."""

    def __init__(self, n_variants: int, n_phenotypes: int) -> None:
        shape = (n_variants, n_phenotypes)
        self.a1_count, self.beta, self.se = (np.full(shape, np.nan) for _ in range(3))
        self.statistic, self.p, self.log10_p = (np.full(shape, np.nan) for _ in range(3))
        self.n_observed, self.n_cases = np.zeros(shape, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        self.df = np.full(shape, np.nan)
        self.firth = np.zeros(shape, dtype=np.bool_)
        self.code = np.full(shape, "SAMPLE_CT<=PREDICTOR_CT", dtype=object)


def scan_block(
    store: GenotypeStore, people: People, options: AssociationOptions, block: Block, dosages: BoolArray, tile: int
) -> pl.DataFrame:
    """Test the variants of one block; return one row per variant and phenotype (schema ASSOCIATION).

    Parameters
    ----------
    dosages: bool (n_records,), which of the store's records hold dosages.
    tile: variants that are computed at once.
    """
    columns = _Columns(len(block.rows), len(people.names))
    if block.groups:
        union = block.groups[0].samples
        for group in block.groups[1:]:
            union = np.union1d(union, group.samples)
        values, missing = _read(store, block.rows, union, dosages)
        for group in block.groups:
            whole = len(group.samples) == len(union)
            at = None if whole else np.searchsorted(union, group.samples)
            for start in range(0, len(block.rows), tile):
                part = slice(start, start + tile)
                taken = values[part] if at is None else values[part][:, at]
                gone = None if missing is None else (missing[part] if at is None else missing[part][:, at])
                _test_tile(columns, part, group, taken, gone, people, options, block.place)
        if (linear := np.isfinite(columns.df)).any():
            tail = t_two_sided(columns.statistic[linear], columns.df[linear])
            columns.p[linear], columns.log10_p[linear] = tail
    only = ~store.variants["record"][block.rows].is_in(_multi_allelic(store)).to_numpy()
    columns.code[only] = np.where(columns.code[only] == "CONST_ALLELE", "CONST_OMITTED_ALLELE", columns.code[only])
    return _frame(store, people, options, block, columns)


def _multi_allelic(store: GenotypeStore) -> pl.Series:
    """Records with several ALTs: there, one ALT may be constant while REF is not."""
    return store.variants.filter(pl.col("record").is_duplicated() | (pl.col("allele") > 1))["record"].unique().implode()


def _read(
    store: GenotypeStore, rows: IntArray, samples: IntArray, dosages: BoolArray
) -> tuple[npt.NDArray[Any], BoolArray | None]:
    """Return copies of A1 (missing as 0), int8 or float32, and where they are missing (None: nowhere)."""
    everyone = None if len(samples) == store.n_samples else samples
    values: npt.NDArray[Any]
    if dosages[store.variants["record"].to_numpy()[rows]].any():
        values = store.read_dosages(rows, everyone)
        missing = np.isnan(values)
    else:
        values = store.read_calls(rows, everyone)
        if values.size == 0 or int(values.min()) >= 0:
            return values, None
        missing = values == MISSING_CALL
    if not missing.any():
        return values, None
    values[missing] = 0
    return values, missing


def _test_tile(
    columns: _Columns, part: slice, group: Group, values: npt.NDArray[Any], missing: BoolArray | None, people: People,
    options: AssociationOptions, place: Place,
) -> None:  # fmt: skip
    """Test one tile of variants in one group of people and put the results into their columns."""
    genotypes = values.astype(np.float64)
    if place in ("Y", "MT"):
        genotypes /= 2
    if missing is not None and not missing.any():
        missing = None
    n, k = group.design.shape
    gone = None if missing is None else sum_missing(group.linear, missing)
    n_called = np.full(len(genotypes), n) if gone is None else n - np.rint(gone.n_people).astype(np.int64)
    moments = tile_moments(genotypes, group.columns, k)
    count = moments.copies
    code = _codes(n_called, moments, gone, group, options, place)
    fine = code == TESTED
    members = (*group.linear_of, *group.logistic)
    for i in members:
        columns.a1_count[part, i], columns.n_observed[part, i], columns.code[part, i] = count, n_called, code
        if people.kinds[i] == "binary":
            cases = people.phenotypes[group.samples, i]
            lost = 0.0 if missing is None else missing_sums(missing, cases[:, None])[:, 0]
            seen = np.full(len(genotypes), cases.sum()) - lost
            columns.n_cases[part, i] = np.rint(seen).astype(np.int64)
    if group.linear_of:
        fit = scan_linear(group.linear, genotypes, missing, moments, gone)
        with np.errstate(all="ignore"):
            t = fit.beta / fit.se
        for number, i in enumerate(group.linear_of):
            good = fine & np.isfinite(t[number]) & (fit.se[number] > 0)
            columns.code[part, i] = np.where(fine & ~good, "INVALID_RESULT", columns.code[part, i])
            for name, value in (("beta", fit.beta[number]), ("se", fit.se[number]), ("statistic", t[number])):
                getattr(columns, name)[part, i] = np.where(good, value, np.nan)
            columns.df[part, i] = np.where(good, fit.df, np.nan)
    rows = np.flatnonzero(fine)
    if rows.size and group.logistic:
        chosen = Tile(genotypes[rows], None if missing is None else 1.0 - missing[rows].astype(np.float64))
        for i, null in group.logistic.items():
            _test_cases(columns, part.start + rows, i, null, chosen, options)


def _codes(
    n_called: IntArray, moments: TileMoments, gone: MissingSums | None, group: Group, options: AssociationOptions,
    place: Place,
) -> npt.NDArray[np.object_]:  # fmt: skip
    """Return TESTED or the first reason not to test each variant."""
    alleles = n_called * (1.0 if place in ("Y", "MT") else 2.0)
    count, squares = moments.copies, moments.squares
    with np.errstate(all="ignore"):
        spread = squares - count**2 / n_called
    constant = ~(spread > 1e-9 * np.maximum(squares, 1e-9))
    rare = np.minimum(count, alleles - count) < options.min_allele_count
    tangled = _tangled(moments, gone, group, options)
    code = np.full(len(count), TESTED, dtype=object)
    for flags, word in (
        (tangled.vif, "VIF_TOO_HIGH"),
        (tangled.correlation, "CORR_TOO_HIGH"),
        (rare, "LOW_ALLELE_COUNT"),
        (constant, "CONST_ALLELE"),
        (n_called <= group.design.shape[1] + 1, "SAMPLE_CT<=PREDICTOR_CT"),
    ):
        code[flags] = word
    return code


def _tangled(moments: TileMoments, gone: MissingSums | None, group: Group, options: AssociationOptions) -> Collinear:
    """Check genotypes for being copies of the covariates, where some people lack a call among those who have one."""
    n = len(group.samples)
    triangle = group.triangle
    between = (triangle.T @ triangle)[1:, 1:]
    on_covariates = (moments.on_basis @ triangle)[:, 1:]
    limits = {"max_vif": options.max_vif, "max_correlation": options.max_correlation}
    found = collinear(on_covariates, moments.copies, moments.squares, between, n, **limits)
    if gone is not None and len(between) and (rows := np.flatnonzero(gone.n_people > 0)).size:
        among = collinear_incomplete(
            on_covariates[rows], moments.copies[rows], moments.squares[rows], between,
            triangle.T @ gone.gram[rows] @ triangle, n, **limits,
        )  # fmt: skip
        found.correlation[rows], found.vif[rows] = among
    return found


def _test_cases(
    columns: _Columns, rows: IntArray, i: int, null: LogisticNull, tile: Tile, options: AssociationOptions
) -> None:
    """Logistic regression, then Firth regression where it failed, or where its P asks for it."""
    firth = np.ones(len(rows), dtype=np.bool_)
    if options.model != "firth":
        fit = _score(null, tile) if options.logistic_test == "score" else scan_logistic(null, tile)
        tail = z_two_sided(fit.beta / fit.se)
        columns.beta[rows, i], columns.se[rows, i] = fit.beta, fit.se
        columns.statistic[rows, i] = fit.beta / fit.se
        columns.p[rows, i], columns.log10_p[rows, i] = tail.p, tail.minus_log10_p
        columns.code[rows[~fit.converged], i] = "LOGISTIC_CONVERGE_FAIL"
        firth = ~fit.converged & options.firth_fallback
        if options.firth_p is not None:
            firth |= fit.converged & (tail.p < options.firth_p)
    at = np.flatnonzero(firth)
    if not at.size:
        return
    part, where = tile.rows(at), rows[at]
    if options.firth_approximate:
        part, null = Tile(scan_score(null, part).residual, None), approximate_firth_null(null)
    found = scan_firth(null, part)
    statistic, converged = found.beta / found.se, found.converged
    if options.firth_test == "likelihood_ratio":
        without = scan_firth(null, part, without_genotype=True)
        converged = converged & without.converged
        ratio = np.maximum(2 * (found.log_likelihood - without.log_likelihood), 0.0)
        statistic = np.where(converged, np.sign(found.beta) * np.sqrt(ratio), np.nan)
    tail = z_two_sided(statistic)
    for column, values in (
        (columns.beta, found.beta), (columns.se, found.se), (columns.statistic, statistic), (columns.p, tail.p),
        (columns.log10_p, tail.minus_log10_p),
    ):  # fmt: skip
        column[where, i] = np.where(converged, values, np.nan)
    columns.firth[where, i] = True
    columns.code[where, i] = np.where(converged, TESTED, "FIRTH_CONVERGE_FAIL")


def _score(null: LogisticNull, tile: Tile) -> LogisticFit:
    fit = scan_score(null, tile)
    return LogisticFit(fit.beta, fit.se, np.isfinite(fit.beta / fit.se))


def _frame(
    store: GenotypeStore, people: People, options: AssociationOptions, block: Block, columns: _Columns
) -> pl.DataFrame:
    """One row per variant and phenotype, phenotypes within a variant."""
    n_phenotypes = len(people.names)
    table = store.variants[np.repeat(block.rows, n_phenotypes)]
    ploidy = 1 if block.place in ("Y", "MT") else 2
    models = np.array(
        [model_of(kind, options.model, name) for kind, name in zip(people.kinds, people.names, strict=True)]
    )
    model = np.where(columns.firth, "firth", models)
    alleles = ploidy * columns.n_observed

    def number(values: FloatArray) -> pl.Series:
        return pl.Series(values.ravel()).fill_nan(None)

    with np.errstate(all="ignore"):
        frequency = columns.a1_count / alleles
    return pl.DataFrame(
        {
            **{n: table[n] for n in ("contig", "position", "variant_id", "ref", "alt")},
            "a1": table["alt"],
            "phenotype": pl.Series(list(people.names) * len(block.rows), dtype=pl.String),
            "model": pl.Series(model.ravel().tolist(), dtype=pl.String),
            "a1_count": number(columns.a1_count),
            "allele_count": pl.Series(alleles.ravel()),
            "a1_frequency": number(frequency),
            "n_observed": pl.Series(columns.n_observed.ravel()),
            "n_cases": pl.Series(columns.n_cases.ravel()).replace(-1, None),
            "beta": number(columns.beta),
            "se": number(columns.se),
            "statistic": number(columns.statistic),
            "p": number(columns.p),
            "minus_log10_p": number(columns.log10_p),
            "errcode": pl.Series(columns.code.ravel().tolist(), dtype=pl.String),
        }
    )
