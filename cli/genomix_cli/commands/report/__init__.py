"""``genomix report``: the report of a finished run.

Each module of this package adds one command with ``register(group)``.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{name}").register(group)
    app.add_typer(group, name="report", help="The report of a finished run: page, JSON, PDF.", short_help="Reports.")
