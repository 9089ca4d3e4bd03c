"""Gather a study's result tables into what the report reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import genomix
from genomix.ehr.vocabulary import in_words
from genomix.ehr.windows import SINCE
from genomix.errors import LabelError
from genomix.features.assemble import missing_share
from genomix.features.matrix import read_matrix
from genomix.provenance import package_versions, python_version, read_json
from genomix.report.inputs import ReportInputs, StudyFacts, SurvivalResults
from genomix.report.numbers import people
from genomix.schemas.features import COLUMNS
from genomix.schemas.people import FLOW
from genomix.schemas.results import CERTIFICATE, CURVES, IMPORTANCE, LADDER, METRICS, THRESHOLDS
from genomix_pipelines.report_score_card import score_card
from genomix_pipelines.stage import StageContext
from genomix_pipelines.stages.split import check_labels
from genomix_pipelines.study import Study, stated_parameters

ENOUGH_FOR_DISTANT_KIN = 10_000
"""Variants below which the report says that distant degrees may be chance (a standard error of about 0.01)."""

USED_STATUSES = ("matched", "swapped", "flipped", "flipped and swapped")

RENAMED = "renamed"
"""Action of a unit whose spelling alone changed; such lines are counted, not listed."""

UNIT_COLUMNS = ("code", "unit_from", "unit_to", "values", "action")

SPLIT_WORDS = {
    "kin_groups": "close relatives (KING above {kinship:g}) are kept on one side",
    "kinship_clusters": "clusters of low kinship are kept on one side",
    "families": "families are kept on one side",
    "subjects": "all rows of one person are kept on one side",
}


def report_inputs(context: StageContext) -> ReportInputs:
    """Return the report's inputs for every target of the study."""
    if context.study.descriptive:
        return described_inputs(context)
    split = split_figures(context)
    return ReportInputs(
        facts=study_facts(context),
        flow=flow(context),
        quality=quality(context),
        columns=columns(context),
        metrics=_concat(context, "evaluate", "metrics"),
        curves=_concat(context, "evaluate", "curves"),
        thresholds=_concat(context, "evaluate", "thresholds"),
        ladder=_concat(context, "evaluate", "ladder"),
        importance=_concat(context, "explain", "importance"),
        beeswarm=_concat(context, "explain", "beeswarm") if len(context.folders("explain")) == 1 else _none(context),
        certificate=certificate(context),
        split=split,
        provenance=provenance(context),
        score_card=score_card(context),
        survival=survival_results(context),
    )


def described_inputs(context: StageContext) -> ReportInputs:
    """Return the inputs of a study that only describes its data: every table of results is empty."""
    return ReportInputs(
        facts=study_facts(context), flow=flow(context), quality=quality(context), columns=COLUMNS.empty(),
        metrics=METRICS.empty(), curves=CURVES.empty(), thresholds=THRESHOLDS.empty(), ladder=LADDER.empty(),
        importance=IMPORTANCE.empty(), beeswarm=pl.DataFrame(), certificate=CERTIFICATE.empty(), split={},
        provenance=provenance(context),
    )  # fmt: skip


def survival_results(context: StageContext) -> SurvivalResults | None:
    """Return what a study of a time to an event has beside its metrics."""
    study: Study = context.study
    if not study.survival:
        return None
    assert study.outcome is not None
    folder = _any(context, "evaluate")
    return SurvivalResults(
        unit=study.outcome.time_unit, horizons=study.outcome.horizons, competing=bool(study.outcome.competing),
        follow_up=read_json(folder / "follow_up.json"), calibration=pl.read_parquet(folder / "calibration.parquet"),
        risk_groups=pl.read_parquet(folder / "risk_groups.parquet"),
    )  # fmt: skip


def no_model_sentence(context: StageContext) -> str | None:
    """Return why a study has no model: none was asked for, and whether its labels could carry one."""
    study: Study = context.study
    if study.modelled:
        return None
    if not context.has("cohort"):
        return "No outcome and no model were asked for: this report describes the data."
    values = [pl.read_parquet(f / "labels.parquet")["value"].drop_nulls() for f in context.folders("cohort").values()]
    rows = min(len(v) for v in values)
    try:
        for found in values:
            check_labels(found, binary=study.two_class)
    except LabelError:
        return f"Not estimable: {people(rows)} labelled rows are too few, or too much alike, to fit any model."
    return f"No model was asked for; {people(rows)} rows have a label."


