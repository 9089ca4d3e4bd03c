"""``genomix check``: a study's data against each other, without training anything and without writing anything.

Each part is looked at even when another one is wrong, so that one run names every mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from genomix.errors import ConfigError, FormatError, GenomixError, LabelError, LinkError
from genomix_pipelines.study import Study

MODEST_EVENTS = 100
"""Fewer held-out events than this make wide intervals (Collins et al. 2016, doi:10.1002/sim.6787)."""


@dataclass
class CheckReport:
    """What was found: facts to print, warnings that a strict check refuses, errors that a run would stop at."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[GenomixError] = field(default_factory=list)


@dataclass
class _Found:
    """What later checks need of earlier ones; None where a part is absent or broken."""

    samples: list[str] | None = None
    records: pl.DataFrame | None = None
    subjects: list[int] | None = None
    labels: dict[str, pl.DataFrame] = field(default_factory=dict)


def check_study(study: Study) -> CheckReport:
    """Look at every input of a study and how they fit together.

    Checked: formats, genome build, contigs, sample table, scores' coverage, records, task, labels, the overlap of
    samples and subjects, and the number of people against Riley's criteria (doi:10.1002/sim.7992).
    """
    report, found = CheckReport(), _Found()
    steps: list[Callable[[Study, CheckReport, _Found], None]] = []
    if study.genotypes:
        steps.append(_genotypes)
    if study.records:
        steps.append(_records)
    if study.features.record_windows:
        steps.append(_record_windows)
    if study.features.burden:
        steps.append(_burden)
    if study.labelled:
        steps.append(_labels)
    if study.genotypes:
        steps.append(_overlap)
    if study.modelled:
        steps.append(_sizes)
    for step in steps:
        with _noting(report):
            step(study, report, found)
    return report


@contextmanager
def _noting(report: CheckReport) -> Iterator[None]:
    """Note an error and go on with what does not depend on it."""
    try:
        yield
    except GenomixError as error:
        report.errors.append(error)


def _genotypes(study: Study, report: CheckReport, found: _Found) -> None:
    """Open the genotypes; check build, contigs, sample table and scores."""
    from genomix.io.contigs import normalise_contigs, reconcile_build
    from genomix.io.genotype_format import open_genotypes

    assert study.genotypes is not None
    with open_genotypes(study.genotypes.path) as source:
        header = source.header
        records = source.records()
    found.samples = header.samples["sample_id"].to_list()
    declared = study.genotypes.build or header.build
    build = reconcile_build(declared, header.contigs, where=study.genotypes.path.name)
    records = records.with_columns(normalise_contigs(records["contig"]).alias("contig"))
    report.facts["genotypes"] = f"{len(found.samples)} samples, {records.height} records, build {build}"
    report.facts["contigs"] = ", ".join(records["contig"].unique(maintain_order=True).to_list()[:30])
    if build == "unknown":
        report.warnings.append("the genome build is not known: X is treated as one region; declare genotypes.build")
    if study.genotypes.sample_info is not None:
        with _noting(report):
            _sample_table(study, report, header.samples)
    for score in study.scores:
        with _noting(report):
            _score(score.name, score.path, score.minimum_coverage, build, records, report)


def _sample_table(study: Study, report: CheckReport, samples: pl.DataFrame) -> None:
    from genomix.io.sample_tables import merge_samples, read_sample_info

    assert study.genotypes is not None
    assert study.genotypes.sample_info is not None
    info = read_sample_info(study.genotypes.sample_info)
    try:
        merge_samples(samples, info)
    except LinkError as error:
        error.where = error.where or study.genotypes.sample_info.name
        raise
    unknown = samples.height - int(samples["sample_id"].is_in(info["sample_id"].to_list()).sum())
    if unknown:
        report.warnings.append(f"{unknown} of {samples.height} samples are not in the sample table")
    column = study.genotypes.ancestry_column
    if column is not None and column not in info.columns:
        raise ConfigError(
            f"genotypes.ancestry_column = {column!r} is not in the sample table",
            where=study.genotypes.sample_info.name,
            hint="it has: " + ", ".join(info.columns),
        )


