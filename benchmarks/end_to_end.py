"""What the demo costs: wall time, processor time and memory of each stage, and of the whole process.

    python benchmarks/end_to_end.py

Stages are measured by the run itself (run.json); the whole process, start-up and simulation of the inputs included, by
the operating system. A stage's peak memory is that of the process while it ran, so it never falls below what earlier
stages left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# No numerical library is imported here: Linux counts the memory of the process that starts a child in the child's peak.

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "end_to_end.json"
MEBIBYTE = 1024 * 1024
CHILD = "import sys; from genomix_cli.app import main; sys.exit(main())"


class Usage(NamedTuple):
    """What one process cost, its own children included."""

    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


def run_demo(folder: Path, *, size: str, seed: int, device: str) -> Usage:
    """Run ``genomix demo`` into ``folder`` in a process of its own."""
    options = ["demo", "--out", str(folder), "--size", size, "--seed", str(seed), "--device", device, "--quiet"]
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-c", CHILD, *options], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"genomix {' '.join(options)} ended with status {child.returncode}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def measure(*, size: str, seed: int, device: str) -> dict[str, Any]:
    """Run the demo once and return its costs, with what they were measured on."""
    with tempfile.TemporaryDirectory(prefix="genomix-end-to-end-") as name:
        folder = Path(name)
        whole = run_demo(folder, size=size, seed=seed, device=device)
        run = json.loads((folder / "run.json").read_text())
        bytes_of = {part: _bytes(folder / part) for part in ("inputs", "stages")}
    kept = ("node", "seconds", "cpu_seconds", "peak_memory_bytes")
    return {
        "command": f"python benchmarks/end_to_end.py --size {size} --seed {seed} --device {device}",
        "size": size,
        "seed": seed,
        "device": run["device"],
        "machine": machine(),
        "versions": versions(),
        "bytes": bytes_of,
        "stages": [{k: node[k] for k in kept} for node in run["nodes"]],
        "whole_process": {k: round(v, 3) for k, v in whole._asdict().items()},
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on and no name of the machine."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, genomix and the numerical packages."""
    import genomix
    from genomix.provenance import package_versions, python_version

    return {"python": python_version(), "genomix": genomix.__version__, **package_versions()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def table(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    rows = [(s["node"], s["seconds"], s["cpu_seconds"], s["peak_memory_bytes"]) for s in found["stages"]]
    whole = tuple(found["whole_process"][k] for k in ("seconds", "cpu_seconds", "peak_memory_bytes"))
    rows += [("all stages", sum(r[1] for r in rows), sum(r[2] for r in rows), max(r[3] for r in rows))]
    rows += [("whole process", *whole)]
    lines = [f"{'stage':<20} {'wall s':>8} {'CPU s':>8} {'peak MiB':>9}"]
    lines += [f"{name:<20} {wall:>8.2f} {cpu:>8.2f} {peak / MEBIBYTE:>9.0f}" for name, wall, cpu, peak in rows]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description="What the demo costs.")
    parser.add_argument("--size", choices=("full", "small"), default="full", help="how many people")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    found = measure(size=chosen.size, seed=chosen.seed, device=chosen.device)
    print(table(found))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
