"""Who is tested with which covariates: one group of people per pattern of missingness and kind of contig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.io.contigs import PloidyClass
from genomix.io.loco import Offsets
from genomix.io.phenotypes import Kind, PhenotypeTable
from genomix.variants.assoc_linear import LinearNull, fit_linear_null
from genomix.variants.assoc_logistic import LogisticNull, fit_logistic_null

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Place = Literal["diploid", "X", "Y", "MT"]
ModelChoice = Literal["auto", "linear", "logistic", "firth"]

MALE, FEMALE = 1, 2
_RANK = 1e-7
_MOST_NAMED = 3


class Covariates(NamedTuple):
    """Covariates of all the store's samples: float64 (n_samples, c), NaN missing, and their names."""

    values: FloatArray
    names: tuple[str, ...]


@dataclass(frozen=True)
class People:
    """What is known of all the store's samples, in its order.

    ``phenotypes`` float64 (n_samples, p), NaN missing; ``kinds`` one per phenotype; ``chosen`` who may be tested.
    """

    phenotypes: FloatArray
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    covariates: Covariates
    sex: npt.NDArray[np.int8]
    chosen: BoolArray
    offsets: Offsets | None = None


@dataclass(frozen=True)
class Group:
    """People with the same phenotypes known, at one kind of contig.

    ``samples``: their numbers in the store, ascending. ``design`` float64 (n, k): intercept, then standardised
    covariates. ``linear`` covers the phenotypes of ``linear_of`` together (perhaps none), ``logistic`` has one null per
    phenotype. ``columns`` are those of ``linear``; ``triangle`` (k, k) makes ``design`` from its basis.
    """

    samples: IntArray
    design: FloatArray
    names: tuple[str, ...]
    linear: LinearNull
    linear_of: tuple[int, ...]
    columns: FloatArray
    triangle: FloatArray
    logistic: Mapping[int, LogisticNull] = field(default_factory=dict)


def gather_people(
    sample_ids: list[str],
    sex: npt.NDArray[np.int8],
    phenotypes: PhenotypeTable,
    covariates: pl.DataFrame | None,
    offsets: Offsets | None,
    chosen: BoolArray,
) -> People:
    """Bring tables into the store's order; text covariates become indicators of all levels but the commonest."""
    asked = pl.DataFrame({"sample_id": pl.Series(sample_ids, dtype=pl.String)})
    joined = asked.join(phenotypes.values, on="sample_id", how="left", maintain_order="left")
    values = joined.drop("sample_id").cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(len(sample_ids), -1)
    names = tuple(phenotypes.names)
    kinds = tuple(phenotypes.kinds[n] for n in names)
    return People(values, names, kinds, _covariates(asked, covariates), sex, chosen, offsets)


def _covariates(asked: pl.DataFrame, covariates: pl.DataFrame | None) -> Covariates:
    if covariates is None or covariates.width < 2:
        return Covariates(np.empty((asked.height, 0)), ())
    joined = asked.join(covariates, on="sample_id", how="left", maintain_order="left").drop("sample_id")
    columns, names = [], []
    for name in joined.columns:
        series = joined[name]
        if series.dtype != pl.String:
            columns.append(series.cast(pl.Float64).fill_null(float("nan")).to_numpy())
            names.append(name)
            continue
        missing = series.is_null().to_numpy()
        for level in _levels(series):
            columns.append(np.where(missing, np.nan, (series == level).fill_null(False).to_numpy()))
            names.append(f"{name}={level}")
    values = np.column_stack(columns) if columns else np.empty((asked.height, 0))
    return Covariates(values.astype(np.float64), tuple(names))


def _levels(series: pl.Series) -> list[str]:
    """Levels in order without the commonest: beside a rare reference the indicators would inflate each other."""
    counts = series.drop_nulls().value_counts(sort=False).sort(["count", series.name], descending=[True, False])
    return sorted(counts[series.name].to_list()[1:])


def place_of(ploidy: int) -> Place:
    """Return how a contig's genotypes are coded.

    X: a male has 0 or 2 copies, and sex is a covariate (PLINK 2's ``--xchr-model 2``). Y: males only, 0 or 1 copy. MT:
    0 to 1. All else 0 to 2.
    """
    places: dict[int, Place] = {PloidyClass.X: "X", PloidyClass.Y: "Y", PloidyClass.MT: "MT"}
    return places.get(ploidy, "diploid")


def eligible(people: People, place: Place, *, sex_on_x: bool = True) -> BoolArray:
    """Say who can be tested at a kind of contig: chosen, covariates known, and sex where it is needed."""
    who = people.chosen & np.isfinite(people.covariates.values).all(axis=1)
    if place == "X" and sex_on_x:
        return who & np.isin(people.sex, (MALE, FEMALE))
    return who & (people.sex == MALE) if place == "Y" else who


