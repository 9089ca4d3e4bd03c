"""``genomix model``: train, evaluate and use models of a table or a feature set.

Each module of this package adds one command with ``register(group)``.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

_ORDER = ("train", "evaluate", "predict", "explain")
_EXAMPLE = """Examples:

\b
  genomix model train stays.csv --target readmitted --positive yes --subject-column patient -o bundle
  genomix model evaluate bundle other_site.csv -o metrics.json
  genomix model predict bundle new.csv -o predictions.parquet
"""


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=_EXAMPLE)
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        importlib.import_module(f"{__name__}.{name}").register(group)
    app.add_typer(group, name="model", help="Models: train, evaluate, predict, explain.", short_help="Models.")
