"""The typed study file.

``load_study`` reads ``study.toml``, resolves paths beside it, and turns every mistake into one :class:`ConfigError`
that names the file, the key and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from genomix.errors import ConfigError, InputNotFoundError
from genomix_pipelines.study_sections import (
    AboutSection,
    ComputeSection,
    FeaturesSection,
    GenotypesSection,
    LinkSection,
    ModelSection,
    OutcomeSection,
    PhenotypeSection,
    RecordsSection,
    ReportSection,
    ScoreSection,
    Section,
    SplitSection,
    TableSection,
    TaskSection,
)


class Study(Section):
    """A whole study; ``folder`` is where its relative paths start."""

    study: AboutSection
    genotypes: GenotypesSection | None = None
    scores: tuple[ScoreSection, ...] = ()
    records: RecordsSection | None = None
    task: TaskSection | None = None
    phenotype: PhenotypeSection | None = None
    table: TableSection | None = None
    outcome: OutcomeSection | None = None
    link: LinkSection | None = None
    split: SplitSection = SplitSection()
    features: FeaturesSection = FeaturesSection()
    model: ModelSection = ModelSection()
    report: ReportSection = ReportSection()
    compute: ComputeSection = ComputeSection()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the outcomes when there are several; empty for the study's one outcome."""
        several = self.phenotype is not None and len(self.phenotype.targets) > 1
        return self.phenotype.targets if several and self.phenotype else ()

    @property
    def binary(self) -> bool:
        """Whether the outcome is yes/no."""
        if self.outcome is not None:
            return self.outcome.kind == "binary"
        return self.phenotype is None or self.phenotype.objective == "binary"

    @property
    def survival(self) -> bool:
        """Whether the outcome is a time to an event."""
        return self.outcome is not None and self.outcome.kind == "survival"

    @property
    def two_class(self) -> bool:
        """Whether a label is 0 or 1: a yes/no outcome, or whether the event was seen."""
        return self.binary or self.survival

    @property
    def descriptive(self) -> bool:
        """Whether the study only describes its data: it names no feature, so there is nothing to model."""
        return not any(family for _, family in self.features)

    @property
    def modelled(self) -> bool:
        """Whether a model is asked for."""
        return not self.descriptive

    @property
    def labelled(self) -> bool:
        """Whether rows and an outcome are asked for."""
        return self.task is not None or self.phenotype is not None or self.of_table

    @property
    def of_table(self) -> bool:
        """Whether the rows of the study are those of one table, without records, genotypes or times."""
        return self.outcome is not None

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        for wrong, message in (
            (self.modelled and not self.labelled, "give [task] (with [records]), [phenotype] or [outcome]"),
            (self.task and self.phenotype, "give [task] or [phenotype], not both"),
            (self.task and not self.records, "[task] needs [records]"),
            (self.phenotype and not self.genotypes, "[phenotype] needs [genotypes]"),
            (not self.records and not self.genotypes and not self.of_table,
             "give [genotypes], [records] or both, or [outcome] with [table]"),
            *table_rules(self),
            (self.features.record_windows and not self.records, "[features.record_windows] needs [records]"),
            (self.features.ancestry_pcs and not self.genotypes, "[features.ancestry_pcs] needs [genotypes]"),
            (self.features.dosages and not self.genotypes, "[features.dosages] needs [genotypes]"),
            (self.features.burden and not self.genotypes, "[features.burden] needs [genotypes]"),
            (self.features.polygenic_score and not self.scores, "[features.polygenic_score] needs [[scores]]"),
            (self.scores and not self.genotypes, "[[scores]] needs [genotypes]"),
            (self.features.table and not self.table, "[features.table] needs [table]"),
            (self.descriptive and "features" in self.model_fields_set,
             "[features] names no family; leave it out for a study that only describes its data"),
            (self.modelled and self.split.keep_together != "subjects" and not self.genotypes,
             "[split] keep_together needs [genotypes]; without them write keep_together = \"subjects\""),
            (self.modelled and self.split.column and not (self.genotypes or self.of_table),
             "[split] column is of the samples of [genotypes] or of the table of a table study"),
            (self.modelled and self.split.design == "by_time" and not (self.split.column or self.task),
             '[split] design = "by_time" needs column: the rows of this study have no prediction time'),
            (self.split.keep_together == "kinship_clusters" and self.split.clusters < self.split.folds,
             "[split] clusters must be at least the number of folds"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(message)
        return self


def table_rules(study: Study) -> Iterator[tuple[object, str]]:
    """Yield what a table study, and a table in any other, may not hold: (whether it does, what is wrong)."""
    table, outcome = study.table, study.outcome
    if outcome is None:
        for key in ("row_column", "leave_out", "keep_first"):
            yield (
                table and getattr(table, key),
                f"[table] {key} needs [outcome]: the rows of the study are not the table's",
            )
        return
    yield table is None, "[outcome] needs [table]"
    for key in ("genotypes", "records", "task", "phenotype", "link", "scores"):
        yield getattr(study, key), f"[outcome] makes the table's rows the study: leave out [{key}]"
    other = [name for name, options in study.features if options is not None and name != "table"]
    yield other, f"a table study has the features of [features.table] alone, not {', '.join(other)}"
    if table is None:
        return
    yield table.format != "table", '[outcome] needs [table] format = "table"'
    yield study.features.table and not table.feature_columns, "[features.table] needs columns or categorical in [table]"
    yield outcome.column in (table.id_column, table.row_column), f"[outcome] column {outcome.column!r} names the row"
    yield (
        outcome.column in table.feature_columns,
        f"{outcome.column!r} is the outcome and may not be a feature: take it out of [table]",
    )
    times = outcome.time_column
    yield (
        times is not None and times in (*table.feature_columns, table.id_column, table.row_column),
        (f"[outcome] time_column {times!r} is known only after the prediction: take it out of [table]"),
    )
    designs = ("holdout", "by_time")
    yield (
        study.survival and study.split.design not in designs,
        (f"a time to an event is studied on one split: [split] design is one of {', '.join(designs)}"),
    )
    for key, given in (("[model] monotone", study.model.monotone), ("[study] threshold", study.study.threshold),
                       ("[report] examples", study.report.examples),
                       ("[report] subgroups", "subgroups" in study.report.model_fields_set)):  # fmt: skip
        yield study.survival and given, f"{key} is not made for a time to an event: leave it out"
    reserved = [n for n in table.feature_columns if n in ("subject_id", "source_row")]
    yield reserved, f"a column named {', '.join(reserved)} cannot be a feature: rename it in the table"


def load_study(path: Path) -> Study:
    """Read and check a study file; relative paths start at its folder.

    Raises
    ------
    InputNotFoundError: when the study file, or a file that it names, does not exist.
    ConfigError: for anything else, naming the file, the key, and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputNotFoundError(
            f"cannot read the study file: {error.strerror}", where=str(path), hint="genomix init DIR proposes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the study file is not TOML: {error}",
            where=str(path),
            hint="correct that place; https://toml.io has the form",
        ) from error
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise _config_error(error, path) from error
    return _resolve(study, path)


def input_paths(study: Study) -> dict[str, Path]:
    """Return every path that the study names, by its key; a fileset prefix stands for its files."""
    paths: dict[str, Path] = {}
    for key, section in study:
        if isinstance(section, Section):
            for name, value in section:
                if isinstance(value, Path):
                    paths[f"{key}.{name}"] = value
    for number, score in enumerate(study.scores):
        paths[f"scores.{number}.path"] = score.path
    for family, options in study.features:
        if options is not None:
            paths |= {f"features.{family}.{name}": v for name, v in options if isinstance(v, Path)}
    return paths


def fileset_files(path: Path) -> list[Path]:
    """Return the files behind a genotype path: itself, or a PLINK fileset's members for a prefix or a member.

    >>> fileset_files(Path("no/such.vcf.gz"))
    []
    """
    prefix = path.with_suffix("") if path.suffix in (".bed", ".pgen") else path
    for group in ((".pgen", ".pvar", ".psam"), (".pgen", ".pvar.zst", ".psam"), (".bed", ".bim", ".fam")):
        files = [prefix.parent / (prefix.name + suffix) for suffix in group]
        if all(f.exists() for f in files):
            return files
    return [path] if path.exists() else []


def stated_parameters(study: Study) -> dict[str, Any]:
    """Return what the study states, as JSON-able values, with every path reduced to its file's name."""
    result: dict[str, Any] = without_folders(study.model_dump())
    return result


def without_folders(value: Any) -> Any:
    """Return nested values with every path reduced to its file's name."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {k: without_folders(v) for k, v in value.items()}
    return [without_folders(v) for v in value] if isinstance(value, tuple | list) else value


def _resolve(study: Study, path: Path) -> Study:
    folder = path.resolve().parent
    updates: dict[str, Any] = {}
    for key, section in study:
        if isinstance(section, Section):
            moved = {n: folder / v for n, v in section if isinstance(v, Path)}
            if moved:
                updates[key] = section.model_copy(update=moved)
    families = {
        family: options.model_copy(update={n: folder / v for n, v in options if isinstance(v, Path)})
        for family, options in study.features
        if options is not None
    }
    updates["features"] = study.features.model_copy(update=families)
    updates["scores"] = tuple(s.model_copy(update={"path": folder / s.path}) for s in study.scores)
    resolved = study.model_copy(update=updates)
    for key, target in input_paths(resolved).items():
        if not (fileset_files(target) if key == "genotypes.path" else target.exists()):
            raise InputNotFoundError(
                f"{key} = {target.name!r} does not exist",
                where=f"{path} → {target}",
                hint="correct the path; it starts at the study file's folder",
            )
    return resolved


def _config_error(error: ValidationError, path: Path) -> ConfigError:
    # a misspelt key is also a missing one: the misspelling is what helps
    first = min(_of_tables(error.errors(include_url=False)), key=lambda e: e["type"] != "extra_forbidden")
    location = tuple(part for part in first["loc"] if not _is_tag(part))
    key = ".".join(str(part) for part in location) or "study file"
    message = re.sub(r"^Value error, ", "", first["msg"])
    hint = None
    if first["type"] == "extra_forbidden":
        allowed = _allowed(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        message = f"unknown key {key!r}"
        hint = (f"did you mean {near[0]!r}? " if near else "") + "allowed here: " + (", ".join(allowed) or "nothing")
    elif first["type"] == "missing":
        message = f"key {key!r} is missing"
        hint = f"add it; allowed beside it: {', '.join(n for n in _allowed(location[:-1]) if n != location[-1])}"
    else:
        message = f"{key}: {message}"
        hint = _default(location)
    more = len(_of_tables(error.errors(include_url=False))) - 1
    return ConfigError(message + (f" (and {more} more)" if more else ""), where=str(path), hint=hint)


def _of_tables(errors: Sequence[Any]) -> list[Any]:
    """Leave out, where a key may be a word or a table and a table was given, what is wrong with it as a word."""
    tables = {e["loc"][:i] for e in errors for i, part in enumerate(e["loc"]) if "Selection" in str(part)}
    words = [e for e in errors if e["loc"] and str(e["loc"][-1]).startswith("literal[") and e["loc"][:-1] in tables]
    if any(not isinstance(e["input"], dict) for e in words):  # a word was given: what is wrong with it as a table
        return words
    return [e for e in errors if e not in words]


def _is_tag(part: int | str) -> bool:
    """Say whether a part of an error's place names an alternative of a key and not a key."""
    return isinstance(part, str) and (part.startswith("literal[") or "Selection" in part)


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    return list(_section(location).model_fields)


def _section(location: tuple[int | str, ...]) -> type[Section]:
    model: type[Section] = Study
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, Section))
    return model


def _default(location: tuple[int | str, ...]) -> str | None:
    """Return a hint for a key whose value is wrong: its default, or None where the key is needed."""
    names = [part for part in location if isinstance(part, str)]
    try:
        field = _section(tuple(names[:-1])).model_fields[names[-1]]
    except (KeyError, IndexError, StopIteration):
        return None
    if field.is_required() or isinstance(field.default, Section):
        return None
    if field.default is None:
        return "correct it, or leave it out"
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"correct it, or leave it out for its default, {json.dumps(default)}"
