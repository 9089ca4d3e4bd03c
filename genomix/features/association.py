"""Selection of variants by their association with the label, among training people only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LabelError
from genomix.features.family import FeatureInputs
from genomix.features.genotypes import (
    ANCESTRY_DEFAULTS,
    genotypes_of,
    learn_ancestry,
    project_ancestry,
)
from genomix.features.matrix import RowArray
from genomix.io.phenotypes import PhenotypeTable, classify
from genomix.io.plink import GenotypeStore
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.association import associate

FloatArray = npt.NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "by": "association",
    "p": 1e-4,
    "max_variants": 500,
    "min_variants": 1,
    "clump_r2": 0.2,
    "clump_window_bp": 1_000_000,
    "components": 0,
}


def select_by_association(
    inputs: FeatureInputs, candidates: RowArray, rows: RowArray, options: Mapping[str, Any]
) -> RowArray:
    """Return the chosen rows of the store's variants, ascending; see :mod:`genomix.features.families.dosages`.

    Parameters
    ----------
    candidates: rows of the store's variants that may be chosen. rows: the fold's training rows; the label of any other
        row is not looked at. options: the family's; ``select`` holds this selection's.

    Raises
    ------
    ConfigError: for an unknown option, or inputs without a training target. LabelError: when the label has one class.
    """
    chosen = _options(options["select"])
    store, sample_of_row = genotypes_of(inputs)
    if inputs.training_target is None:
        raise ConfigError("selection by association needs the training rows' labels, which were not given")
    used = rows if inputs.unrelated is None else rows[inputs.unrelated[rows]]
    labels = _label_of_samples(inputs.training_target[used], sample_of_row[used])
    if not labels.height:
        raise LabelError("no training row with genotypes has a label: nothing to select variants by")
    names = store.samples["sample_id"].gather(labels["sample"])
    values, kind = classify(labels["label"])
    phenotypes = PhenotypeTable(pl.DataFrame({"sample_id": names, "label": values}), {"label": kind})
    n_alleles = 2.0 * labels.height
    smallest = float(options["minor_allele_frequency"] or 0.0) * n_alleles
    table = associate(
        store, phenotypes, covariates=_components(inputs, rows, labels, names, int(chosen["components"])),
        options=AssociationOptions(min_allele_count=max(smallest, 1.0)), variants=candidates,
        samples=labels["sample"].to_numpy(),
    ).table  # fmt: skip
    strength = table["minus_log10_p"].fill_null(-1.0).to_numpy()
    tested = np.flatnonzero(strength >= 0)
    order = tested[np.lexsort((tested, -strength[tested]))]
    taken = _take(store, candidates, order, strength, labels["sample"].to_numpy(), chosen)
    return np.sort(candidates[np.asarray(taken, dtype=np.int64)])


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"dosages select has no option {unknown[0]!r}", hint="it has: " + ", ".join(DEFAULTS))
    if given.get("by") != "association":
        raise ConfigError(f"dosages select by {given.get('by')!r}", hint='by = "association"')
    chosen = {**DEFAULTS, **given}
    if not 0 < float(chosen["p"]) <= 1:
        raise ConfigError(f"dosages select p = {chosen['p']}", hint="more than 0, at most 1")
    limit, least = chosen["max_variants"], int(chosen["min_variants"])
    if least < 0 or (limit is not None and least > int(limit)):
        raise ConfigError(
            f"dosages select min_variants = {least}, max_variants = {limit}", hint="0 to max_variants at least"
        )
    return chosen


def _label_of_samples(labels: FloatArray, samples: RowArray) -> pl.DataFrame:
    """One label per sample, ascending: the mean over its rows, or 1 when a 0/1 label is 1 in any."""
    frame = pl.DataFrame({"sample": samples, "label": labels}).filter(
        (pl.col("sample") >= 0) & pl.col("label").is_finite()
    )
    binary = bool(frame["label"].is_in([0.0, 1.0]).all())
    ordered = frame.sort("sample", "label")
    value = pl.col("label").max() if binary else pl.col("label").mean()
    return ordered.group_by("sample", maintain_order=True).agg(value.alias("label"))


def _components(
    inputs: FeatureInputs, rows: RowArray, labels: pl.DataFrame, names: pl.Series, n_components: int
) -> pl.DataFrame | None:
    """Principal components learned from the training rows, of the people who are tested."""
    if not n_components:
        return None
    learned = learn_ancestry(inputs, rows, {**ANCESTRY_DEFAULTS, "n_components": n_components})
    scores = project_ancestry(inputs, learned)
    _, sample_of_row = genotypes_of(inputs)
    first = {int(sample): row for row, sample in reversed(list(enumerate(sample_of_row.tolist())))}
    at = [first[int(sample)] for sample in labels["sample"].to_list()]
    columns = {f"PC{i + 1}": scores[at, i] for i in range(scores.shape[1])}
    return pl.DataFrame({"sample_id": names, **columns})


def _take(
    store: GenotypeStore, candidates: RowArray, order: RowArray, strength: FloatArray, samples: RowArray,
    chosen: Mapping[str, Any],
) -> list[int]:  # fmt: skip
    """Walk from the smallest P up, leaving out what is linked with a taken variant."""
    limit = len(order) if chosen["max_variants"] is None else int(chosen["max_variants"])
    least = int(chosen["min_variants"])
    table = store.variants[candidates]
    contigs, positions = table["contig"].to_list(), table["position"].to_numpy()
    window_bp = int(chosen["clump_window_bp"])
    taken: list[int] = []
    held: dict[int, FloatArray] = {}
    for at in order.tolist():
        significant = strength[at] > -np.log10(float(chosen["p"]))
        if len(taken) >= limit or (not significant and len(taken) >= least):
            break
        if chosen["clump_r2"] is not None:
            unit = _unit(store.read_dosages(candidates[[at]], samples)[0].astype(np.float64))
            near = [
                t for t in taken
                if contigs[t] == contigs[at] and abs(int(positions[t] - positions[at])) <= window_bp
            ]  # fmt: skip
            if any(float(held[t] @ unit) ** 2 > float(chosen["clump_r2"]) for t in near):
                continue
            held[at] = unit
        taken.append(at)
    return taken


def _unit(dosages: FloatArray) -> FloatArray:
    """Centred dosages of length one, missing ones as the mean."""
    centred = np.where(np.isnan(dosages), 0.0, dosages - np.nanmean(dosages))
    return np.asarray(centred / np.sqrt(centred @ centred))
