"""The typed study file: every key, its type, its default and what it means.

``load_study`` reads ``study.toml``, resolves paths beside it, and turns every mistake into one :class:`ConfigError`
that names the file, the key and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genomix.errors import ConfigError, InputNotFoundError

Share = Annotated[float, Field(gt=0, lt=1)]
WINDOW = r"^(full|[1-9][0-9]*d)$"


class Section(BaseModel):
    """A table of the study file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AboutSection(Section):
    """[study]: what the report says about the study, and the seed."""

    title: str
    question: str
    outcome: str
    population: str
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    report_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    simulated: tuple[str, ...] = ()
    owner: str | None = None
    intended_use: str | None = None
    prediction_time: str | None = None
    threshold: Share | None = None
    limitations: tuple[str, ...] = ()
    data_use: dict[str, str] = Field(default_factory=dict)


class VariantThresholds(Section):
    """[genotypes.qc]: what a variant or sample must reach to be kept."""

    variant_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.95
    minor_allele_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    hwe_p: Annotated[float, Field(ge=0, le=1)] = 1e-6
    sample_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.95
    heterozygosity_sd: Annotated[float, Field(gt=0)] | None = None
    check_sex: bool = True


class GenotypesSection(Section):
    """[genotypes]: a VCF, BCF, PLINK 1 or PLINK 2 fileset."""

    path: Path
    build: Literal["GRCh37", "GRCh38"] | None = None
    sample_info: Path | None = None
    ancestry_column: str | None = None
    half_call: Literal["missing", "reference", "error"] = "missing"
    qc: VariantThresholds = VariantThresholds()


class ScoreSection(Section):
    """[[scores]]: one polygenic score and what is declared about its discovery cohorts."""

    name: Annotated[str, Field(min_length=1)]
    path: Path
    discovery_cohorts: Literal["none", "overlaps", "unknown"]
    minimum_coverage: Annotated[float, Field(ge=0, le=1)] = 0.75


class RecordsSection(Section):
    """[records]: health records in a format that genomix reads."""

    path: Path
    format: str = "meds"
    availability: Path | None = None


class TaskSection(Section):
    """[task]: cohort and label, in the ACES dialect."""

    path: Path


class PhenotypeSection(Section):
    """[phenotype]: quantities per sample, instead of a task."""

    path: Path
    format: Literal["table", "bimbam", "expression_bed"] = "table"
    sample_column: str = "sample_id"
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    objective: Literal["binary", "regression"] = "regression"


class TableSection(Section):
    """[table]: columns per sample or subject, measured elsewhere."""

    path: Path
    format: Literal["table", "qtltools_covariates"] = "table"
    id_column: str = "sample_id"
    columns: tuple[str, ...] = ()
    sentences: dict[str, str] = Field(default_factory=dict)


class LinkSection(Section):
    """[link]: a table with columns sample_id and subject_id."""

    path: Path


class SplitSection(Section):
    """[split]: what is never divided, and how rows are dealt to parts."""

    design: Literal["holdout", "cross_validation"] = "holdout"
    keep_together: Literal["kin_groups", "kinship_clusters", "subjects"] = "kin_groups"
    kinship: Annotated[float, Field(ge=0.0442, lt=0.5)] = 0.177
    clusters: Annotated[int, Field(ge=2)] = 20
    held_out: Share = 0.3
    tuning: Share = 0.15
    folds: Annotated[int, Field(ge=3, le=50)] = 5
    stratify: bool = True

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> SplitSection:
        if self.held_out + self.tuning >= 0.9:
            raise ValueError("held_out + tuning must leave at least a tenth of the rows for training")
        return self


class RecordWindowsSection(Section):
    """[features.record_windows]: aggregates of coded events in look-back windows."""

    windows: Annotated[tuple[Annotated[str, Field(pattern=WINDOW)], ...], Field(min_length=1)] = ("365d", "full")
    numeric: tuple[str, ...] = ("last", "mean")
    counts: tuple[str, ...] = ("count",)
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    code_depth: Annotated[int, Field(ge=1)] | None = None
    min_subjects: Annotated[int, Field(ge=1)] = 20
    static: bool = True


class AncestrySection(Section):
    """[features.ancestry_pcs]: principal components of the genotypes."""

    n_components: Annotated[int, Field(ge=1, le=50)] = 5


class DosagesSection(Section):
    """[features.dosages]: copies of the alternative allele at listed, cis or thinned variants."""

    select: Literal["all", "cis", "list"] = "all"
    cis_window_bp: Annotated[int, Field(ge=0)] = 1_000_000
    variants: tuple[str, ...] = ()
    minor_allele_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    prune_r2: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    max_variants: Annotated[int, Field(ge=1)] | None = None


