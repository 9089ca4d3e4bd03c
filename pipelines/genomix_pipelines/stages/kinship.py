"""Stage ``kinship``: KING-robust pairs, kin groups, an unrelated set, and clusters where no group can be split."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genomix.schemas.genotypes import KINSHIP
from genomix.variants.kinship import MINIMUM, PairCounts, king_robust_matrix, kinship_pairs
from genomix.variants.qc import autosomal_biallelic
from genomix.variants.relatives import kin_groups, low_kinship_clusters, unrelated
from genomix_pipelines.stage import Stage, StageContext
from genomix_pipelines.stage_inputs import open_genotypes
from genomix_pipelines.study import Study


def run(context: StageContext) -> dict[str, Any]:
    """Write ``kinship.parquet`` (every pair above 0.0442) and ``groups.parquet``.

    ``groups.parquet`` has one row per sample: group, unrelated, and cluster (null unless the study asks for clusters).
    """
    study: Study = context.study
    store = open_genotypes(context)
    keep = pl.read_parquet(context.folder("genotype_qc") / "variants.parquet")["keep"].to_numpy()
    variants = np.flatnonzero(keep & autosomal_biallelic(store))
    compared = PairCounts()
    pairs = kinship_pairs(store, variants=variants, xp=context.device.xp, counted=compared)
    KINSHIP.validate(pairs).write_parquet(context.out / "kinship.parquet")
    groups = kin_groups(store.n_samples, pairs, study.split.kinship)
    clusters = np.full(store.n_samples, -1, dtype=np.int64)
    if study.split.keep_together == "kinship_clusters":
        context.progress(0.5, "clusters")
        matrix = king_robust_matrix(store.read_calls(variants), xp=context.device.xp)
        clusters = low_kinship_clusters(matrix, n_clusters=study.split.clusters)
    frame = pl.DataFrame(
        {"group": groups, "cluster": clusters, "unrelated": unrelated(store.n_samples, pairs, study.split.kinship)}
    )
    frame.write_parquet(context.out / "groups.parquet")
    sizes = np.bincount(np.unique(groups, return_inverse=True)[1])
    return {
        "variants": len(variants),
        "pairs": pairs.height,
        "pairs_without_kinship": compared.undefined,
        "pairs_first_degree": int((pairs["kinship"] > 0.177).sum()),
        "minimum": MINIMUM,
        "groups": len(sizes),
        "largest_group": int(sizes.max()),
    }


def parameters(study: Study, _target: str | None) -> dict[str, Any]:
    """Return the threshold and whether clusters are made."""
    clusters = study.split.clusters if study.split.keep_together == "kinship_clusters" else None
    return {"kinship": study.split.kinship, "clusters": clusters}


STAGE = Stage(
    name="kinship",
    run=run,
    needs=("convert_genotypes", "genotype_qc"),
    wanted=lambda study: study.genotypes is not None,
    parameters=parameters,
)
