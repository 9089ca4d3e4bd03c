"""Copies of the alternative allele at single variants.

Options
-------
select: ``all`` kept variants (default), ``cis`` (those of ``region``) or ``list`` (those of ``variants``). region:
``{"contig", "start", "end"}`` or ``"contig:start-end"``, both ends included. variants: identifiers, or
``contig:position:ref:alt``; with ``list`` all of them are used. For ``all`` and ``cis``, learned from training people:
minor_allele_frequency: smallest frequency (default 0.05); prune_r2: largest squared correlation of two variants within
``prune_window_bp`` (default 0.8 within 1,000,000 bp; None: no thinning); max_variants: the most frequent ones where
more are left (default None: all). cis_window_bp is accepted and unused: the region already includes it.

Selection by association: ``select = {"by": "association", "p": 1e-4, "max_variants": 500, "clump_r2": 0.2}``. Every
kept variant is tested (linear or logistic regression, as the label is) among the unrelated training people of the fold,
and nobody else: ``fit`` is given no other label. Variants with a P below ``p`` are taken from the smallest up, leaving
out one whose squared correlation with a taken one within ``clump_window_bp`` (1,000,000) exceeds ``clump_r2`` (None: no
clumping), ``max_variants`` at most (None: all) and ``min_variants`` (1) at least, whatever their P. ``components`` (0):
principal components of the same people as covariates. A person with several rows counts once, with the mean label, or
as a case when any row is one. minor_allele_frequency applies too; prune_r2 and max_variants outside ``select`` do not.

Otherwise no label is ever seen. A missing genotype, and a person without genotypes, are
missing. On X outside the pseudo-autosomal regions a man has 0 or 2 copies here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.association import select_by_association
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.genotypes import (
    column_table,
    genotypes_of,
    kept_variants,
    linked_samples,
    rows_of_keys,
    training_samples,
    variant_keys,
    with_defaults,
)
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.io.contigs import normalise_contig
from genomix.variants.pca import allele_frequencies, ld_prune

DEFAULTS: dict[str, Any] = {
    "select": "all",
    "region": None,
    "variants": (),
    "minor_allele_frequency": 0.05,
    "prune_r2": 0.8,
    "prune_window_bp": 1_000_000,
    "max_variants": None,
    "cis_window_bp": None,
}
MAX_VALUES = 1_500_000_000
"""Values of one block (6 GB as float32); more is refused with what to change."""

_REGION = re.compile(r"^([^:]+):(\d+)-(\d+)$")
_PREFIX = "dosage:"


class DosagesFamily:
    """One column per chosen variant."""

    name = "dosages"
    rung = "variants"
    learns = True
    needs: frozenset[str] = frozenset({"genotypes"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return the dosages of every candidate variant."""
        store, sample_of_row = genotypes_of(inputs)
        rows = _candidates(inputs, with_defaults(self.name, options, DEFAULTS))
        if len(rows) * inputs.n_rows > MAX_VALUES:
            raise ConfigError(
                f"{len(rows)} variants of {inputs.n_rows} rows are too many for one table",
                hint="a region, a list of variants, or thinned genotypes",
            )
        samples = linked_samples(sample_of_row)
        values = np.full((inputs.n_rows, len(rows)), np.nan, dtype=np.float32)
        linked = sample_of_row >= 0
        values[linked] = store.read_dosages(rows, samples).T[np.searchsorted(samples, sample_of_row[linked])]
        return FeatureBlock(values, _columns(store.variants[rows]))

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn which candidates to keep, from allele frequencies and linkage among the people of ``rows``."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        candidates = _candidates(inputs, chosen)
        if isinstance(chosen["select"], Mapping):
            candidates = select_by_association(inputs, candidates, rows, chosen)
        elif chosen["select"] != "list":
            candidates = _thin(inputs, candidates, training_samples(inputs, rows), chosen)
        if not len(candidates):
            raise ConfigError(
                "no variant is left for dosages", hint="a larger region or a lower minor_allele_frequency"
            )
        store, _ = genotypes_of(inputs)
        return {"variants": variant_keys(store.variants[candidates]).to_list()}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the learned variants' columns; one that this store lacks is missing in everyone."""
        place = {name: i for i, name in enumerate(block.columns["name"].to_list())}
        names = [_PREFIX + key for key in learned["variants"]]
        if all(name in place for name in names):
            return block.select(names)
        values = np.full((inputs.n_rows, len(names)), np.nan, dtype=np.float32)
        for i, name in enumerate(names):
            if name in place:
                values[:, i] = block.values[:, place[name]]
        return FeatureBlock(values, _columns(_variants_of_keys(learned["variants"])))


FAMILY = DosagesFamily()


