"""``genomix variants``: from genotype files to quality control, structure, scores, association and burden.

Each module of this package adds one command with ``register(group)``.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

_ORDER = ("convert", "validate", "qc", "kinship", "ld_prune", "pca", "score", "assoc", "burden")
_EXAMPLE = """Examples:

\b
  genomix variants convert cohort.vcf.gz -o cohort
  genomix variants qc cohort -o cohort_qc
  genomix variants score cohort --score-file PGS000001_hmPOS_GRCh38.txt.gz -o scores.parquet
"""


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=_EXAMPLE)
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        importlib.import_module(f"{__name__}.{name}").register(group)
    app.add_typer(
        group, name="variants", help="Genetic variants: convert, check, score, test.", short_help="Genetic variants."
    )
