"""What the genotype families share: which samples may teach, variants by key, values per sample spread onto rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.io.plink import MISSING_CALL, GenotypeStore, variant_key
from genomix.schemas.features import COLUMNS
from genomix.variants.pca import PcaModel, fit_pca, ld_prune, project
from genomix.variants.qc import autosomal_biallelic

FloatArray = npt.NDArray[np.float64]

ANCESTRY_DEFAULTS: dict[str, Any] = {
    "n_components": 5,
    "prune_r2": 0.2,
    "prune_window_bp": 500_000,
    "max_variants": 20_000,
    "seed": 0,
}
"""Options of the principal components; ``prune_r2`` None switches thinning for linkage off."""


def with_defaults(family: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options over their defaults; an unknown one is a :class:`ConfigError`."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise ConfigError(f"{family} has no option {unknown[0]!r}", hint="it has: " + ", ".join(sorted(defaults)))
    return {**defaults, **options}


def genotypes_of(inputs: FeatureInputs) -> tuple[GenotypeStore, RowArray]:
    """Return the store and each row's sample (-1 without one); a study without genotypes is a :class:`ConfigError`."""
    if inputs.genotypes is None or inputs.sample_of_row is None:
        raise ConfigError("this feature family needs genotypes, which the study does not give")
    return inputs.genotypes, np.asarray(inputs.sample_of_row, dtype=np.int64)


def kept_variants(inputs: FeatureInputs) -> RowArray:
    """Return the rows of the store's variants that passed quality control, ascending."""
    store, _ = genotypes_of(inputs)
    if inputs.variant_keep is None:
        return np.arange(store.n_variants, dtype=np.int64)
    return np.unique(np.asarray(inputs.variant_keep, dtype=np.int64))


def training_samples(inputs: FeatureInputs, rows: RowArray, *, unrelated_only: bool = False) -> RowArray:
    """Return the samples of ``rows``, ascending and once each: order and repetition teach nothing."""
    _, sample_of_row = genotypes_of(inputs)
    chosen = np.asarray(rows, dtype=np.int64)
    if unrelated_only and inputs.unrelated is not None:
        chosen = chosen[inputs.unrelated[chosen]]
    samples = sample_of_row[chosen]
    return np.unique(samples[samples >= 0])


def variant_keys(variants: pl.DataFrame) -> pl.Series:
    """Return ``contig:position:ref:alt`` of each variant: its name in anything that is learned."""
    return variants.select(variant_key().alias("key")).to_series()


def rows_of_keys(store: GenotypeStore, keys: Sequence[str]) -> RowArray:
    """Return the store's row of each key (its first, should it repeat), -1 where the store has none."""
    known = pl.DataFrame({"key": variant_keys(store.variants)}).with_row_index("row").unique("key", keep="first")
    asked = pl.DataFrame({"key": pl.Series("key", list(keys), dtype=pl.String)})
    found = asked.join(known, on="key", how="left", maintain_order="left")
    return found["row"].cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)


def read_known_calls(store: GenotypeStore, rows: RowArray, samples: RowArray) -> npt.NDArray[np.int8]:
    """Return calls (n_variants, n_samples); a variant that the store lacks (-1) is missing throughout."""
    calls = np.full((len(rows), len(samples)), MISSING_CALL, dtype=np.int8)
    known = rows >= 0
    calls[known] = store.read_calls(rows[known], samples)
    return calls


def onto_rows(values: npt.NDArray[Any], samples: RowArray, sample_of_row: RowArray) -> FloatArray:
    """Return values (n_samples, k) of ascending ``samples`` for each row, NaN where the row has no sample."""
    out = np.full((len(sample_of_row), values.shape[1]), np.nan)
    linked = sample_of_row >= 0
    out[linked] = values[np.searchsorted(samples, sample_of_row[linked])]
    return out


def linked_samples(sample_of_row: RowArray) -> RowArray:
    """Return all samples that some row has, ascending."""
    return np.unique(sample_of_row[sample_of_row >= 0])


def column_table(family: str, rung: str, rows: Sequence[tuple[str, str, str | None, str | None, str]]) -> pl.DataFrame:
    """Return the columns' dictionary from (name, group, unit, code, sentence); genotypes have no window and no lag."""
    return COLUMNS.validate(
        pl.DataFrame(
            [
                (n, family, rung, group, "genotypes", None, None, unit, code, text, None)
                for n, group, unit, code, text in rows
            ],
            schema={c.name: c.dtype for c in COLUMNS.columns},
            orient="row",
        )
    )


def empty_rows(inputs: FeatureInputs) -> FeatureBlock:
    """Return a block without columns: nothing is known of a row before something was learned."""
    return FeatureBlock(np.empty((inputs.n_rows, 0), dtype=np.float32), COLUMNS.empty())


def learn_ancestry(inputs: FeatureInputs, rows: RowArray, options: Mapping[str, Any]) -> Learned:
    """Fit principal components on the unrelated samples of ``rows`` at autosomal variants thinned for linkage there."""
    store, _ = genotypes_of(inputs)
    samples = training_samples(inputs, rows, unrelated_only=True)
    variants = kept_variants(inputs)
    variants = variants[autosomal_biallelic(store)[variants]]
    limit = int(options["max_variants"])
    if len(variants) > limit:
        variants = variants[np.linspace(0, len(variants) - 1, limit).round().astype(np.int64)]
    calls = store.read_calls(variants, samples)
    if options["prune_r2"] is not None:
        table = store.variants[variants]
        thinned = ld_prune(
            calls, table["contig"], table["position"].to_numpy(),
            r2=float(options["prune_r2"]), window_bp=int(options["prune_window_bp"]),
        )  # fmt: skip
        variants, calls = variants[thinned], calls[thinned]
    model = fit_pca(calls, n_components=int(options["n_components"]), seed=int(options["seed"]))
    return {"variants": variant_keys(store.variants[variants]).to_list(), **model.to_dict()}


def project_ancestry(inputs: FeatureInputs, learned: Mapping[str, Any]) -> FloatArray:
    """Return every row's components, float64 (n_rows, n_components), NaN without a sample."""
    store, sample_of_row = genotypes_of(inputs)
    samples = linked_samples(sample_of_row)
    calls = read_known_calls(store, rows_of_keys(store, learned["variants"]), samples)
    return onto_rows(project(PcaModel.from_dict(learned), calls), samples, sample_of_row)
