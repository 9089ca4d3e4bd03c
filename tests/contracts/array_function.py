"""What a function with a parameter ``xp`` promises: the same result under NumPy and under the strict array module."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import polars as pl

import genomix


def array_functions() -> dict[str, Callable[..., Any]]:
    """Return every public function of the library that takes ``xp``, by module and name."""
    found: dict[str, Callable[..., Any]] = {}
    for info in pkgutil.walk_packages(genomix.__path__, "genomix."):
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == info.name and not name.startswith("_")
            if own and "xp" in inspect.signature(function).parameters:
                found[f"{info.name}.{name}"] = function
    return found


def check_same_under_strict_arrays(function: Callable[..., Any], call: Callable[..., Any]) -> None:
    """``call(function, xp)`` gives the same under NumPy and under ``array_api_strict``.

    The strict module refuses everything that is not in the Python array API, so that CuPy can stand in for NumPy.
    """
    plain = call(function, np)
    try:
        strict = call(function, array_api_strict)
    except Exception as error:
        raise AssertionError(f"{function.__name__}: leaves the array API: {type(error).__name__}: {error}") from error
    if isinstance(plain, pl.DataFrame):
        assert plain.height, f"{function.__name__}: an empty result proves nothing"
        assert plain.equals(strict), f"{function.__name__}: another result under the strict array module"
        return
    assert isinstance(strict, np.ndarray), f"{function.__name__}: returns {type(strict).__name__}, not a NumPy array"
    equal = np.array_equal(plain, strict, equal_nan=True)
    assert equal, f"{function.__name__}: another result under the strict array module"
