"""``genomix report build``: the report of a finished run put in place again, and as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.options import JsonOption, QuietOption

_EXAMPLE = """Examples:

\b
  genomix report build out --pdf
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("build", epilog=_EXAMPLE, short_help="Page, JSON and PDF of a finished run.")(build)


def build(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The output folder of genomix run or demo.", show_default=False)
    ],
    pdf: Annotated[bool, typer.Option("--pdf", help="Also report.pdf (and examples.pdf); needs genomix[pdf].")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put report.html, report.json, model_card.json and examples.html of a run in place again, and print them as PDF.

    Every file is checked against its manifest first; nothing is computed again. The same run gives the same bytes.
    """
    from genomix.provenance import output_errors, write_bytes
    from genomix.report.pdf import import_weasyprint, to_pdf
    from genomix_cli.console import print_json, say
    from genomix_pipelines.execute import PUBLISHED, finished_report, publish

    folder = finished_report(out)
    if pdf:
        import_weasyprint()
    written = [out / name for name in PUBLISHED if (folder / name).exists()]
    with output_errors(out):
        publish(folder, out)
        for page in [path for path in written if pdf and path.suffix == ".html"]:
            write_bytes(page.with_suffix(".pdf"), to_pdf(page.read_text(encoding="utf-8")))
            written.append(page.with_suffix(".pdf"))
    if as_json:
        print_json({"written": [path.name for path in written]})
        return
    for path in written:
        print(path)
    say(f"{len(written)} files", quiet=quiet)
