"""``genomix check``: find a study's mistakes before anything long runs."""

from __future__ import annotations

import typer

from genomix_cli.console import Settings
from genomix_cli.options import JsonOption, StrictOption, StudyArgument

_EXAMPLE = """Examples:

\b
  genomix check study.toml
  genomix check study.toml --strict --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLE, short_help="Check a study file and its inputs.")(check)


def check(
    context: typer.Context, study: StudyArgument, strict: StrictOption = False, as_json: JsonOption = False
) -> None:
    """Read a study file and look at every input it names: formats, people who join, labels; nothing is written."""

    from genomix.errors import StrictError
    from genomix_cli.console import describe_counts, describe_error, print_json, say
    from genomix_pipelines.study import load_study

    settings = context.ensure_object(Settings)
    loaded = load_study(study)  # its mistakes come before what reading the inputs has to import
    from genomix_pipelines.check import check_study

    report = check_study(loaded)
    if as_json:
        problems = [
            {"what": e.render(show_identifiers=settings.names_people), "code": e.exit_code} for e in report.errors
        ]
        print_json({"facts": dict(report.facts), "warnings": list(report.warnings), "errors": problems})
    else:
        for name, value in report.facts.items():
            print(describe_counts({name: value}) or f"{name}: {value}")
    for text in report.warnings:
        say(f"warning: {text}")
    for error in report.errors[1:]:
        say(describe_error(error, settings))
    if report.errors:
        raise report.errors[0]
    if strict and report.warnings:
        raise StrictError(
            f"{len(report.warnings)} warning(s) under --strict",
            where=str(study),
            hint="mend them, or leave out --strict",
        )
    say("the study can run")