def study_facts(context: StageContext) -> StudyFacts:
    """Return what the study states about itself, with the task's times in days."""
    study: Study = context.study
    about = study.study
    cohort = read_json(_any(context, "cohort") / "cohort.json") if context.has("cohort") else {}
    windows = study.features.record_windows.windows if study.features.record_windows else ()
    return StudyFacts(
        title=about.title,
        question=about.question,
        outcome=about.outcome,
        objective="survival" if study.survival else "binary" if study.binary else "regression",
        population=about.population,
        simulated=about.simulated,
        intended_use=about.intended_use,
        owner=about.owner,
        report_date=about.report_date,
        genome_build=genome_build(context),
        prediction_time=about.prediction_time,
        windows_days=tuple(
            None if w == "full" else float(w.removesuffix("d")) for w in windows if not w.startswith(SINCE)
        ),
        windows_since=tuple(in_words(w.removeprefix(SINCE), {}) for w in windows if w.startswith(SINCE)),
        gap_days=cohort.get("gap_days") or 0.0,
        horizon_days=cohort.get("horizon_days"),
        split_sentence=split_sentence(study) if study.modelled else "",
        threshold=about.threshold,
        data_use=about.data_use,
        limitations=(*about.limitations, *own_limitations(context)),
        no_model=no_model_sentence(context),
        table_rows=study.table.row_word if study.of_table and study.table else None,
    )


def genome_build(context: StageContext) -> str | None:
    """Return the genome build, None without genotypes."""
    if not context.has("genotype_qc"):
        return None
    return str(read_json(_any(context, "genotype_qc") / "quality.json")["build"])


def split_sentence(study: Study) -> str:
    """Return how rows were divided, as a sentence."""
    split = study.split
    together = SPLIT_WORDS[split.keep_together].format(kinship=split.kinship)
    if split.design == "cross_validation":
        return f"{split.folds}-fold cross-validation: every row is held out once, and {together}"
    if split.design == "by_site":
        return f"each value of {split.column} is held out in turn, with models of the others, and {together}"
    if split.design == "by_time":
        by = split.column or "prediction time"
        return f"the latest {split.held_out:.0%} of the rows by {by} are held out, those before tune; {together}"
    return f"{split.held_out:.0%} of the rows are held out and {split.tuning:.0%} tune the model; {together}"


def own_limitations(context: StageContext) -> list[str]:
    """Return limits that follow from how the study is made."""
    study: Study = context.study
    limits = []
    if context.has("kinship") and kinship_variants(context) < ENOUGH_FOR_DISTANT_KIN:
        n = kinship_variants(context)
        limits.append(
            f"Kinship rests on {n} variants, so one coefficient is uncertain by about {n**-0.5:.3f}: close pairs are "
            "found, but pairs counted as of a distant degree may be chance."
        )
    if study.genotypes:
        limits.append("Genotypes were filtered for quality over everyone, before the split and without the outcome.")
    if study.modelled and study.split.design == "cross_validation":
        limits.append("Intervals do not count that the models of different folds share training rows.")
    return limits


def flow(context: StageContext) -> pl.DataFrame:
    """Return the cohort flow; with several targets the first one's rows stand for all."""
    stages = [stage for stage in ("genotype_qc", "cohort", "split") if context.has(stage)]
    if not stages:
        return FLOW.empty()
    return FLOW.validate(pl.concat([pl.read_parquet(_any(context, stage) / "flow.parquet") for stage in stages]))


def quality(context: StageContext) -> dict[str, Any]:
    """Return plain figures of the records' and the genotypes' quality."""
    found: dict[str, Any] = {}
    if context.study.of_table:
        found["table"] = read_json(_any(context, "cohort") / "cohort.json")["table"]
    if context.has("convert_records"):
        found["records"] = read_json(context.folder("convert_records") / "quality.json")
        conversion = read_json(context.folder("convert_records") / "conversion.json")
        found["records"]["availability"] = conversion["records"]["availability"]
        found["records"]["source_tables"] = [
            {"table": name, "rows_read": t["rows_read"], "rows_with_events": t["rows_kept"], "events": t["events"]}
            for name, t in conversion["records"]["tables"].items()
        ]
        dropped = conversion["records"]["dropped"]
        found["records"]["source_rows_without_an_event"] = [{"reason": r, "rows": n} for r, n in dropped.items()]
        found["records"]["n_values_of_implausible_size"] = conversion["units"]["implausible"]
        lines = conversion["units"]["lines"]
        found["records"]["codes_whose_unit_was_only_spelt_anew"] = sum(line["action"] == RENAMED for line in lines)
        found["records"]["unit_conversions"] = [
            {name: line[name] for name in UNIT_COLUMNS} for line in lines if line["action"] != RENAMED
        ]
    if context.has("genotype_qc"):
        found["genotypes"] = read_json(context.folder("genotype_qc") / "quality.json")
        conversion = read_json(context.folder("convert_genotypes") / "conversion.json")
        found["genotypes"]["variant_records_left_out"] = conversion["records_left_out"]
        found["genotypes"]["variants_used_for_kinship"] = kinship_variants(context)
        if context.has("features"):
            found["genotypes"]["polygenic_scores"] = score_matches(context)
    return found


