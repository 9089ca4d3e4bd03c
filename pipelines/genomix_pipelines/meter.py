"""How long a node took, and how much processor time and memory the process used meanwhile."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path
from types import TracebackType

_SAMPLE_SECONDS = 0.1
_STATUS = Path("/proc/self/status")


class Meter:
    """Measure a ``with`` block; the figures are the whole process's, children included for processor time.

    The kernel's own high-water mark is never reset (it is what ``/usr/bin/time`` reports), so the peak is exact where
    the block set a new one and the largest of ten samples a second otherwise.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def __enter__(self) -> Meter:
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()
        self.peak_memory_bytes, self._high_water = _memory_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="genomix-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._wall
        self.cpu_seconds = _cpu_seconds() - self._cpu
        resident, high_water = _memory_bytes()
        record = high_water if high_water > self._high_water else 0
        self.peak_memory_bytes = max(self.peak_memory_bytes, resident, record)

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.peak_memory_bytes = max(self.peak_memory_bytes, _memory_bytes()[0])


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _memory_bytes() -> tuple[int, int]:
    """Return the resident memory now and its high-water mark, in bytes."""
    try:
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return _in_bytes(fields["VmRSS"], fields["VmHWM"])
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return peak, peak


def _in_bytes(now: str, peak: str) -> tuple[int, int]:
    """Read two of the kernel's figures.

    >>> _in_bytes("  2048 kB", "4096 kB")
    (2097152, 4194304)
    """
    return int(now.split()[0]) * 1024, int(peak.split()[0]) * 1024
