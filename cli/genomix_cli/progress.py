"""Progress of one long step on stderr: a bar with rate and remaining time on a terminal, plain lines elsewhere.

Nothing is shown for a step that ends within two seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from genomix_cli.console import say

Report = Callable[[float, int], None]
"""Called with the share that is done (0 to 1) and how many things were done so far."""

_QUIET_SECONDS = 2.0
_LINE_SECONDS = 15.0


@contextmanager
def progress(label: str, things: str, *, quiet: bool = False) -> Iterator[Report]:
    """Yield a function to call with (share, count); ``things`` names what is counted, e.g. ``records``."""
    if quiet:
        yield lambda _share, _count: None
        return
    shown = _Terminal(label, things) if sys.stderr.isatty() else _Lines(label, things)
    try:
        yield shown.report
    finally:
        shown.end()


def describe(share: float, count: int, seconds: float, things: str) -> str:
    """Return how far, how fast and how long still.

    >>> describe(0.25, 50_000, 10.0, "records")
    '25 %, 50,000 records, 5,000/s, 30 s left'
    """
    rate = count / seconds if seconds > 0 else 0.0
    left = seconds * (1 - share) / share if share > 0 else None
    tail = "" if left is None else f", {_span(left)} left"
    return f"{share:.0%}".replace("%", " %") + f", {count:,} {things}, {rate:,.0f}/s{tail}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


class _Lines:
    """A plain line now and then: logs hold no control characters."""

    every = _LINE_SECONDS

    def __init__(self, label: str, things: str) -> None:
        self._label, self._things = label, things
        self._begun = time.monotonic()
        self._last = self._begun + _QUIET_SECONDS - self.every

    def report(self, share: float, count: int) -> None:
        """Show the state when it is time to."""
        now = time.monotonic()
        if now - self._last >= self.every:
            self._last = now
            words = describe(min(max(share, 0.0), 1.0), count, now - self._begun, self._things)
            self._show(f"{self._label}: {words}")

    def _show(self, text: str) -> None:
        say(text)

    def end(self) -> None:
        """Leave nothing behind."""


class _Terminal(_Lines):
    """One line that is written over."""

    every = 0.2

    def __init__(self, label: str, things: str) -> None:
        super().__init__(label, things)
        self._width = 0

    def _show(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def end(self) -> None:
        """Clear the line."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
