"""Association of every variant with phenotypes: linear, logistic and Firth regression, block by block.

The tested allele A1 is ALT, one ALT of a record at a time (PLINK 2 puts all ALTs of a record into one model). A person
without a call leaves that variant's regression only. A small p value says that genotype and phenotype go together in
these people; structure and kinship that the covariates or an offset do not carry make it small too.

Results do not depend on block size or threads: arithmetic runs over tiles of a fixed number of variants, each with one
BLAS thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.io.loco import Offsets
from genomix.io.pgen_header import records_with_dosages
from genomix.io.phenotypes import PhenotypeTable
from genomix.io.plink import MISSING_CALL, GenotypeStore
from genomix.schemas.association import ASSOCIATION, TESTED
from genomix.variants.assoc_collinear import Collinear, collinear, collinear_incomplete
from genomix.variants.assoc_design import (
    Group,
    ModelChoice,
    People,
    Place,
    build_groups,
    eligible,
    gather_people,
    model_of,
    place_of,
)
from genomix.variants.assoc_linear import MissingSums, TileMoments, missing_sums, scan_linear, sum_missing, tile_moments
from genomix.variants.assoc_logistic import LogisticFit, LogisticNull, Tile, scan_logistic, scan_score
from genomix.variants.assoc_summary import summarise
from genomix.variants.assoc_tails import t_two_sided, z_two_sided
from genomix.variants.firth import approximate_firth_null, scan_firth
from genomix.variants.qc import store_ploidy_classes

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Progress = Callable[[float, int], None]

TILE_CELLS = 1 << 19
MAX_TILE = 256
BLOCK_CELLS = 1 << 23
"""Genotypes read at once (64 MiB as float64 at most, per thread)."""

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

    def __post_init__(self) -> None:
        for name, value, good, range_ in (
            ("firth_p", self.firth_p, self.firth_p is None or 0 <= self.firth_p <= 1, "0 to 1"),
            ("min_allele_count", self.min_allele_count, self.min_allele_count >= 0, "0 or more"),
            ("max_vif", self.max_vif, self.max_vif >= 1, "1 or more"),
            ("max_correlation", self.max_correlation, 0 <= self.max_correlation <= 1, "0 to 1"),
        ):
            if not good:
                raise ConfigError(f"{name} = {value} in an association", hint=range_)


class AssociationResult(NamedTuple):
    """``table``: schema ASSOCIATION, variants in the store's order, then phenotypes. ``summary``: counts by reason."""

    table: pl.DataFrame
    summary: dict[str, Any]


class _Segment(NamedTuple):
    """Consecutive variants that the same groups of people are tested for."""

    rows: IntArray
    place: Place
    contig: str


class _Block(NamedTuple):
    rows: IntArray
    place: Place
    groups: list[Group]


