"""``genomix report build``: the report of a finished run put in place again, and as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genomix_cli.options import JsonOption, QuietOption

_EXAMPLE = """Examples:

\b
  genomix report build out --pdf
  genomix report build out --internal --pdf
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("build", epilog=_EXAMPLE, short_help="Page, JSON and PDF of a finished run.")(build)


def build(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The output folder of genomix run or demo.", show_default=False)
    ],
    pdf: Annotated[bool, typer.Option("--pdf", help="Also report.pdf (and examples.pdf); needs genomix[pdf].")] = False,
    internal: Annotated[
        bool,
        typer.Option("--internal", help="Write report-internal.* instead: small counts are shown, every page says so."),
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put report.html, report.json, model_card.json and examples.html of a run in place again, and print them as PDF.

    Every file is checked against its manifest first; nothing is computed again. The same run gives the same bytes.
    With --internal the published files are not touched; what is written is for the study's own team alone.
    """
    from genomix.provenance import output_errors, write_bytes
    from genomix.report.pdf import import_weasyprint, to_pdf
    from genomix_cli.console import print_json, say
    from genomix_pipelines.execute import PUBLISHED, finished_report, publish

    folder = finished_report(out)
    if pdf:
        import_weasyprint()
    with output_errors(out):
        if internal:
            written = _write_internal(out)
        else:
            publish(folder, out)
            written = [out / name for name in PUBLISHED if (folder / name).exists()]
        for page in [path for path in written if pdf and path.suffix == ".html"]:
            write_bytes(page.with_suffix(".pdf"), to_pdf(page.read_text(encoding="utf-8")))
            written.append(page.with_suffix(".pdf"))
    if as_json:
        print_json({"written": [path.name for path in written]})
        return
    for path in written:
        print(path)
    say(f"{len(written)} files", quiet=quiet)


def _write_internal(out: Path) -> list[Path]:
    from genomix.provenance import write_bytes, write_json
    from genomix_pipelines.report_again import internal_report

    report = internal_report(out)
    html, content = out / "report-internal.html", out / "report-internal.json"
    write_bytes(html, report.html.encode())
    write_json(content, report.json)
    return [html, content]