def _score(name: str, path: Any, minimum: float, build: str, records: pl.DataFrame, report: CheckReport) -> None:
    from genomix.io.pgs_catalog import read_scoring_file
    from genomix.io.plink import split_alleles
    from genomix.variants.scores import match_score

    scoring = read_scoring_file(path)
    stated = scoring.header.build
    if stated not in (None, "unknown") and build != "unknown" and stated != build:
        raise FormatError(
            f"score {name!r} is written for {stated}, the genotypes for {build}",
            where=path.name,
            hint=f"use the score's file for {build}, or correct genotypes.build",
        )
    match = match_score(scoring.weights, split_alleles(records))
    report.facts[f"score {name}"] = f"{match.coverage:.1%} of {match.n_weights} variants used"
    if match.coverage < minimum:
        report.errors.append(
            FormatError(
                f"score {name!r}: {match.coverage:.1%} of its variants are usable, {minimum:.0%} are required",
                where=path.name,
                hint="check the build, or lower minimum_coverage knowingly",
            )
        )


def _records(study: Study, report: CheckReport, found: _Found) -> None:
    """Read the records and count what was left out."""
    from genomix.ehr.unit_table import read_unit_table
    from genomix.io.availability import DEFAULT_RULES, read_rules
    from genomix.io.record_conversion import read_records
    from genomix.io.record_format import record_format

    assert study.records is not None
    rules = read_rules(study.records.availability) if study.records.availability else DEFAULT_RULES
    kind = record_format(study.records.format)
    records = read_records(kind, study.records.path, availability=rules, mapping=study.records.mapping)
    if study.records.unit_table is not None:
        read_unit_table(study.records.unit_table)
    found.records = records.events
    found.subjects = records.events["subject_id"].unique().sort().to_list()
    report.facts["records"] = f"{records.events.height} events of {len(found.subjects)} subjects"
    for reason, count in records.report.dropped.items():
        report.warnings.append(f"{count} rows of the records cannot be events: {reason}")
    report.warnings.extend(
        f"{part.file} is not events and was left out: {part.reason}" for part in records.report.left_out
    )


def _labels(study: Study, report: CheckReport, found: _Found) -> None:
    """Make the labels and count them."""
    from genomix_pipelines.stages.split import check_labels

    if study.task is not None:
        from genomix.ehr.aces import read_task
        from genomix.ehr.cohort import extract_cohort

        task = read_task(study.task.path)
        if found.records is not None:
            found.labels["outcome"] = extract_cohort(found.records, task).labels
    elif study.of_table:
        _table(study, report, found)
    elif found.samples is not None:
        _phenotypes(study, found)
    for target, labels in list(found.labels.items()):
        known = labels["value"].drop_nulls()
        events = f", {int(known.sum())} with the outcome" if study.two_class else ""
        report.facts[f"labels {target}"] = f"{len(known)} rows{events}, {labels.height - len(known)} without a label"
        if study.descriptive:
            continue
        try:
            check_labels(known, binary=study.two_class)
        except LabelError as error:
            report.errors.append(error)
            del found.labels[target]  # said once


def _phenotypes(study: Study, found: _Found) -> None:
    from genomix_pipelines.stages.cohort import check_target, read_phenotypes

    assert study.phenotype is not None
    assert found.samples is not None
    phenotypes = read_phenotypes(study, study.phenotype.path, found.samples)
    for target in study.phenotype.targets:
        check_target(phenotypes, target, study.phenotype.path)
        mine = phenotypes.values.filter(pl.col("sample_id").is_in(found.samples))
        found.labels[target] = mine.select("sample_id", pl.col(target).alias("value"))


def _table(study: Study, report: CheckReport, found: _Found) -> None:
    """Read a table study's table; count its rows and people, and the rows that each step leaves out."""
    from genomix_pipelines.table_rows import table_cohort

    assert study.table is not None
    cohort = table_cohort(study, study.table.path)
    word, figures = study.table.row_word, cohort.quality
    report.facts["table"] = f"{cohort.flow['entered'][0]:,} {word}"
    for step, removed, kept in cohort.flow.select("step", "removed", "kept").rows()[1:]:
        report.facts[step] = f"{removed:,} {word} removed, {kept:,} kept"
        if not removed:
            report.warnings.append(f"no row of the table is left out by “{step}”")
    several = f"{figures['people_with_several_rows']:,} of them with several"
    report.facts["people"] = f"{figures['rows']:,} {word} of {figures['people']:,} people, {several}"
    report.facts["columns"] = f"{len(study.table.columns)} numbers, {len(study.table.categorical)} categories"
    found.labels["outcome"] = cohort.labels


