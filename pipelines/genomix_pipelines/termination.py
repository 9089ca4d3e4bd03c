"""SIGTERM as an exception: what is being written is cleared up and locks are released before the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 143
"""Exit code of a process that SIGTERM ended: 128 + 15."""


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack and end the process with code 143.

    Nothing is done where the program handles SIGTERM itself, or outside the main thread.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clearing up short
    raise SystemExit(TERMINATED)
