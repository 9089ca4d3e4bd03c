"""Run the toy study: ``python -m tests.toy_run STUDY_FOLDER OUT [--pause SECONDS] [--jobs N] [--from STAGE]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from genomix.device import CPU
from genomix.errors import GenomixError
from genomix_pipelines.run import run_study
from tests.toy_study import STAGES, ToyStudy


def main() -> int:
    """Run the toy study in a folder that ``toy_study.make_study`` filled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--from", dest="from_stage")
    given = parser.parse_args()
    study = ToyStudy(given.folder, pause=given.pause)
    try:
        run_study(study, given.out, stages=STAGES, device=CPU, jobs=given.jobs, from_stage=given.from_stage)
    except GenomixError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
