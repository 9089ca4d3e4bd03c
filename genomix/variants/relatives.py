"""Kin groups, unrelated subsets, clusters of low kinship, and the kinship that crosses a split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError
from genomix.schemas.genotypes import RELATIVES
from genomix.variants.kinship import DEGREES

IntArray = npt.NDArray[np.int64]

FIRST_DEGREE = DEGREES["first"]

_CLUSTER_LIMIT = 20_000


class CrossingKinship(NamedTuple):
    """Pairs with one member on each side: how many are of a degree or closer, and the closest pair's kinship.

    ``counts`` is keyed by degree (duplicate, first, second, third) and cumulative: ``first`` includes duplicates.
    """

    counts: dict[str, int]
    maximum: float | None


def kin_groups(n_samples: int, pairs: pl.DataFrame, threshold: float = FIRST_DEGREE) -> IntArray:
    """Return each sample's kin group, int64 (n_samples,): connected components of pairs above ``threshold``.

    A group's label is its smallest sample number, so that it does not depend on the order of the pairs.

    >>> pairs = pl.DataFrame({"sample_a": [3, 0], "sample_b": [4, 3], "kinship": [0.25, 0.2]})
    >>> kin_groups(5, pairs).tolist()
    [0, 1, 2, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = _above(pairs, threshold)
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(n_samples, n_samples))
    _, labels = connected_components(graph, directed=False)
    smallest = np.full(int(labels.max(initial=-1)) + 1, n_samples, dtype=np.int64)
    np.minimum.at(smallest, labels, np.arange(n_samples))
    return np.asarray(smallest[labels])


def unrelated(n_samples: int, pairs: pl.DataFrame, threshold: float = FIRST_DEGREE) -> npt.NDArray[np.bool_]:
    """Return a maximal set of samples without a pair above ``threshold``, bool (n_samples,).

    Samples with fewer relatives are taken first, equal ones in file order; nobody could be added to the result. It is
    not promised to be the largest such set, which is hard to find.
    """
    first, second = _above(pairs, threshold)
    n_relatives = np.bincount(np.concatenate([first, second]), minlength=n_samples)
    starts, neighbours = _adjacency(n_samples, first, second)
    blocked = np.zeros(n_samples, dtype=np.bool_)
    taken = np.zeros(n_samples, dtype=np.bool_)
    for sample in np.lexsort((np.arange(n_samples), n_relatives)).tolist():
        if not blocked[sample]:
            taken[sample] = True
            blocked[neighbours[starts[sample] : starts[sample + 1]]] = True
    return taken


def relatives_table(sample_ids: pl.Series, pairs: pl.DataFrame, threshold: float = FIRST_DEGREE) -> pl.DataFrame:
    """Return one row per sample (schema RELATIVES): its kin group, the group's size, and a set of unrelated samples.

    Parameters
    ----------
    sample_ids: identifiers that ``pairs`` number from 0.
    pairs: schema KINSHIP, listed down to ``threshold`` at least.
    """
    n = len(sample_ids)
    groups = kin_groups(n, pairs, threshold)
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "group": groups,
            "group_size": np.bincount(groups, minlength=n)[groups].astype(np.int64),
            "unrelated": unrelated(n, pairs, threshold),
        }
    )
    return RELATIVES.validate(frame)


def crossing_kinship(pairs: pl.DataFrame, side_a: Any, side_b: Any) -> CrossingKinship:
    """Count pairs with one sample in ``side_a`` and the other in ``side_b``, by degree.

    Parameters
    ----------
    pairs: schema KINSHIP; pairs below its listing minimum are unknown here and count as nothing.
    side_a, side_b: 0-based samples; a sample on both sides is no pair with itself.
    """
    first, second = pairs["sample_a"].to_numpy(), pairs["sample_b"].to_numpy()
    a, b = np.unique(np.asarray(side_a, dtype=np.int64)), np.unique(np.asarray(side_b, dtype=np.int64))
    crosses = (np.isin(first, a) & np.isin(second, b)) | (np.isin(first, b) & np.isin(second, a))
    values = pairs["kinship"].to_numpy()[crosses]
    counts = {name: int((values > cut).sum()) for name, cut in DEGREES.items()}
    return CrossingKinship(counts, float(values.max()) if len(values) else None)


def low_kinship_clusters(kinship: npt.NDArray[np.float64], *, n_clusters: int) -> IntArray:
    """Return clusters for a population that is one kin group, int64 (n_samples,), labelled by their smallest sample.

    Average-linkage clustering (UPGMA) on ``0.5 - kinship``: close relatives land in one cluster, yet kinship between
    clusters stays and must be measured (:func:`crossing_kinship`) and told. The result is deterministic; sizes differ.

    Parameters
    ----------
    kinship: dense float64 (n_samples, n_samples), symmetric; NaN counts as unrelated.
    n_clusters: number of clusters at most.

    Raises
    ------
    ConfigError: for more than 20,000 samples, or a number of clusters that is not in 1..n_samples.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n = len(kinship)
    if n > _CLUSTER_LIMIT:
        raise ConfigError(f"{n} samples are too many to cluster by a dense kinship matrix (at most {_CLUSTER_LIMIT})")
    if not 1 <= n_clusters <= n:
        raise ConfigError(f"{n_clusters} clusters of {n} samples cannot be made", hint=f"a number from 1 to {n}")
    if n == 1:
        return np.zeros(1, dtype=np.int64)
    distance = np.clip(0.5 - np.nan_to_num(kinship, nan=0.0), 0.0, None)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    raw = fcluster(linkage(squareform(distance, checks=False), method="average"), n_clusters, criterion="maxclust")
    smallest = np.full(int(raw.max()) + 1, n, dtype=np.int64)
    np.minimum.at(smallest, raw, np.arange(n))
    return np.asarray(smallest[raw])


def _above(pairs: pl.DataFrame, threshold: float) -> tuple[IntArray, IntArray]:
    close = pairs.filter(pl.col("kinship") > threshold)
    return close["sample_a"].to_numpy().astype(np.int64), close["sample_b"].to_numpy().astype(np.int64)


def _adjacency(n: int, first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """Compressed neighbour lists: ``neighbours[starts[i]:starts[i + 1]]`` are the relatives of i."""
    ends = np.concatenate([first, second])
    others = np.concatenate([second, first])
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n))]).astype(np.int64)
    return starts, others[np.argsort(ends, kind="stable")]
