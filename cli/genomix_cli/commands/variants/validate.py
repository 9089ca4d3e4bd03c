"""``genomix variants validate``: hold a genotype file against its format's specification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.console import Settings
from genomix_cli.options import JsonOption, QuietOption, StrictOption, ThreadsOption

if TYPE_CHECKING:
    from genomix.io.vcf_validation import ValidationReport

_EXAMPLE = """Examples:

\b
  genomix variants validate cohort.vcf.gz
  genomix variants validate cohort.vcf.gz --strict --json > findings.json
  bcftools view -h cohort.bcf | genomix variants validate -
"""

InputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        help="VCF (- for standard input), BCF, BGEN, PLINK 1 or PLINK 2: a file, or a fileset's prefix.",
        show_default=False,
    ),
]
MaxFindingsOption = Annotated[
    int, typer.Option("--max-findings", min=0, help="Examples to print of each rule; all are counted.")
]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("validate", epilog=_EXAMPLE, short_help="Check a file against its format's specification.")(validate)


def validate(
    context: typer.Context,
    source: InputArgument,
    max_findings: MaxFindingsOption = 5,
    sample_file: Annotated[Path | None, typer.Option("--sample-file", help="The .sample file of a BGEN.")] = None,
    strict: StrictOption = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check VCF 4.1 to 4.5 line by line against the specification; read other formats in full and count.

    An error is what the specification forbids (exit code 4; 5 for a cut file), a warning what is legal but risky (exit
    code 15 under --strict). See docs/reference/vcf-validation.md for every rule.
    """
    from genomix.errors import FormatError, StrictError
    from genomix.io.genotype_validation import validate_genotypes
    from genomix_cli.progress import progress

    with progress("checking", "records", quiet=quiet) as report:
        found = validate_genotypes(
            source, max_findings=max_findings, threads=threads, sample_file=sample_file, progress=report
        )
    _print(found, context.ensure_object(Settings), as_json=as_json, quiet=quiet)
    if found.failure is not None:
        raise found.failure
    if found.n_errors:
        raise FormatError(
            f"{_number(found.n_errors, 'error')} by {_rules(found, 'error')}, {_number(found.n_warnings, 'warning')}",
            where=found.name,
        )
    if strict and found.n_warnings:
        raise StrictError(
            f"{_number(found.n_warnings, 'warning')} by {_rules(found, 'warning')} under --strict",
            where=found.name,
            hint="mend them, or leave out --strict",
        )


def _print(found: ValidationReport, settings: Settings, *, as_json: bool, quiet: bool) -> None:
    import sys

    from genomix.io.vcf_findings import RULES
    from genomix_cli.console import print_json, say

    # findings may go to a file: a terminal on the other stream is no reason to name people in it
    show = settings.show_identifiers or (settings.names_people and sys.stdout.isatty())
    if as_json:
        print_json(_as_json(found, show))
        return
    for finding in found.findings:
        print(finding.render(found.name, show_identifiers=show))
    for rule, count in found.counts.items():
        print(f"{count:>10,} {RULES[rule].severity:7} {rule}: {RULES[rule].what} (section {RULES[rule].section})")
    for name, value in found.facts.items():
        print(f"{name.replace('_', ' ')}: {f'{value:,}' if type(value) is int else value}")
    whole = "" if found.failure is None else ", and the input was not read to its end"
    say(f"{_number(found.n_errors, 'error')}, {_number(found.n_warnings, 'warning')}{whole}", quiet=quiet)


def _as_json(found: ValidationReport, show: bool) -> dict[str, Any]:
    from genomix.io.vcf_findings import RULES

    findings = [
        {
            "rule": f.rule, "severity": f.severity, "line": f.line or None, "field": f.field, "what": f.what,
            "sample": None if f.sample is None else f.sample.ordinal,
            "message": f.render(found.name, show_identifiers=show), "hint": RULES[f.rule].hint,
        }
        for f in found.findings
    ]  # fmt: skip
    return {
        "input": found.name,
        "valid": found.is_valid,
        "errors": found.n_errors,
        "warnings": found.n_warnings,
        "counts": found.counts,
        "facts": found.facts,
        "findings": findings,
        "failure": None if found.failure is None else found.failure.render(show_identifiers=show),
    }


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _rules(found: ValidationReport, severity: str) -> str:
    from genomix.io.vcf_findings import RULES

    return _number(sum(RULES[rule].severity == severity for rule in found.counts), "rule")
