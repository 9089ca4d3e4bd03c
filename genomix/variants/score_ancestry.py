"""Components for the adjustment of scores: given ones brought into the samples' order, or fitted on chosen samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, LinkError
from genomix.io.plink import GenotypeStore
from genomix.variants.ld import prune_pairwise
from genomix.variants.pca import fit_pca_of_store, project_store
from genomix.variants.qc import autosomal_biallelic
from genomix.variants.scores import Ancestry

FloatArray = npt.NDArray[np.float64]

PRUNE_R2 = 0.2


def given_ancestry(
    components: pl.DataFrame,
    sample_ids: pl.Series,
    *,
    origin: str,
    reference_scores: pl.DataFrame | None = None,
    fit_ids: tuple[str, ...] | None = None,
) -> Ancestry:
    """Bring components from a table into the samples' order.

    Parameters
    ----------
    components: sample_id, PC1, PC2, ...
    reference_scores: sample_id and one column per score: the adjustment is fitted on these people (those of ``fit_ids``
        where given), who need components too; None fits on the scored samples.

    Raises
    ------
    LinkError: when a scored sample or no reference person has components.
    """
    found = pl.DataFrame({"sample_id": sample_ids}).join(components, on="sample_id", how="left", maintain_order="left")
    lacking = int(found["PC1"].null_count())
    if lacking == found.height:
        raise LinkError("no scored sample has components", hint="check the identifiers of --pcs")
    values = _matrix(found)
    if reference_scores is None:
        return Ancestry(values, origin)
    joined = reference_scores.join(components, on="sample_id", how="inner", maintain_order="left")
    if fit_ids is not None:
        joined = joined.filter(pl.col("sample_id").is_in(fit_ids))
    if not joined.height:
        raise LinkError("no reference person has both a score and components", hint="check the identifiers")
    names = [c for c in reference_scores.columns if c != "sample_id"]
    scores = {name: joined[name].to_numpy().astype(np.float64) for name in names}
    return Ancestry(values, origin, _matrix(joined), scores)


def fitted_ancestry(
    store: GenotypeStore,
    *,
    n_components: int,
    fit_samples: npt.NDArray[np.int64] | None,
    samples: Any = None,
    seed: int = 0,
) -> Ancestry:
    """Fit components on ``fit_samples`` at autosomal biallelic variants thinned for linkage there, and project.

    Raises
    ------
    ConfigError: when there are too few variants.
    """
    rows = np.flatnonzero(autosomal_biallelic(store)).astype(np.int64)
    teachers = samples if fit_samples is None else fit_samples
    kept = rows[prune_pairwise(store, variants=rows, samples=teachers, r2=PRUNE_R2)] if len(rows) else rows
    if len(kept) <= n_components:
        raise ConfigError(f"{len(kept)} variants are too few for {n_components} components", hint="give --pcs")
    model = fit_pca_of_store(store, variants=kept, samples=teachers, n_components=n_components, seed=seed)
    # Everyone is projected, whoever is scored: the last bits of a matrix product depend on its size.
    values = project_store(model, store, variants=kept)
    values = values if samples is None else values[samples]
    who = "the scored samples" if fit_samples is None else f"{len(fit_samples)} fit samples"
    return Ancestry(
        np.asarray(values, dtype=np.float64), f"{n_components} components of {len(kept)} variants, fitted on {who}"
    )


def _matrix(table: pl.DataFrame) -> FloatArray:
    columns = [c for c in table.columns if c.startswith("PC")]
    return table.select(pl.col(columns).cast(pl.Float64).fill_null(np.nan)).to_numpy().astype(np.float64)