def kinship_variants(context: StageContext) -> int:
    """Return how many variants kinship rests on."""
    return int(read_json(context.folder("kinship") / "manifest.json")["summary"]["variants"])


def score_matches(context: StageContext) -> list[dict[str, Any]]:
    """Return, per score, how many of its variants were used and why the others were not (first fold, first target)."""
    learned = read_json(_any(context, "features") / "matrix" / "fold_0" / "learned.json")
    rows = []
    for name, score in learned.get("polygenic_score", {}).get("scores", {}).items():
        counts = score["counts"]
        used = sum(counts[k] for k in USED_STATUSES)
        row = {"score": name, "variants_of_the_score": sum(counts.values()), "variants_used": used}
        rows.append(row | {f"variants_{k}": n for k, n in counts.items() if k not in USED_STATUSES})
    return rows


def columns(context: StageContext) -> pl.DataFrame:
    """Return the features' dictionary with the share of rows without a value, one row per name."""
    frames = []
    for folder in context.folders("features").values():
        matrix = read_matrix(folder / "matrix")
        everyone = np.arange(matrix.n_rows, dtype=np.int64)
        for block in (matrix.block, *(fold.block for fold in matrix.folds)):
            frames.append(missing_share(block, everyone).rename({"missing_share": "n_missing_share"}))
    return pl.concat(frames).unique("name", keep="first", maintain_order=True)


def certificate(context: StageContext) -> pl.DataFrame:
    """Return the certificate; with several targets a check has the worst status of all, and says of how many."""
    order = {"failed": 0, "not provable": 1, "passed": 2, "not applicable": 3}
    frames = [pl.read_parquet(f / "certificate.parquet") for f in context.folders("certificate").values()]
    if len(frames) == 1:
        return frames[0]
    rows = []
    for i, check in enumerate(frames[0]["check"].to_list()):
        each = [frame.row(i, named=True) for frame in frames]
        worst = min(each, key=lambda r: order[r["status"]])
        same = sum(r["status"] == worst["status"] for r in each)
        words = f"{same} of {len(each)} targets; for example: {worst['found']}"
        rows.append([check, worst["status"], worst["claim"], words])
    schema = {c.name: c.dtype for c in CERTIFICATE.columns}
    return CERTIFICATE.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def split_figures(context: StageContext) -> dict[str, Any]:
    """Return counts per fold and the kinship that crosses, of the first target's split."""
    stated = read_json(_any(context, "split") / "split.json")
    folds = []
    for number, fold in enumerate(stated["folds"]):
        row: dict[str, Any] = {"fold": number + 1}
        for role in ("train", "tuning", "held_out"):
            row[role] = fold["roles"].get(role, {}).get("rows", 0)
        row["unused"] = fold["roles"].get("unused", {}).get("rows")
        row["held_out_events"] = fold["roles"].get("held_out", {}).get("events")
        folds.append({k: v for k, v in row.items() if v is not None})
    figures: dict[str, Any] = {"design": stated["design"], "folds": folds, "groups_kept_together": stated["units"]}
    crossing = [f["crossing_kinship"] for f in stated["folds"] if f["crossing_kinship"] is not None]
    if crossing:
        largest = [c["maximum"] for c in crossing if c["maximum"] is not None]
        figures["max_crossing_kinship"] = max(largest, default=None)
        for degree in ("first", "second", "third"):
            figures[f"crossing_pairs_{degree}_degree_or_closer"] = sum(c["counts"][degree] for c in crossing)
    return figures


def provenance(context: StageContext) -> dict[str, Any]:
    """Return versions, hashes, parameters and the kind of device; nothing that differs by run."""
    study: Study = context.study
    stages: dict[str, str] = {}
    inputs: dict[str, str] = {}
    for name, by_target in sorted(context.upstream.items()):
        for target, folder in by_target.items():
            stages[name if target is None else f"{name}[{target}]"] = folder.name
            manifest = read_json(folder / "manifest.json")
            inputs |= {f"{name}: {role}": digest for role, digest in manifest["inputs"].items()}
    stated = stated_parameters(study)
    return {
        "genomix_version": genomix.__version__,
        "python": python_version(),
        "seed": study.study.seed,
        "device": context.device.kind,
        "versions": package_versions(),
        "inputs": inputs,
        "stages": stages,
        "parameters": {**stated, "scores": {score["name"]: score for score in stated["scores"]}},
    }


def _any(context: StageContext, stage: str) -> Path:
    """Return the folder of a stage: the shared one, or the first target's."""
    return next(iter(context.folders(stage).values()))


def _concat(context: StageContext, stage: str, name: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(folder / f"{name}.parquet") for folder in context.folders(stage).values()])


def _none(context: StageContext) -> pl.DataFrame:
    return pl.read_parquet(_any(context, "explain") / "beeswarm.parquet").clear()
