"""One BLAS thread where results must not depend on how many there are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run a block with one BLAS thread: the last bits of floating-point sums depend on how threads share them.

    SciPy brings a BLAS of its own, which can only be limited once it is loaded.
    """
    from threadpoolctl import threadpool_limits

    importlib.import_module("scipy.linalg")
    with threadpool_limits(limits=1, user_api="blas"):
        yield