def _columns(variants: pl.DataFrame) -> pl.DataFrame:
    keys = variant_keys(variants).to_list()
    rows = []
    for key, (contig, position, name, ref, alt) in zip(
        keys, variants.select("contig", "position", "variant_id", "ref", "alt").iter_rows(), strict=True
    ):
        known_as = "" if name == key else f", {name}"
        text = f"copies of {alt} (instead of {ref}) at {contig}:{position}{known_as}"
        rows.append((_PREFIX + key, key, "copies", name, text))
    return column_table(FAMILY.name, FAMILY.rung, rows)


def _variants_of_keys(keys: list[str]) -> pl.DataFrame:
    parts = [key.rsplit(":", 3) for key in keys]
    return pl.DataFrame(
        {
            "contig": [p[0] for p in parts],
            "position": [int(p[1]) for p in parts],
            "variant_id": keys,
            "ref": [p[2] for p in parts],
            "alt": [p[3] for p in parts],
        }
    )


def _candidates(inputs: FeatureInputs, options: Mapping[str, Any]) -> RowArray:
    """Rows of the store's variants, each key once."""
    select = options["select"]
    if select == "list":
        return _listed(inputs, list(options["variants"]))
    store, _ = genotypes_of(inputs)
    rows = kept_variants(inputs)
    rows = np.asarray(rows[variant_keys(store.variants[rows]).is_first_distinct().to_numpy()])
    if select == "all" or isinstance(select, Mapping):
        return rows
    if select != "cis":
        raise ConfigError(f"dosages select = {select!r}", hint='all, cis or list, or a table with by = "association"')
    contig, start, end = _region(options["region"])
    table = store.variants[rows]
    inside = (table["contig"] == contig) & table["position"].is_between(start, end)
    if not inside.any():
        raise ConfigError(f"no kept variant lies in {contig}:{start}-{end}", hint="check the build and the region")
    return np.asarray(rows[inside.to_numpy()])


def _region(region: Any) -> tuple[str, int, int]:
    if isinstance(region, Mapping) and {"contig", "start", "end"} <= set(region):
        return normalise_contig(str(region["contig"])), int(region["start"]), int(region["end"])
    if isinstance(region, str) and (found := _REGION.match(region.replace(",", ""))):
        return normalise_contig(found.group(1)), int(found.group(2)), int(found.group(3))
    raise ConfigError(f"dosages select = 'cis' needs a region, not {region!r}", hint='region = "22:100-200"')


def _listed(inputs: FeatureInputs, names: list[str]) -> RowArray:
    """Rows of listed variants, in the list's order; an unknown one, or one that failed quality control, is an error."""
    store, _ = genotypes_of(inputs)
    if not names:
        raise ConfigError("dosages select = 'list' names no variants")
    by_key = rows_of_keys(store, names)
    known = store.variants.select(pl.col("variant_id").alias("key")).with_row_index("row").unique("key", keep="first")
    asked = pl.DataFrame({"key": pl.Series("key", names, dtype=pl.String)})
    joined = asked.join(known, on="key", how="left", maintain_order="left")
    by_id = joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()
    rows = np.where(by_key >= 0, by_key, by_id).astype(np.int64)
    kept = np.isin(rows, kept_variants(inputs))
    for name, row, good in zip(names, rows.tolist(), kept.tolist(), strict=True):
        if not good:
            reason = "is not in the genotypes" if row < 0 else "did not pass quality control"
            raise ConfigError(f"variant {name} {reason}", hint="take it off the list of dosages")
    _, first = np.unique(rows, return_index=True)
    return np.asarray(rows[np.sort(first)])


def _thin(inputs: FeatureInputs, rows: RowArray, samples: RowArray, options: Mapping[str, Any]) -> RowArray:
    """Keep frequent variants, then thin for linkage, then keep the most frequent."""
    store, _ = genotypes_of(inputs)
    calls = store.read_calls(rows, samples)
    frequency = allele_frequencies(calls)
    minor = np.nan_to_num(np.minimum(frequency, 1 - frequency))
    keep = (minor > 0) & (minor >= float(options["minor_allele_frequency"] or 0.0))
    rows, calls, minor = rows[keep], calls[keep], minor[keep]
    if options["prune_r2"] is not None and len(rows):
        table = store.variants[rows]
        thinned = ld_prune(
            calls, table["contig"], table["position"].to_numpy(),
            r2=float(options["prune_r2"]), window_bp=int(options["prune_window_bp"]),
        )  # fmt: skip
        rows, minor = rows[thinned], minor[thinned]
    if options["max_variants"] is not None and len(rows) > int(options["max_variants"]):
        most = np.lexsort((np.arange(len(rows)), -minor))[: int(options["max_variants"])]
        rows = rows[np.sort(most)]
    return rows
