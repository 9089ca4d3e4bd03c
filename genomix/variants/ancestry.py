"""Principal components as tables: scores with ancestry outliers, and a fitted model that can be saved and used again.

Outliers: the squared Mahalanobis distance of a sample's scores, with centre and covariance by the orthogonalised
Gnanadesikan-Kettenring estimate of the fitting samples, reweighted once (Maronna and Zamar 2002,
doi:10.1198/004017002188618509), scaled so that the fitting samples' median is that of chi-square with as many degrees
of freedom as there are components; the bound is a quantile of that chi-square. With ancestry labels, centre and
covariance are those of the fitting samples of the sample's own label. Components of several populations are no
ellipsoid: without labels a small population lies far out as a whole, which says that it is small, not that it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.io.plink import GenotypeStore
from genomix.schemas.genotypes import COMPONENT_SCORES, EIGENVALUES, PCA_MODEL
from genomix.variants.genotype_counts import FloatArray, IntArray
from genomix.variants.pca import PcaModel
from genomix.variants.pca_shrinkage import expected_sd

OUTLIER_P = 1e-6
"""Probability under the normal model below which a sample counts as an outlier."""


class Matched(NamedTuple):
    """A model's variants in a store: its row of each (-1 without one), and how many match, swapped or not."""

    rows: IntArray
    swapped: npt.NDArray[np.bool_]
    n_matched: int


def mahalanobis(
    scores: FloatArray, fitted: npt.NDArray[np.bool_], *, labels: Sequence[str | None] | pl.Series | None = None
) -> FloatArray:
    """Return each sample's squared robust Mahalanobis distance, float64 (n_samples,).

    NaN for a sample whose label has too few fitting samples (at most twice the components), or that has no label.

    Parameters
    ----------
    scores: float64 (n_samples, n_components).
    fitted: bool (n_samples,), whose centre and covariance decide.
    labels: ancestry label per sample; None takes everyone together.
    """
    names = pl.Series("label", labels if labels is not None else ["all"] * len(scores), dtype=pl.String)
    out = np.full(len(scores), np.nan)
    for label in names.drop_nulls().unique().sort().to_list():
        members = (names == label).fill_null(False).to_numpy()
        taught = scores[members & fitted]
        if len(taught) > 2 * scores.shape[1]:
            out[members] = _robust_distance(taught, scores[members])
    return out


def _robust_distance(taught: FloatArray, scores: FloatArray) -> FloatArray:
    """Squared distance of ``scores`` from ``taught``; NaN where those do not vary in every component."""
    from scipy.special import chdtri

    n = taught.shape[1]
    centre, scale = np.median(taught, axis=0), _deviation(taught)
    if not (scale > 0).all():
        return np.full(len(scores), np.nan)
    y = (taught - centre) / scale
    shape = np.eye(n)
    for j in range(n):
        for k in range(j):
            pair = np.column_stack([y[:, j] + y[:, k], y[:, j] - y[:, k]])
            plus, minus = _deviation(pair) ** 2
            shape[j, k] = shape[k, j] = (plus - minus) / 4
    _, axes = np.linalg.eigh(shape)
    z = y @ axes
    first = (((z - np.median(z, axis=0)) / _deviation(z)) ** 2).sum(axis=1)
    middle = float(chdtri(n, 0.5))
    inner = taught[first <= chdtri(n, 0.1) * np.median(first) / middle]
    centre = inner.mean(axis=0)
    precision = np.linalg.inv(np.atleast_2d(np.cov(inner.T)))

    def distance(x: FloatArray) -> FloatArray:
        return np.asarray(np.einsum("ij,jk,ik->i", x - centre, precision, x - centre))

    return distance(scores) * middle / float(np.median(distance(taught)))


def _deviation(values: FloatArray) -> FloatArray:
    """Median absolute deviation of each column, as a standard deviation of the normal."""
    return np.asarray(1.482602218505602 * np.median(np.abs(values - np.median(values, axis=0)), axis=0))


