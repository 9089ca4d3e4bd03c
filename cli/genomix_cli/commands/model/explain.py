"""``genomix model explain``: what each column contributed to each prediction, and what stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genomix_cli.commands.model.predict import ExpectOption, MissingOption, tell_differences
from genomix_cli.options import DeviceChoice, DeviceOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from collections import Counter

    from genomix.device import Device
    from genomix.explain.chain import Sources
    from genomix.models.bundle import Bundle
    from genomix_cli.explain_outputs import Asked, Part

_EXAMPLE = """Examples:

\b
  genomix model explain bundle new.csv -o attributions.parquet
  genomix model explain bundle features -o attributions.parquet --group-by code --icd-chapters
  genomix model explain bundle features -o attributions.parquet --chain 12 --records records
  genomix model explain bundle new.csv -o attributions.parquet --interactions 0-9
  genomix model explain bundle new.csv -o attributions.parquet --response 3 --modifiable trestbps --under 0.3
  genomix model explain study-out study.toml -o attributions.parquet --chain 12
"""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("explain", epilog=_EXAMPLE, short_help="Exact Shapley values of predictions.")(explain)


def explain(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="A model bundle, or a study's output folder.", show_default=False),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A table, a folder from genomix ehr features, or the study's file.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table of contributions: .parquet.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", help="boosted or linear.", show_default="the bundle's own")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Of a study with several.", show_default=False)] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            "--level",
            show_default="group, printed only",
            help="Sum contributions within each row by: feature, group, family, gene, code or window.",
        ),
    ] = None,
    icd_chapters: Annotated[bool, typer.Option("--icd-chapters", help="Of codes: the chapter of ICD codes.")] = False,
    code_depth: Annotated[int | None, typer.Option("--code-depth", min=1, help="Of codes: their first parts.")] = None,
    code_characters: Annotated[
        int | None, typer.Option("--code-characters", min=1, help="Of a code's last part: the first characters.")
    ] = None,
    group_table: Annotated[
        Path | None, typer.Option("--group-table", help="Of codes: a table of code and group.", show_default=False)
    ] = None,
    genes: Annotated[
        Path | None,
        typer.Option("--genes", help="Genes of variants: BED of all genes, or annotated VCF.", show_default=False),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Groups to print.")] = 20,
    interactions: Annotated[
        str | None, typer.Option("--interactions", metavar="ROWS", help="Of pairs: rows as 0,3,10-12.")
    ] = None,
    chain: Annotated[
        list[str] | None, typer.Option("--chain", metavar="ROW[:FEATURE]", help="Records or variants behind values.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option("--records", help="For --chain: records that features were made from.")
    ] = None,
    roll_up: Annotated[Path | None, typer.Option("--roll-up", help="For --chain: the features' roll-up.")] = None,
    ranges: Annotated[Path | None, typer.Option("--ranges", help="For --chain: the features' ranges.")] = None,
    show_secondary_findings: Annotated[
        bool, typer.Option("--show-secondary-findings", help="Also variants of ACMG SF v3.2 genes, or unknown ones.")
    ] = False,
    response: Annotated[
        str | None, typer.Option("--response", metavar="ROWS", help="Smallest change that the model responds to.")
    ] = None,
    modifiable: Annotated[
        list[str] | None, typer.Option("--modifiable", metavar="NAME[=low:high]", help="Column that may change.")
    ] = None,
    under: Annotated[float | None, typer.Option("--under", help="Prediction to come under, for --response.")] = None,
    allow_missing: MissingOption = False,
    expect_sha256: ExpectOption = None,
    device: DeviceOption = DeviceChoice.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write every contribution that is not 0: row, feature, value, SHAP value on the margin scale, base value.

    Contributions of a row and the base value add up to the model's margin, which is checked. They say how the model
    used a column, not what causes what. Further outputs lie beside OUT: OUT.groups.parquet (--group-by),
    OUT.interactions.parquet, OUT.chain.json, OUT.responses.json, OUT.coefficients.parquet (of a linear model).
    """
    from collections import Counter

    from genomix.device import resolve_device
    from genomix_cli.console import print_json, say_device
    from genomix_cli.explain_outputs import Asked, chain_of, print_results, rows_of, write_explained
    from genomix_cli.explain_outputs import as_json as results_as_json

    options = _group_options(icd_chapters, code_depth, code_characters, group_table, genes, group_by)
    asked = Asked(
        out, group_by or "group", group_by is not None, options,
        rows_of(interactions, "--interactions") if interactions else (), tuple(chain_of(c) for c in chain or ()),
        show_secondary_findings, rows_of(response, "--response") if response else (), tuple(modifiable or ()), under,
    )  # fmt: skip
    _check(asked, data, out)
    chosen = resolve_device(device.value, needs="xgboost")
    say_device(chosen, quiet=quiet)
    unseen: Counter[str] = Counter()
    lacking: list[str] = []
    if data.suffix == ".toml":
        parts, sources = _of_study(bundle, data, model, target, genes, chosen)
    else:
        found = _bundle(bundle, model, expect_sha256, chosen)
        parts = _of_data(found, data, allow_missing, lacking, unseen)
        sources = _sources(data, records, roll_up, ranges)
    done = write_explained(parts, asked, sources)
    if as_json:
        print_json({**results_as_json(done, asked, most), "absent_columns": lacking,
                    "rows_with_an_unknown_category": dict(unseen)})  # fmt: skip
        return
    tell_differences(lacking, unseen, done.rows)
    print_results(done, asked, most, quiet=quiet)


