"""What an association run says at its end: samples and variants, in and out by reason, and the inflation factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.schemas.association import TESTED
from genomix.variants.assoc_design import People
from genomix.variants.assoc_tails import inflation_factor

FloatArray = npt.NDArray[np.float64]


def summarise(people: People, table: pl.DataFrame) -> dict[str, Any]:
    """Return counts of samples and variants by reason, and lambda GC, per phenotype."""
    out: dict[str, Any] = {"samples": sample_flow(people), "phenotypes": {}}
    for name in people.names:
        part = table.filter(pl.col("phenotype") == name)
        codes = part.group_by("errcode").len().sort("errcode")
        out["phenotypes"][name] = phenotype_summary(
            dict(codes.iter_rows()), part["minus_log10_p"].drop_nulls().to_numpy(),
            int((part["model"] == "firth").sum()),
        )  # fmt: skip
    return out


def phenotype_summary(codes: dict[str, int], minus_log10_p: FloatArray, n_firth: int) -> dict[str, Any]:
    """Return what a run says of one phenotype: variants in, tested, left out by reason, lambda GC."""
    factor = inflation_factor(minus_log10_p)
    return {
        "variants": sum(codes.values()),
        "tested": codes.get(TESTED, 0),
        "by_firth": n_firth,
        "not_tested": {k: v for k, v in sorted(codes.items()) if k != TESTED},
        "lambda_gc": None if np.isnan(factor) else factor,
    }


def sample_flow(people: People) -> dict[str, Any]:
    """Return how many samples are tested for each phenotype, and why others are not (the first reason counts)."""
    total = len(people.chosen)
    covered = np.isfinite(people.covariates.values).all(axis=1)
    flow: dict[str, Any] = {"in_genotypes": total, "not_chosen": int((~people.chosen).sum())}
    for i, name in enumerate(people.names):
        known = np.isfinite(people.phenotypes[:, i])
        shifted = people.offsets.known(name) if people.offsets is not None else np.ones(total, dtype=np.bool_)
        tested = people.chosen & known & covered & shifted
        flow[name] = {
            "no_phenotype": int((people.chosen & ~known).sum()),
            "no_covariate": int((people.chosen & known & ~covered).sum()),
            "tested": int(tested.sum()),
        }
        if people.offsets is not None:
            flow[name]["no_offset"] = int((people.chosen & known & covered & ~shifted).sum())
        if people.kinds[i] == "binary":
            flow[name]["cases"] = int((people.phenotypes[tested, i] > 0).sum())
    return flow