def component_scores(
    sample_ids: pl.Series,
    scores: FloatArray,
    fitted: npt.NDArray[np.bool_],
    *,
    labels: Sequence[str | None] | pl.Series | None = None,
    outlier_p: float = OUTLIER_P,
    judge_projected: bool = False,
) -> pl.DataFrame:
    """Return one row per sample: schema COMPONENT_SCORES and one column per component (``pc_1``, ...).

    Parameters
    ----------
    judge_projected: True also judges whether samples that are not ``fitted`` are outliers. Their scores have to be
        comparable: corrected for shrinkage (:mod:`genomix.variants.pca_shrinkage`), or everybody's projected. Without,
        they lie nearer to the centre than they should and hardly ever stand out.
    """
    from scipy.special import chdtri

    distance = mahalanobis(scores, fitted, labels=labels)
    bound = float(chdtri(scores.shape[1], outlier_p))
    judged = np.isfinite(distance) & (fitted | judge_projected)
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "fitted": fitted,
            "distance": pl.Series(distance).fill_nan(None),
            "is_outlier": pl.Series(
                [bool(d > bound) if j else None for d, j in zip(distance, judged, strict=True)], dtype=pl.Boolean
            ),
            **{f"pc_{k + 1}": scores[:, k] for k in range(scores.shape[1])},
        }
    )
    return COMPONENT_SCORES.validate(frame)


def eigenvalue_table(model: PcaModel, scores: FloatArray, fitted: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """Return one row per component (schema EIGENVALUES): its eigenvalue, and the shrinkage of projected scores.

    Parameters
    ----------
    scores: float64 (n_samples, n_components) in standard deviations of the fitted, uncorrected.
    fitted: bool (n_samples,); the others are projected.
    """
    n, projected = model.n_components, scores[~fitted]
    observed = projected.std(axis=0, ddof=1) if len(projected) > 1 else np.full(n, np.nan)
    expected = (
        expected_sd(model.gram_values, model.bulk, model.n_samples) if model.bulk is not None else np.full(n, np.nan)
    )
    frame = pl.DataFrame(
        {
            "component": pl.Series(range(1, n + 1), dtype=pl.Int64),
            "eigenvalue": model.eigenvalues,
            "projected_sd": pl.Series(observed).fill_nan(None),
            "expected_sd": pl.Series(expected).fill_nan(None),
        }
    )
    return EIGENVALUES.validate(frame)


def model_table(model: PcaModel, variants: pl.DataFrame) -> pl.DataFrame:
    """Return a model as a table: schema PCA_MODEL and one column of loadings per component (``pc_1``, ...)."""
    loadings = {f"pc_{k + 1}": model.loadings[:, k] for k in range(model.n_components)}
    frame = variants.select("contig", "position", "variant_id", "ref", "alt").with_columns(
        pl.Series("alt_frequency", model.frequencies), *(pl.Series(name, v) for name, v in loadings.items())
    )
    return PCA_MODEL.validate(frame)


def model_of_table(table: pl.DataFrame, *, where: str | None = None) -> PcaModel:
    """Return the model of a table; its eigenvalues are not in it and are NaN, since projecting needs none.

    Raises
    ------
    FormatError: for a table without components, or with frequencies outside [0, 1].
    """
    checked = PCA_MODEL.validate(table, where=where)
    names = [n for n in checked.columns if n.startswith("pc_")]
    frequency = checked["alt_frequency"].to_numpy()
    loadings = checked.select(pl.col(names).cast(pl.Float64)).to_numpy()
    if not names or not np.isfinite(loadings).all() or not ((frequency >= 0) & (frequency <= 1)).all():
        raise FormatError("this is no saved model of principal components", where=where, hint="a .model.parquet file")
    return PcaModel(frequency, np.ascontiguousarray(loadings), np.full(len(names), np.nan), 0)


def match_model(store: GenotypeStore, table: pl.DataFrame) -> Matched:
    """Find a model's variants in a store by contig, position and alleles, also where REF and ALT are swapped."""
    keys = ["contig", "position", "ref", "alt"]
    own = store.variants.select(keys).with_row_index("row").unique(keys, keep="first", maintain_order=True)
    asked = table.select(keys)
    straight = asked.join(own, on=keys, how="left", maintain_order="left")["row"]
    other = asked.rename({"ref": "alt", "alt": "ref"}).select(keys)
    reverse = other.join(own, on=keys, how="left", maintain_order="left")["row"]
    swapped = (straight.is_null() & reverse.is_not_null()).to_numpy()
    rows = straight.fill_null(reverse).cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)
    return Matched(rows, swapped, int((rows >= 0).sum()))


def oriented(model: PcaModel, swapped: npt.NDArray[np.bool_]) -> PcaModel:
    """Return the model for calls that count the other allele where ``swapped``."""
    frequencies = np.where(swapped, 1 - model.frequencies, model.frequencies)
    loadings: Any = np.where(swapped[:, None], -model.loadings, model.loadings)
    return PcaModel(frequencies, loadings, model.eigenvalues, model.n_samples)