def _overlap(study: Study, report: CheckReport, found: _Found) -> None:
    """Join samples and subjects; count labelled people with genotypes."""
    from genomix.features.link import check_collisions, resolve_link, same_name_link
    from genomix_pipelines.stages.link import read_link
    from genomix_pipelines.stages.split import check_labels

    if found.samples is None:
        return
    check_collisions(found.samples)
    if study.link is not None:
        link = read_link(study.link.path)
        subjects = found.subjects if found.subjects is not None else link["subject_id"].to_list()
        joined, counts = resolve_link(link, found.samples, subjects, where=study.link.path.name)
    elif found.subjects is not None:
        joined, counts = resolve_link(same_name_link(found.samples, found.subjects), found.samples, found.subjects)
    else:
        return
    report.facts["link"] = f"{counts.linked_subjects} people have both genotypes and records"
    if counts.samples_alone or counts.subjects_alone:
        report.warnings.append(f"{counts.samples_alone} samples and {counts.subjects_alone} subjects stay alone")
    for target, labels in found.labels.items():
        if "subject_id" in labels.columns:
            both = labels.filter(
                pl.col("subject_id").is_in(joined["subject_id"].to_list()) & pl.col("value").is_not_null()
            )
            report.facts[f"labels {target} with genotypes"] = both.height
            found.labels[target] = both
            with _noting(report):
                check_labels(both["value"], binary=study.two_class)


def _record_windows(study: Study, report: CheckReport, found: _Found) -> None:
    """Read the windows' options and count the codes that they choose."""
    from genomix.ehr.vocabulary import choose
    from genomix.features.record_columns import read_options

    assert study.features.record_windows is not None
    options = read_options(study.features.record_windows.model_dump(mode="json", exclude_none=True))
    if found.records is not None:
        codes = found.records["code"].unique().sort()
        chosen = choose(codes, include=options.include, exclude=options.exclude)
        report.facts["codes for windows"] = f"{len(chosen)} of {len(codes)}"


def _burden(study: Study, report: CheckReport, _found: _Found) -> None:
    """Judge the burdens' options, and whether quality control leaves rare variants."""
    from genomix.features.families.burden import check_options, largest_frequency, warn_rare
    from genomix_pipelines.stage_inputs import burden_options

    assert study.features.burden is not None
    assert study.genotypes is not None
    options = burden_options(study.features.burden)
    check_options(options)
    if study.features.burden.quality == "kept":
        warning = warn_rare(largest_frequency(options), study.genotypes.qc.minor_allele_frequency)
        report.warnings += [warning] if warning else []


def _sizes(study: Study, report: CheckReport, found: _Found) -> None:
    """Hold the number of people against Riley's criteria and the number of held-out events."""
    from genomix.models.sample_size import sample_size_binary

    for target, labels in found.labels.items():
        values = labels["value"].drop_nulls()
        if not study.binary or not len(values) or values.n_unique() < 2:
            continue
        prevalence = float(values.mean())  # type: ignore[arg-type]  # a float column's mean is a float
        parameters = least_parameters(study)
        with suppress(ConfigError):
            need = sample_size_binary(parameters, prevalence=prevalence)
            report.facts[f"smallest sample {target}"] = (
                f"{need.n} people for {parameters} parameters (Riley's criteria)"
            )
            if len(values) < need.n:
                report.warnings.append(
                    f"{len(values)} people are fewer than the {need.n} that {parameters} parameters need (Riley)"
                )
        share = study.split.held_out if study.split.design in ("holdout", "by_time") else 1.0
        held_out = round(share * float(values.sum()))
        if held_out < MODEST_EVENTS:
            report.warnings.append(f"about {held_out} events will be held out: intervals will be wide")


def least_parameters(study: Study) -> int:
    """Return the smallest number of candidate parameters that the study's families will make."""
    features = study.features
    count = 2 * (features.demographics is not None)
    count += len(study.table.feature_columns) if features.table is not None and study.table is not None else 0
    count += features.ancestry_pcs.n_components if features.ancestry_pcs is not None else 0
    count += len(study.scores) if features.polygenic_score is not None else 0
    if features.record_windows is not None:
        windows = features.record_windows
        count += len(windows.windows) * (len(windows.numeric) + len(windows.counts))
    return max(count, 1)