def build_groups(
    people: People, place: Place, contig: str, model: ModelChoice, *, sex_on_x: bool = True,
    max_vif: float = float("inf"), max_correlation: float = 1.0, firth: bool = False,
) -> list[Group]:  # fmt: skip
    """Return the groups for one kind of contig; phenotypes known in the same people share one.

    Parameters
    ----------
    max_vif, max_correlation: limits of the covariates alone, where contigs are diploid (PLINK 2 refuses beyond them
        too); on X, Y and MT, with fewer people, the variants get the error word instead.
    firth: covariates may separate cases from controls, since Firth's regression follows.

    Raises
    ------
    LabelError: when a phenotype has one class, no variance or too few people. ConfigError: for dependent covariates.
    """
    base = eligible(people, place, sex_on_x=sex_on_x)
    patterns: dict[bytes, list[int]] = {}
    masks: dict[bytes, BoolArray] = {}
    offsets = [None if people.offsets is None else people.offsets.of(n, contig) for n in people.names]
    for i in range(len(people.names)):
        mask = base & np.isfinite(people.phenotypes[:, i])
        shift = offsets[i]
        if shift is not None:
            mask &= np.isfinite(shift)
        patterns.setdefault(mask.tobytes(), []).append(i)
        masks[mask.tobytes()] = mask
    groups = []
    for key, members in patterns.items():
        samples = np.flatnonzero(masks[key]).astype(np.int64)
        if not samples.size and place in ("X", "Y"):
            continue
        made = _group(people, place, samples, members, offsets, model, sex_on_x, firth)
        if place == "diploid":
            _check_covariates(made, max_vif, max_correlation)
        groups.append(made)
    return groups


def _check_covariates(group: Group, max_vif: float, max_correlation: float) -> None:
    """Refuse covariates that are nearly copies of each other: every variant would inherit their inflation."""
    if len(group.names) < 2:
        return
    correlations = group.design[:, 1:].T @ group.design[:, 1:] / len(group.design)
    np.fill_diagonal(correlations, 1.0)
    apart = np.abs(correlations - np.eye(len(correlations)))
    first, second = sorted(divmod(int(apart.argmax()), len(apart)))
    if apart[first, second] > max_correlation:
        raise ConfigError(
            f"covariates {group.names[first]} and {group.names[second]} have a correlation of "
            f"{correlations[first, second]:.6f}, above {max_correlation:g} (CORR_TOO_HIGH)",
            hint="leave one of them out of --covariate-names, or a higher --max-corr and --max-vif",
        )
    inflation = np.diag(np.linalg.inv(correlations))
    worst = int(inflation.argmax())
    if inflation[worst] > max_vif:
        raise ConfigError(
            f"covariate {group.names[worst]} has a variance inflation factor of {inflation[worst]:.4g} among the "
            f"covariates, above {max_vif:g} (VIF_TOO_HIGH)",
            hint="leave it out of --covariate-names, or a higher --max-vif",
        )


def _group(
    people: People, place: Place, samples: IntArray, members: list[int], offsets: list[FloatArray | None],
    model: ModelChoice, sex_on_x: bool, firth: bool,
) -> Group:  # fmt: skip
    if place == "diploid":
        _check_number(people, members[0], samples, offsets[members[0]])
    design, names = _design(people, place, samples, sex_on_x)
    linear_of, logistic, shifted = [], {}, []
    for i in members:
        y = people.phenotypes[samples, i]
        shift = offsets[i]
        _check_phenotype(people, i, y, design.shape[1], place)
        if model_of(people.kinds[i], model, people.names[i]) == "linear":
            linear_of.append(i)
            shifted.append(y if shift is None else y - shift[samples] * _offset_scale(people, y, design))
        else:
            if people.offsets is not None and people.offsets.unit != "phenotype" and people.kinds[i] != "binary":
                raise ConfigError(f"offsets of {people.names[i]} have no meaning in logistic regression")
            logistic[i] = fit_logistic_null(y, design, None if shift is None else shift[samples], for_firth=firth)
    null = fit_linear_null(np.column_stack(shifted) if shifted else np.empty((len(samples), 0)), design)
    return Group(samples, design, names, null, tuple(linear_of), null.columns, null.basis.T @ design, logistic)


def model_of(kind: Kind, model: ModelChoice, name: str) -> Literal["linear", "logistic", "firth"]:
    """Return the regression for a phenotype; a quantity cannot be tested by logistic regression."""
    if model == "auto":
        return "logistic" if kind == "binary" else "linear"
    if model != "linear" and kind != "binary":
        raise ConfigError(f"phenotype {name} is a quantity: no {model} regression", hint="--model linear, or auto")
    return model


