"""Shrinkage of projected component scores: how large it is to be expected, and its correction.

Components are turned towards the noise of the people that they were fitted on. Somebody else's noise does not follow,
so that projected scores lie nearer to the origin, the more so the weaker a component and the fewer people were fitted.

Expectation: Lee, Zou and Wright 2010 (doi:10.1214/10-AOS821). With n fitted people, p independent variants, g = p / n
and a component's population eigenvalue l in units of the noise's variance, the sample eigenvalue is l (1 + g / (l - 1))
and the ratio of projected to fitted standard deviations (l - 1) / (l + g - 1); below l = 1 + sqrt(g) the component
mirrors nothing but noise. Variants are not independent: the number that serves as p is the one that explains the spread
of the other eigenvalues (as Patterson, Price and Reich 2006, doi:10.1371/journal.pgen.0020190, do).

Correction: OADP (Zhang, Dey and Lee 2020, doi:10.1093/bioinformatics/btaa152). Each person joins the fitted ones in a
decomposition of its own, whose scores of the fitted ones are then turned, scaled and laid onto their own scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genomix.variants.genotype_counts import FloatArray

_AT_ONCE = 4096


class Bulk(NamedTuple):
    """What the eigenvalues of the samples' Gram matrix add up to beside the components': sum, and sum of squares."""

    total: float
    squares: float


def expected_sd(values: FloatArray, bulk: Bulk, n_samples: int) -> FloatArray:
    """Return the standard deviations to expect of projected scores, float64 (n_components,), the fitted having 1.

    NaN when the other eigenvalues do not spread, so that no number of independent variants explains them.

    Parameters
    ----------
    values: float64 (n_components,) eigenvalues of the Gram matrix of standardised genotypes (samples by samples).
    bulk: of its other eigenvalues.
    n_samples: number of fitting samples.
    """
    others = n_samples - 1 - len(values)
    spread = others * bulk.squares / bulk.total**2 - 1 if others > 0 and bulk.total > 0 else 0.0
    if not spread > 0:
        return np.full(len(values), np.nan)
    gamma = 1 / spread
    sample = values * gamma * others / bulk.total
    middle = sample + 1 - gamma
    above = sample > (1 + np.sqrt(gamma)) ** 2
    population = np.where(above, (middle + np.sqrt(np.maximum(middle**2 - 4 * sample, 0))) / 2, 1 + np.sqrt(gamma))
    shrunk = (population - 1) / (population + gamma - 1)
    return np.asarray(np.where(above, shrunk, np.minimum(1 / np.sqrt(np.maximum(sample, 1e-300)), 1.0)))


def n_to_fit(n: int, n_samples: int) -> int:
    """Return how many components to fit on ``n_samples`` people so that the scores of ``n`` can be corrected.

    >>> n_to_fit(10, 500), n_to_fit(4, 12)
    (30, 11)
    """
    return max(n, min(4 * n, n + 20, n_samples - 1))


def corrected(scores: FloatArray, norms: FloatArray, values: FloatArray, n_samples: int, n: int) -> FloatArray:
    """Return projected scores without shrinkage, float64 (n_projected, n), by OADP.

    Parameters
    ----------
    scores: float64 (n_projected, n_components) as projected, in standard deviations of the fitted.
    norms: float64 (n_projected,) sum of squares of each one's standardised genotypes.
    values: float64 (n_components,) eigenvalues of the fitted samples' Gram matrix; more than ``n`` of them (see
        :func:`n_to_fit`), since what the further components hold would else pass for new directions.
    n_samples: number of fitting samples.
    n: number of components to return.
    """
    out = np.empty((len(scores), n))
    for start in range(0, len(scores), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        out[part] = _corrected(scores[part], norms[part], values, n_samples, n)
    return out


def _corrected(scores: FloatArray, norms: FloatArray, values: FloatArray, n_samples: int, n: int) -> FloatArray:
    k = len(values)
    singular = np.sqrt(values)
    spread = singular / np.sqrt(n_samples)
    along = scores * spread
    across = np.sqrt(np.maximum(norms - (along**2).sum(axis=1), 0))
    joint = np.zeros((len(scores), k + 1, k + 1))
    joint[:, range(k), range(k)] = singular
    joint[:, :k, k] = along
    joint[:, k, k] = across
    _, stretch, right = np.linalg.svd(joint)
    loaded = np.swapaxes(right[:, :n], 1, 2) * stretch[:, None, :n]
    of_fitted, own = loaded[:, :k], loaded[:, k]
    left, common, turned = np.linalg.svd(np.swapaxes(of_fitted[:, :n], 1, 2) * singular[:n])
    scale = common.sum(axis=1) / (of_fitted**2).sum(axis=(1, 2))
    placed = np.einsum("ij,ijk->ik", own, left @ turned)
    return np.asarray(scale[:, None] * placed / spread[:n])
