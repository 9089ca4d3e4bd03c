"""Weights of a burden's variants by their frequency; sources in :mod:`genomix.variants.burden`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def beta_weights(frequency: FloatArray) -> FloatArray:
    """Return the density of Beta(1, 25) at the minor allele frequency: 25 (1 - MAF)^24.

    >>> import numpy as np
    >>> beta_weights(np.array([0.0, 1.0])).tolist()
    [25.0, 25.0]
    """
    return np.asarray(25.0 * (1.0 - np.minimum(frequency, 1 - frequency)) ** 24)


def madsen_browning_weights(frequency: FloatArray, n_samples: int) -> FloatArray:
    """Return 1 / sqrt(n q (1 - q)) with q = (copies + 1) / (2 n + 2).

    >>> import numpy as np
    >>> bool(madsen_browning_weights(np.array([0.0]), 1)[0] == 1 / np.sqrt(0.25 * 0.75))
    True
    """
    q = (2 * n_samples * frequency + 1) / (2 * n_samples + 2)
    return np.asarray(1.0 / np.sqrt(n_samples * q * (1 - q)))
