"""An act that must be refused with one of our own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genomix.errors import GenomixError


def refusal(act: Callable[[], Any], kinds: tuple[type[GenomixError], ...], what: str) -> GenomixError:
    """Return the error, of one of ``kinds``, with which ``act`` ends; anything else breaks the contract."""
    try:
        act()
    except kinds as error:
        return error.with_traceback(None)
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error
    raise AssertionError(f"{what} was accepted")