def _offset_scale(people: People, y: FloatArray, design: FloatArray) -> float:
    """One, or what the covariates leave of the phenotype as a standard deviation (regenie's unit)."""
    if people.offsets is None or people.offsets.unit == "phenotype":
        return 1.0
    residual = fit_linear_null(y[:, None], design).residuals
    return float(np.sqrt((residual**2).sum() / (len(y) - design.shape[1])))


def _check_number(people: People, i: int, samples: IntArray, shift: FloatArray | None) -> None:
    """Refuse more coefficients than people before covariates are held against each other."""
    values = people.covariates.values[samples]
    coefficients = 1 + int((np.ptp(values, axis=0) > 0).sum() if len(samples) else values.shape[1])
    if len(samples) > coefficients + 1:
        return
    known = people.chosen & np.isfinite(people.phenotypes[:, i])
    lost = shortfall(people.covariates.values[known], people.covariates.names, None if shift is None else shift[known])
    raise LabelError(
        f"phenotype {people.names[i]} is known in {int(known.sum()):,} samples{lost}: too few for an intercept and "
        f"{coefficients - 1} covariates",
        hint="fewer covariates (--covariate-names), or tables that know more of the genotypes' IIDs",
    )


def shortfall(values: FloatArray, names: tuple[str, ...], shift: FloatArray | None) -> str:
    """Say how many of some people have every covariate and an offset, and which covariates the others lack.

    Parameters
    ----------
    values: covariates, float64 (n, c), NaN missing. names: of the c covariates. shift: offsets (n,); None for none.

    >>> shortfall(np.array([[1.0, np.nan], [2.0, np.nan]]), ("age", "bmi"), None)
    ', of whom 0 have all covariates (bmi is missing in 2)'
    """
    complete = np.isfinite(values).all(axis=1)
    said = ""
    if not complete.all():
        gone = (~np.isfinite(values)).sum(axis=0)
        worst = sorted((j for j in range(len(names)) if gone[j]), key=lambda j: (-gone[j], j))
        listed = ", ".join(f"{names[j]} is missing in {gone[j]:,}" for j in worst[:_MOST_NAMED])
        more = f", and {len(worst) - _MOST_NAMED} more" if len(worst) > _MOST_NAMED else ""
        said = f", of whom {int(complete.sum()):,} have all covariates ({listed}{more})"
    if shift is not None and not (found := np.isfinite(shift)).all():
        link = "and of these" if said else ", of whom"
        said += (
            f" {link} {int((complete & found).sum()):,} an offset"
            if said
            else f"{link} {int(found.sum()):,} have an offset"
        )
    return said


def _check_phenotype(people: People, i: int, y: FloatArray, n_columns: int, place: Place) -> None:
    name = people.names[i]
    where = "" if place == "diploid" else f" among those tested on {place}"
    if len(y) <= n_columns + 1:
        raise LabelError(
            f"phenotype {name} is known in {len(y)} samples{where}, too few for {n_columns} coefficients",
            hint="check that the tables' IIDs are those of the genotypes",
        )
    if float(y.min()) == float(y.max()):
        what = "only one class" if people.kinds[i] == "binary" else "only one value"
        raise LabelError(f"phenotype {name} has {what}{where} ({len(y)} samples)", hint="check its coding")


def _design(people: People, place: Place, samples: IntArray, sex_on_x: bool) -> tuple[FloatArray, tuple[str, ...]]:
    """Intercept and standardised covariates; constant ones are left out, and sex on X where it adds nothing."""
    columns, names = [np.ones(len(samples))], []
    offered = [(people.covariates.values[samples, j], name) for j, name in enumerate(people.covariates.names)]
    if place == "X" and sex_on_x:
        offered.append(((people.sex[samples] == MALE).astype(np.float64), ""))
    basis = np.full((len(samples), 1), 1 / np.sqrt(max(len(samples), 1)))
    for values, name in offered:
        centred = values - values.mean() if len(values) else values
        length = float(np.sqrt(centred @ centred))
        if length <= 1e-12 * max(1.0, float(np.abs(values).max(initial=0.0))) * np.sqrt(max(len(values), 1)):
            continue
        unit = centred / length
        left = unit - basis @ (basis.T @ unit)
        left -= basis @ (basis.T @ left)
        rest = float(np.sqrt(left @ left))
        if rest < _RANK:
            # Among the fewer people of X, Y or MT others may span it; without it the fit is the same.
            if name == "" or place != "diploid":
                continue
            raise ConfigError(
                f"covariate {name} is a linear combination of the others", hint="leave it out of --covariate-names"
            )
        basis = np.column_stack([basis, left / rest])
        columns.append(unit * np.sqrt(len(samples)))
        names.append(name or "sex")
    return np.ascontiguousarray(np.column_stack(columns)), tuple(names)
