"""``genomix ehr``: from health records of any format to MEDS, cohorts with labels, and features.

Each module of this package adds one command with ``register(group)``.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

_ORDER = ("convert", "describe", "tasks", "cohort", "features")
_EXAMPLE = """Examples:

\b
  genomix ehr convert omop/ --from omop -o records
  genomix ehr describe records
  genomix ehr cohort records --task task.yaml -o labels.parquet
  genomix ehr features records --labels labels.parquet -o features
"""


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=_EXAMPLE)
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        importlib.import_module(f"{__name__}.{name}").register(group)
    app.add_typer(
        group, name="ehr", help="Health records: convert, describe, label, make features.", short_help="Health records."
    )
