"""What a study's report weighs and costs: ``python benchmarks/report.py OUT`` for the output folder of a finished run.

Prints the size of the page, the CPU seconds of making it from its tables (first and best of several), and those of the
PDF where WeasyPrint is installed. The wish: a page below 2 MB in less than 3 CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from genomix.errors import MissingDependencyError
from genomix.report.document import render_report
from genomix.report.pdf import import_weasyprint, to_pdf
from genomix_pipelines.report_again import finished_inputs

MOST_BYTES, MOST_SECONDS = 2_000_000, 3.0
T = TypeVar("T")


def cpu_seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of a call and what it returned."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    reading, inputs = cpu_seconds(lambda: finished_inputs(options.out))
    first, report = cpu_seconds(lambda: render_report(inputs))
    again = [cpu_seconds(lambda: render_report(inputs))[0] for _ in range(options.times)]
    size = len(report.html.encode())
    print(f"report.html      {size:>10,} bytes   wish: below {MOST_BYTES:,}   {_met(size < MOST_BYTES)}")
    print(f"report.json      {len(json.dumps(report.json)):>10,} bytes")
    print(f"reading tables   {reading:>10.2f} CPU s")
    print(f"first page       {first:>10.2f} CPU s   wish: below {MOST_SECONDS:g}   {_met(first < MOST_SECONDS)}")
    print(f"a further page   {min(again):>10.2f} CPU s")
    try:
        import_weasyprint()
    except MissingDependencyError as error:
        print(f"report.pdf       {error.what}")
        return
    seconds, pdf = cpu_seconds(lambda: to_pdf(report.html))
    print(f"report.pdf       {len(pdf):>10,} bytes   {seconds:.2f} CPU s")


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


if __name__ == "__main__":
    main()