def associate(
    store: GenotypeStore,
    phenotypes: PhenotypeTable,
    *,
    covariates: pl.DataFrame | None = None,
    offsets: Offsets | None = None,
    options: AssociationOptions | None = None,
    variants: Any = None,
    samples: Any = None,
    threads: int = 1,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> AssociationResult:
    """Test variants for association; see :class:`AssociationOptions`.

    Parameters
    ----------
    phenotypes: names, values and kinds. covariates: sample_id and columns, numbers or text. offsets: for the store's
        samples. variants: rows of the store's variants; None for all. samples: 0-based samples; None for all.
    threads: blocks computed at once. block_size: variants read at once. progress: called with (share, variants).

    Raises
    ------
    LabelError: when a phenotype cannot be tested. ConfigError: for dependent covariates or a model that does not fit.
    """
    people = people_of(store, phenotypes, covariates=covariates, offsets=offsets, samples=samples)
    frames = list(
        iterate_associations(
            store, people, options=options, variants=variants, threads=threads, block_size=block_size, progress=progress
        )
    )
    table = ASSOCIATION.validate(pl.concat(frames, rechunk=True) if frames else ASSOCIATION.empty())
    return AssociationResult(table, summarise(people, table))


def people_of(
    store: GenotypeStore,
    phenotypes: PhenotypeTable,
    *,
    covariates: pl.DataFrame | None = None,
    offsets: Offsets | None = None,
    samples: Any = None,
) -> People:
    """Bring phenotypes, covariates and sex into the order of the store's samples.

    Raises
    ------
    LabelError: when no sample of the genotypes has a phenotype.
    """
    chosen = np.ones(store.n_samples, dtype=np.bool_)
    if samples is not None:
        chosen[:] = False
        chosen[np.asarray(samples, dtype=np.int64)] = True
    if offsets is not None and list(offsets.sample_ids) != store.samples["sample_id"].to_list():
        raise ConfigError("the offsets were read for other samples than the genotypes have")
    people = gather_people(
        store.samples["sample_id"].to_list(), store.samples["sex"].to_numpy(), phenotypes, covariates, offsets, chosen
    )
    if not (np.isfinite(people.phenotypes).any(axis=1) & chosen).any():
        raise LabelError(
            "no sample of the genotypes has a phenotype", hint="check that the phenotype table's IIDs are those of IN"
        )
    return people


def tested_samples(people: People) -> IntArray:
    """Return who is tested for any phenotype on diploid contigs, ascending."""
    known = np.isfinite(people.phenotypes).any(axis=1)
    return np.flatnonzero(eligible(people, "diploid") & known).astype(np.int64)


def iterate_associations(
    store: GenotypeStore,
    people: People,
    *,
    options: AssociationOptions | None = None,
    variants: Any = None,
    threads: int = 1,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield results (schema ASSOCIATION) block by block, in the order of ``variants``; memory holds a few blocks."""
    from threadpoolctl import threadpool_limits

    chosen = options or AssociationOptions()
    rows = np.arange(store.n_variants) if variants is None else np.asarray(variants, dtype=np.int64)
    dosages = records_with_dosages(store.prefix.with_name(store.prefix.name + ".pgen"), store.n_records)
    n_used = max(1, int(people.chosen.sum()))
    tile = max(1, min(MAX_TILE, TILE_CELLS // n_used))
    size = block_size or max(tile, BLOCK_CELLS // n_used)
    size = (size + tile - 1) // tile * tile
    done = 0

    def work(block: _Block) -> pl.DataFrame:
        return _test_block(store, people, chosen, block, dosages, tile)

    with threadpool_limits(limits=1, user_api="blas"):
        for frame in _in_order(work, _blocks(store, people, chosen, rows, size), threads):
            done += frame.height // len(people.names)
            if progress is not None:
                progress(done / len(rows), done)
            yield frame


def _in_order(work: Callable[[_Block], pl.DataFrame], blocks: Iterator[_Block], threads: int) -> Iterator[pl.DataFrame]:
    """Run blocks on some threads, at most two each in flight; yield in their order."""
    if threads <= 1:
        yield from map(work, blocks)
        return
    waiting: list[Future[pl.DataFrame]] = []
    with ThreadPoolExecutor(threads) as pool:
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) >= 2 * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _blocks(
    store: GenotypeStore, people: People, options: AssociationOptions, rows: IntArray, size: int
) -> Iterator[_Block]:
    """Cut the variants into blocks, each with its groups of people; groups are built once per kind of contig."""
    built: dict[tuple[Place, str], list[Group]] = {}
    for segment in _segments(store, rows, by_contig=people.offsets is not None):
        key = (segment.place, segment.contig)
        if key not in built:
            built = {k: v for k, v in built.items() if not people.offsets} | {key: _groups(people, options, segment)}
        for start in range(0, len(segment.rows), size):
            yield _Block(segment.rows[start : start + size], segment.place, built[key])


def _groups(people: People, options: AssociationOptions, segment: _Segment) -> list[Group]:
    """Where the few people of X, Y or MT cannot be tested, the autosomes still can."""
    try:
        return build_groups(
            people, segment.place, segment.contig, options.model, sex_on_x=options.sex_on_x,
            max_vif=options.max_vif, max_correlation=options.max_correlation,
        )  # fmt: skip
    except LabelError:
        if segment.place == "diploid":
            raise
        return []


def _segments(store: GenotypeStore, rows: IntArray, *, by_contig: bool) -> Iterator[_Segment]:
    if not len(rows):
        return
    classes = store_ploidy_classes(store)[rows]
    places = [place_of(int(c)) for c in range(int(classes.max()) + 1)]
    contigs = store.variants["contig"][rows]
    changes = classes[1:] != classes[:-1]
    codes = np.array([("diploid", "X", "Y", "MT").index(p) for p in places])[classes]
    changes = codes[1:] != codes[:-1]
    if by_contig:
        changes = changes | (contigs[1:] != contigs[:-1]).to_numpy()
    cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(rows)]
    for start, end in pairwise(cuts):
        yield _Segment(rows[start:end], places[int(classes[start])], contigs[start] if by_contig else "")


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


def _test_block(
    store: GenotypeStore, people: People, options: AssociationOptions, block: _Block, dosages: BoolArray, tile: int
) -> pl.DataFrame:
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
    store: GenotypeStore, people: People, options: AssociationOptions, block: _Block, columns: _Columns
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