def _check(asked: Asked, data: Path, out: Path) -> None:
    from genomix.errors import ConfigError, InputNotFoundError
    from genomix.explain.groups import KINDS
    from genomix_cli.outputs import distinct_paths

    if out.suffix != ".parquet":
        raise ConfigError(f"{out.name} is not named .parquet", hint=f"{out.stem}.parquet")
    if asked.group_by not in KINDS:
        raise ConfigError(f"columns are not grouped by {asked.group_by!r}", hint="one of: " + ", ".join(KINDS))
    if not data.exists():
        raise InputNotFoundError(f"{data.name} does not exist", where=str(data))
    given = [bool(asked.responses), bool(asked.modifiable), asked.under is not None]
    if any(given) and not all(given):
        raise ConfigError("--response, --modifiable and --under belong together", hint="give all three")
    if data.is_file():
        distinct_paths({"-o": out}, [data])


def _group_options(
    icd_chapters: bool,
    depth: int | None,
    characters: int | None,
    table: Path | None,
    genes: Path | None,
    by: str | None,
) -> Any:
    from genomix.errors import ConfigError
    from genomix.explain.groups import GroupOptions
    from genomix.io.annotation import read_gene_bed

    if by != "code" and (icd_chapters or depth or characters or table):
        raise ConfigError("ways to group codes need --group-by code")
    intervals = None
    if genes is not None and by == "gene":
        if not genes.name.removesuffix(".gz").endswith(".bed"):
            raise ConfigError("--group-by gene takes intervals of genes", hint="--genes genes.bed")
        intervals = read_gene_bed(genes)
    return GroupOptions(depth, characters, icd_chapters, table, intervals)


def _bundle(folder: Path, model: str | None, expect_sha256: str | None, device: Device) -> Bundle:
    from genomix.explain.explanation import bundle_with_model
    from genomix.models.bundle import read_bundle

    return bundle_with_model(read_bundle(folder, expect_sha256=expect_sha256, device=device), model)


def _of_data(
    bundle: Bundle, data: Path, allow_missing: bool, lacking: list[str], unseen: Counter[str]
) -> Iterator[Part]:
    from dataclasses import replace

    import numpy as np

    from genomix.explain.tree_shap import explain_rows
    from genomix.models.scoring import score
    from genomix_cli.explain_outputs import Part

    for scored in score(bundle, data, allow_missing=allow_missing):
        explained = explain_rows(bundle.fitted, scored.block, np.arange(scored.rows.height))
        lacking[:] = scored.lacking
        unseen.update(scored.unseen)
        yield Part(bundle, scored.block, replace(explained, row=scored.rows["row"].to_numpy().astype(np.int64)))


def _sources(
    data: Path, records: Path | None, roll_up: Path | None, ranges: Path | None
) -> Callable[[int, int], Sources]:
    """Return what finds the records behind a row of a feature set; a table has nothing behind it."""

    def of_row(row: int, _fold: int) -> Sources:
        from genomix.explain.chain import RecordsBehind, Sources
        from genomix.features.feature_set import open_feature_set
        from genomix.features.record_sources import events_of_person, options_of_set

        if not data.is_dir() or records is None:
            return Sources()
        at = open_feature_set(data).index.row(row, named=True)
        options = options_of_set(data, roll_up=roll_up, ranges=ranges)
        events = events_of_person(records, at["subject_id"])
        return Sources(RecordsBehind(events, at["subject_id"], at["prediction_time"], options))

    return of_row


def _of_study(
    out: Path, file: Path, model: str | None, target: str | None, genes: Path | None, device: Device
) -> tuple[Iterator[Part], Callable[[int, int], Sources]]:
    from genomix.features.matrix import FeatureBlock
    from genomix_cli.explain_outputs import Part
    from genomix_pipelines.explained_study import ExplainedStudy
    from genomix_pipelines.study import load_study

    study = ExplainedStudy(load_study(file), out, target, device)

    def parts() -> Iterator[Part]:
        for bundle, block, explained in study.parts(model or "boosted"):
            yield Part(bundle, FeatureBlock(block.values[explained.row], block.columns), explained)

    return parts(), lambda row, fold: study.sources(row, fold, annotation=genes)