class EmptySection(Section):
    """A family without options."""


class FeaturesSection(Section):
    """[features.*]: the families of the study; a family whose table is absent is not made."""

    demographics: EmptySection | None = None
    table: EmptySection | None = None
    ancestry_pcs: AncestrySection | None = None
    record_windows: RecordWindowsSection | None = None
    polygenic_score: EmptySection | None = None
    dosages: DosagesSection | None = None


class ModelSection(Section):
    """[model]: the boosted model's settings, and how intervals are made.

    Rows and columns are not subsampled unless the study asks for it, so that the CPU and a GPU grow the same trees.
    """

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_depth: Annotated[int, Field(ge=1, le=12)] = 3
    min_child_weight: Annotated[float, Field(ge=0)] = 5.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 1.0
    colsample_bytree: Annotated[float, Field(gt=0, le=1)] = 1.0
    reg_lambda: Annotated[float, Field(ge=0)] = 1.0
    max_rounds: Annotated[int, Field(ge=1)] = 600
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 30
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000


class ReportSection(Section):
    """[report]: what the report may show."""

    examples: Annotated[int, Field(ge=0, le=10)] = 0
    subgroups: tuple[str, ...] = ("sex", "ancestry", "age")
    beeswarm_rows: Annotated[int, Field(ge=50, le=20_000)] = 1000


class ComputeSection(Section):
    """[compute]: thread counts are parameters, so that a result does not depend on the machine."""

    threads: Annotated[int, Field(ge=1, le=256)] = 1


class Study(Section):
    """A whole study; ``folder`` is where its relative paths start."""

    study: AboutSection
    genotypes: GenotypesSection | None = None
    scores: tuple[ScoreSection, ...] = ()
    records: RecordsSection | None = None
    task: TaskSection | None = None
    phenotype: PhenotypeSection | None = None
    table: TableSection | None = None
    link: LinkSection | None = None
    split: SplitSection = SplitSection()
    features: FeaturesSection
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
        return self.phenotype is None or self.phenotype.objective == "binary"

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        for wrong, message in (
            (not self.task and not self.phenotype, "give [task] (with [records]) or [phenotype]"),
            (self.task and self.phenotype, "give [task] or [phenotype], not both"),
            (self.task and not self.records, "[task] needs [records]"),
            (self.phenotype and not self.genotypes, "[phenotype] needs [genotypes]"),
            (not self.records and not self.genotypes, "give [genotypes], [records] or both"),
            (self.features.record_windows and not self.records, "[features.record_windows] needs [records]"),
            (self.features.ancestry_pcs and not self.genotypes, "[features.ancestry_pcs] needs [genotypes]"),
            (self.features.dosages and not self.genotypes, "[features.dosages] needs [genotypes]"),
            (self.features.polygenic_score and not self.scores, "[features.polygenic_score] needs [[scores]]"),
            (self.scores and not self.genotypes, "[[scores]] needs [genotypes]"),
            (self.features.table and not self.table, "[features.table] needs [table]"),
            (not any(f for _, f in self.features), "[features] names no family"),
            (self.split.keep_together != "subjects" and not self.genotypes,
             "[split] keep_together needs [genotypes]; without them write keep_together = \"subjects\""),
            (self.split.keep_together == "kinship_clusters" and self.split.clusters < self.split.folds,
             "[split] clusters must be at least the number of folds"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(message)
        return self


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
    result: dict[str, Any] = _without_folders(study.model_dump())
    return result


def _without_folders(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items()}
    return [_without_folders(v) for v in value] if isinstance(value, tuple | list) else value


def _resolve(study: Study, path: Path) -> Study:
    folder = path.resolve().parent
    updates: dict[str, Any] = {}
    for key, section in study:
        if isinstance(section, Section):
            moved = {n: folder / v for n, v in section if isinstance(v, Path)}
            if moved:
                updates[key] = section.model_copy(update=moved)
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
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"]) or "study file"
    message = re.sub(r"^Value error, ", "", first["msg"])
    hint = None
    if first["type"] == "extra_forbidden":
        allowed = _allowed(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), allowed, n=1)
        message = f"unknown key {key!r}"
        hint = (f"did you mean {near[0]!r}? " if near else "") + "allowed here: " + (", ".join(allowed) or "nothing")
    elif first["type"] == "missing":
        message = f"key {key!r} is missing"
        hint = (
            f"add it; allowed beside it: {', '.join(n for n in _allowed(first['loc'][:-1]) if n != first['loc'][-1])}"
        )
    else:
        message = f"{key}: {message}"
        hint = _default(first["loc"])
    more = len(error.errors()) - 1
    return ConfigError(message + (f" (and {more} more)" if more else ""), where=str(path), hint=hint)


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
