"""Gene-based burden test: a phenotype regressed on each gene's burden, with covariates.

Linear for quantities (t), logistic for cases and controls (z); where the logistic estimate does not exist or does not
converge, Firth's penalised fit with its likelihood-ratio test (Firth 1993, doi:10.1093/biomet/80.1.27; Heinze and
Schemper 2002, doi:10.1002/sim.1047). One burden per test: it has power where the qualifying variants of a gene act in
one direction, and loses it where they cancel (see :mod:`genomix.variants.skat`). Relatives are not accounted for except
through ``offset``: a whole-genome prediction that leaves the gene's chromosome out (regenie, BOLT-LMM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.io.loco import Offsets
from genomix.io.phenotypes import PhenotypeTable
from genomix.io.plink import GenotypeStore
from genomix.schemas.burden import BURDEN_TESTS
from genomix.variants.assoc_design import shortfall
from genomix.variants.assoc_linear import fit_linear_null, scan_linear
from genomix.variants.assoc_logistic import LogisticNull, Tile, fit_logistic_null, scan_logistic
from genomix.variants.assoc_tails import t_two_sided, z_two_sided
from genomix.variants.association import people_of
from genomix.variants.burden import BurdenResult
from genomix.variants.firth import scan_firth
from genomix.variants.threads import one_blas_thread

FloatArray = npt.NDArray[np.float64]

Model = Literal["auto", "linear", "logistic"]
FirthRule = Literal["fallback", "always", "never"]
MODELS = ("auto", "linear", "logistic")
FIRTH_RULES = ("fallback", "always", "never")

_TILE = 128


class Prepared(NamedTuple):
    """People with phenotype and covariates: 0-based rows, values, design with intercept, model, offset."""

    rows: npt.NDArray[np.int64]
    phenotype: FloatArray
    design: FloatArray
    model: str
    offset: FloatArray


def prepare(
    phenotype: FloatArray, covariates: FloatArray | None = None, *, model: Model = "auto", offset: Any = None,
    covariate_names: Sequence[str] = (),
) -> Prepared:  # fmt: skip
    """Return the complete cases and which model fits the phenotype.

    Parameters
    ----------
    phenotype: float64 (n,), NaN missing. Cases and controls are 1 and 0, or 2 and 1 as PLINK writes them.
    covariates: float64 (n, k) without an intercept, NaN missing; they are standardised. offset: float64 (n,) or None.
    covariate_names: for messages.

    Raises
    ------
    LabelError: when too few people or only one kind of them is left.
    ConfigError: when covariates are linear combinations of each other.
    """
    if model not in MODELS:
        raise ConfigError(f"model {model!r} is unknown", hint="one of: " + ", ".join(MODELS))
    y = np.asarray(phenotype, dtype=np.float64)
    x = np.empty((len(y), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    shift = np.zeros(len(y)) if offset is None else np.asarray(offset, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(y) & np.isfinite(x).all(axis=1) & np.isfinite(shift)).astype(np.int64)
    y, x, shift = y[rows], x[rows], shift[rows]
    if len(y) <= x.shape[1] + 2:
        raise LabelError(f"{len(y)} people have phenotype and covariates: too few for {x.shape[1]} covariates")
    kinds = np.unique(y)
    if len(kinds) < 2:
        raise LabelError("everyone has the same phenotype")
    binary = len(kinds) == 2 and kinds.tolist() in ([0.0, 1.0], [1.0, 2.0])
    if model == "logistic" and not binary:
        raise LabelError("a logistic model needs cases and controls: 1 and 0, or 2 and 1")
    chosen = model if model != "auto" else ("logistic" if binary else "linear")
    if chosen == "logistic":
        y = (y == kinds[1]).astype(np.float64)
    return Prepared(rows, y, _design(x, covariate_names), chosen, shift)


def _design(covariates: FloatArray, names: Sequence[str]) -> FloatArray:
    spread = covariates.std(axis=0)
    if (spread == 0).any():
        at = int(np.argmin(spread))
        raise ConfigError(f"covariate {names[at] if names else at + 1} is the same for everyone", hint="leave it out")
    design = np.column_stack([np.ones(len(covariates)), (covariates - covariates.mean(axis=0)) / spread])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ConfigError("covariates are linear combinations of each other", hint="leave one of them out")
    return design


def scan_burdens(
    values: npt.NDArray[Any],
    sets: Sequence[Any],
    prepared: Prepared,
    *,
    firth: FirthRule = "fallback",
) -> pl.DataFrame:
    """Test each column of ``values`` (n_samples, n_sets) for association (BURDEN_TESTS, in the order of ``sets``).

    Parameters
    ----------
    sets: one :class:`~genomix.variants.burden.BurdenSet` per column.
    firth: ``fallback`` where logistic regression finds nothing, ``always``, or ``never``.
    """
    if firth not in FIRTH_RULES:
        raise ConfigError(f"firth {firth!r} is unknown", hint="one of: " + ", ".join(FIRTH_RULES))
    rows = prepared.rows
    burden = np.ascontiguousarray(np.asarray(values)[rows].T.astype(np.float64))
    scan = _linear(prepared) if prepared.model == "linear" else _logistic(prepared, firth)
    with one_blas_thread():
        parts = [scan(burden[start : start + _TILE]) for start in range(0, len(burden), _TILE)]
    found = pl.concat(parts) if parts else _NO_RESULT
    varies = np.ptp(burden, axis=1) > 0 if len(burden) else np.empty(0, dtype=np.bool_)
    nothing = pl.when(~pl.Series(varies)).then(pl.lit("the burden is the same for everyone"))
    told = pl.DataFrame(
        {
            "gene": pl.Series([s.gene for s in sets], dtype=pl.String),
            "mask": pl.Series([s.mask for s in sets], dtype=pl.String),
            "n_samples": pl.Series([len(rows)] * len(sets), dtype=pl.Int64),
            "n_variants": pl.Series([len(s.rows) for s in sets], dtype=pl.Int64),
            "carriers": (burden > 0).sum(axis=1).astype(np.int64),
        }
    )
    numbers = ("beta", "se", "statistic", "p")
    frame = pl.concat([told, found], how="horizontal").with_columns(
        pl.when(pl.Series(varies)).then(pl.col(n).fill_nan(None)).alias(n) for n in numbers
    )
    reason = nothing.when(pl.col("p").is_null()).then(pl.lit("no estimate: the fit did not converge"))
    return BURDEN_TESTS.validate(frame.with_columns(reason.otherwise(pl.lit("")).alias("reason")))


_RESULT: dict[str, Any] = {
    "test": pl.String, "beta": pl.Float64, "se": pl.Float64, "statistic": pl.Float64, "p": pl.Float64,
}  # fmt: skip
_NO_RESULT = pl.DataFrame(schema=_RESULT)


def _frame(test: Any, beta: FloatArray, se: FloatArray, statistic: FloatArray, p: FloatArray) -> pl.DataFrame:
    names = [test] * len(beta) if isinstance(test, str) else list(test)
    return pl.DataFrame({"test": names, "beta": beta, "se": se, "statistic": statistic, "p": p}, schema=_RESULT)


def _linear(prepared: Prepared) -> Any:
    null = fit_linear_null((prepared.phenotype - prepared.offset)[:, None], prepared.design)

    def scan(tile: FloatArray) -> pl.DataFrame:
        fit = scan_linear(null, tile, None)
        with np.errstate(all="ignore"):
            t = fit.beta[0] / fit.se[0]
        return _frame("linear", fit.beta[0], fit.se[0], t, t_two_sided(t, fit.df).p)

    return scan


def _logistic(prepared: Prepared, firth: FirthRule) -> Any:
    null = fit_logistic_null(prepared.phenotype, prepared.design, prepared.offset, for_firth=firth != "never")

    def scan(tile: FloatArray) -> pl.DataFrame:
        fit = scan_logistic(null, Tile(tile, None))
        with np.errstate(all="ignore"):
            z = fit.beta / fit.se
        test = np.full(len(tile), "logistic", dtype=object)
        beta, se, statistic, p = fit.beta.copy(), fit.se.copy(), z, z_two_sided(z).p.copy()
        failed = ~fit.converged if firth == "fallback" else np.full(len(tile), firth == "always")
        failed &= np.ptp(tile, axis=1) > 0
        at = np.flatnonzero(failed)
        if len(at):
            beta[at], se[at], statistic[at], p[at] = _firth(null, tile[at])
            test[at] = "firth"
        return _frame(test.tolist(), beta, se, statistic, p)

    return scan


def _firth(null: LogisticNull, tile: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    full = scan_firth(null, Tile(tile, None))
    without = scan_firth(null, Tile(tile, None), without_genotype=True)
    with np.errstate(all="ignore"):
        statistic = np.maximum(2 * (full.log_likelihood - without.log_likelihood), 0.0)
        p = z_two_sided(np.sqrt(statistic)).p
    return full.beta, full.se, statistic, p


class PeopleTested(NamedTuple):
    """One phenotype and covariates of the samples whose burden was computed, in that order.

    ``offsets``: of all the store's samples; ``samples``: where the tested ones lie among them.
    """

    phenotype: FloatArray
    covariates: FloatArray
    binary: bool
    name: str
    samples: npt.NDArray[np.int64]
    offsets: Offsets | None = None
    covariate_names: tuple[str, ...] = ()


def gather_people_of(
    store: GenotypeStore,
    phenotypes: PhenotypeTable,
    covariates: pl.DataFrame | None,
    *,
    offsets: Offsets | None = None,
    samples: Any = None,
) -> PeopleTested:
    """Bring one phenotype, covariates and offsets into the order of ``samples`` (None: all of the store).

    Raises
    ------
    ConfigError: when the table holds several phenotypes.
    """
    if len(phenotypes.names) != 1:
        raise ConfigError(
            f"the table holds {len(phenotypes.names)} phenotypes", hint="name one: " + ", ".join(phenotypes.names)
        )
    everyone = np.arange(store.n_samples) if samples is None else np.asarray(samples, dtype=np.int64)
    people = people_of(store, phenotypes, covariates=covariates, offsets=offsets, samples=everyone)
    values = people.phenotypes[everyone, 0]
    binary = people.kinds[0] == "binary"
    return PeopleTested(
        values, people.covariates.values[everyone], binary, phenotypes.names[0], everyone, offsets,
        people.covariates.names,
    )  # fmt: skip


def run_gene_tests(
    store: GenotypeStore,
    result: BurdenResult,
    people: PeopleTested,
    *,
    model: Model = "auto",
    firth: FirthRule = "fallback",
    variance_tests: bool = False,
    own_weights: bool = False,
) -> pl.DataFrame:
    """Test every set of a burden result (BURDEN_TESTS), in its order; then, if asked, SKAT and SKAT-O of every set.

    Parameters
    ----------
    people: of the samples of ``result``. Their offsets, if any, are those of each gene's contig.
    variance_tests: adds :mod:`genomix.variants.skat`; own_weights: with the weights of ``result``, else with
        Beta(1, 25).
    """
    chosen: Model = model
    if model == "auto":
        chosen = "logistic" if people.binary else "linear"
    contigs = store.variants["contig"].to_list() if people.offsets is not None else []
    where = [contigs[int(one.rows[0])] if people.offsets is not None else "" for one in result.sets]
    burdens: list[pl.DataFrame] = []
    variances: list[pl.DataFrame] = []
    order: list[int] = []
    for contig in dict.fromkeys(where) or [""]:
        at = [i for i, found in enumerate(where) if found == contig]
        sets, prepared = [result.sets[i] for i in at], _prepared_on(people, chosen, contig)
        burdens.append(scan_burdens(result.matrix.values[:, at], sets, prepared, firth=firth))
        order += at
        if variance_tests:
            from genomix.variants.skat import scan_skat

            variances.append(scan_skat(store, sets, prepared, samples=people.samples, own_weights=own_weights))
    frames = [pl.concat(burdens)[np.argsort(order)] if order else pl.concat(burdens), *variances]
    return BURDEN_TESTS.validate(pl.concat(frames))


def _check_number(people: PeopleTested, shift: FloatArray | None) -> None:
    """Refuse too few complete cases, and say which covariates or offsets the others lack."""
    known = np.isfinite(people.phenotype)
    complete = known & np.isfinite(people.covariates).all(axis=1)
    if shift is not None:
        complete &= np.isfinite(shift)
    if int(complete.sum()) > people.covariates.shape[1] + 2:
        return
    lost = shortfall(people.covariates[known], people.covariate_names, None if shift is None else shift[known])
    raise LabelError(
        f"phenotype {people.name} is known in {int(known.sum()):,} samples{lost}: too few for "
        f"{people.covariates.shape[1]} covariates",
        hint="fewer covariates (--covariate-names), or tables that know more of the genotypes' IIDs",
    )


def _prepared_on(people: PeopleTested, model: Model, contig: str) -> Prepared:
    """The complete cases with the offsets of one contig, in the phenotype's own unit."""
    shift = None if people.offsets is None or not contig else people.offsets.of(people.name, contig)[people.samples]
    _check_number(people, shift)
    prepared = prepare(
        people.phenotype, people.covariates, model=model, offset=shift, covariate_names=people.covariate_names
    )
    if people.offsets is None or not contig:
        return prepared
    if people.offsets.unit == "phenotype":
        return prepared
    if prepared.model == "logistic" and not people.binary:
        raise ConfigError(f"offsets of {people.name} have no meaning in logistic regression")
    if prepared.model == "logistic":
        return prepared
    residual = fit_linear_null(prepared.phenotype[:, None], prepared.design).residuals
    spread = float(np.sqrt((residual**2).sum() / (len(residual) - prepared.design.shape[1])))
    return prepared._replace(offset=prepared.offset * spread)
