"""The tables of a study file: every key, its type, its default and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _as_text(value: object) -> object:
    """Return a number or truth value of the study file as a table writes it; anything else as it is."""
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


Share = Annotated[float, Field(gt=0, lt=1)]
CellText = Annotated[str, BeforeValidator(_as_text)]
"""What a cell of a table holds; a number may be written without quotes."""
WINDOW = r"^(full|[1-9][0-9]*d|since:\S.*)$"


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
    """[genotypes]: a VCF, BCF, BGEN, PLINK 1 or PLINK 2 fileset, and how it is loaded."""

    path: Path
    build: Literal["GRCh37", "GRCh38"] | None = None
    sample_info: Path | None = None
    ancestry_column: str | None = None
    half_call: Literal["missing", "reference", "error"] = "missing"
    dosage: Literal["auto", "GT", "DS", "GP"] = "auto"
    multi_allelic: Literal["keep", "split", "drop"] = "keep"
    keep_filter: tuple[str, ...] | None = None
    fasta: Path | None = None
    bgen_ref: Literal["first", "last"] = "first"
    qc: VariantThresholds = VariantThresholds()


class ScoreSection(Section):
    """[[scores]]: one polygenic score and what is declared about its discovery cohorts."""

    name: Annotated[str, Field(min_length=1)]
    path: Path
    discovery_cohorts: Literal["none", "overlaps", "unknown"]
    minimum_coverage: Annotated[float, Field(ge=0, le=1)] = 0.75


class RecordsSection(Section):
    """[records]: health records in a format that genomix reads.

    ``availability``, ``mapping`` and ``unit_table`` are TOML files: when records could be known, how tables become
    events (format csv needs one), and a site's own units.
    """

    path: Path
    format: str = "meds"
    availability: Path | None = None
    mapping: Path | None = None
    unit_table: Path | None = None


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


class CategorySection(Section):
    """[table.categorical]: a text column of the table; its name alone may stand for it.

    ``prefix``: how many characters of a value are kept (3 makes 250.83 and 250.1 one level). ``names``: what a level
    is called in the report.
    """

    column: Annotated[str, Field(min_length=1)]
    prefix: Annotated[int, Field(ge=1)] | None = None
    names: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"column": value} if isinstance(value, str) else value


class LeaveOutSection(Section):
    """[[table.leave_out]]: rows that do not enter a table study, and why, as the cohort flow shows it."""

    column: Annotated[str, Field(min_length=1)]
    values: Annotated[tuple[CellText, ...], Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]


class TableSection(Section):
    """[table]: columns per sample or subject, measured elsewhere; with [outcome], the rows of the study itself.

    ``columns`` are numbers, ``categorical`` text; levels of fewer than ``min_subjects`` training people are pooled. In
    a table study (see [outcome]) ``id_column`` names the person, ``row_column`` what is unique to each row,
    ``keep_first`` the number whose smallest value marks a person's one row, and ``row_word`` what a row is, in the
    plural.
    """

    path: Path
    format: Literal["table", "qtltools_covariates"] = "table"
    id_column: str = "sample_id"
    row_column: str | None = None
    row_word: Annotated[str, Field(min_length=1)] = "rows"
    columns: tuple[str, ...] = ()
    categorical: tuple[CategorySection, ...] = ()
    min_subjects: Annotated[int, Field(ge=1)] = 20
    missing_values: tuple[CellText, ...] = ()
    leave_out: tuple[LeaveOutSection, ...] = ()
    keep_first: str | None = None
    sentences: dict[str, str] = Field(default_factory=dict)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Names of the columns that the study lists as features."""
        return (*self.columns, *(c.column for c in self.categorical))

    @model_validator(mode="after")
    def _columns_fit(self) -> TableSection:
        names = self.feature_columns
        twice = sorted({n for n in names if names.count(n) > 1})
        own = [n for n in names if n in (self.id_column, self.row_column)]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice among columns and categorical")
        if own:
            raise ValueError(f"{own[0]!r} says whose row it is and may not be a feature")
        if self.categorical and self.format != "table":
            raise ValueError(f'categorical needs format = "table": {self.format} holds numbers only')
        return self


class OutcomeSection(Section):
    """[outcome]: the column of [table] that is predicted; its rows are the study's rows (a table study).

    A yes/no outcome lists the values that mean yes and those that mean no; rows with a value of ``unknown``, or none,
    count as without a label. Any other value is an error.

    ``kind = "survival"``: ``positive`` says that the event was seen, ``negative`` that follow-up ended without it, and
    ``competing`` that another event ended the wait; all at ``time_column``, counted in ``time_unit`` from the moment of
    prediction. ``horizons`` are the times by which the risk is predicted.
    """

    column: Annotated[str, Field(min_length=1)]
    kind: Literal["binary", "regression", "survival"] = "binary"
    positive: tuple[CellText, ...] = ()
    negative: tuple[CellText, ...] = ()
    unknown: tuple[CellText, ...] = ()
    competing: tuple[CellText, ...] = ()
    time_column: Annotated[str, Field(min_length=1)] | None = None
    time_unit: Literal["days", "weeks", "months", "years"] = "days"
    horizons: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> OutcomeSection:
        listed = (*self.positive, *self.negative, *self.unknown, *self.competing)
        twice = sorted({v for v in listed if listed.count(v) > 1})
        if twice:
            raise ValueError(f"the value {twice[0]!r} is listed twice")
        if self.kind != "regression" and not (self.positive and self.negative):
            raise ValueError(f"a {'yes/no' if self.kind == 'binary' else 'time-to-event'} outcome needs both positive "
                             "and negative values")  # fmt: skip
        if self.kind == "regression" and (self.positive or self.negative):
            raise ValueError('positive and negative belong to kind = "binary" or "survival"')
        self._check_times()
        return self

    def _check_times(self) -> None:
        if self.kind != "survival":
            given = [n for n in ("competing", "time_column", "horizons") if getattr(self, n)]
            if given:
                raise ValueError(f'{given[0]} belongs to kind = "survival"')
            return
        if self.time_column is None or self.time_column == self.column:
            raise ValueError('kind = "survival" needs time_column, the column of how long each row was followed')
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)):
            raise ValueError('kind = "survival" needs horizons: increasing times, in the unit of time_column')


class LinkSection(Section):
    """[link]: a table with columns sample_id and subject_id."""

    path: Path


class SplitSection(Section):
    """[split]: what is never divided, and how rows are dealt to parts.

    ``by_time`` holds out the latest rows, by prediction time or by ``column`` (numbers); ``by_site`` each value of
    ``column`` in turn. ``column`` is one of the table study's table or of the samples' own (``sample_info``);
    ``family_column`` is of the samples', for ``keep_together = "families"``.
    """

    design: Literal["holdout", "cross_validation", "by_time", "by_site"] = "holdout"
    column: str | None = None
    keep_together: Literal["kin_groups", "kinship_clusters", "families", "subjects"] = "kin_groups"
    family_column: str | None = None
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
        if self.design == "by_site" and self.column is None:
            raise ValueError('design = "by_site" needs column, which says the site of each row')
        if self.column is not None and self.design not in ("by_time", "by_site"):
            raise ValueError(f"column has no meaning with design = {self.design!r}")
        if (self.keep_together == "families") != (self.family_column is not None):
            raise ValueError('keep_together = "families" and family_column belong together')
        return self


class RecordWindowsSection(Section):
    """[features.record_windows]: aggregates of coded events in look-back windows."""

    windows: Annotated[tuple[Annotated[str, Field(pattern=WINDOW)], ...], Field(min_length=1)] = ("365d", "full")
    numeric: tuple[str, ...] = ("last", "mean")
    counts: tuple[str, ...] = ("count",)
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    code_depth: Annotated[int, Field(ge=1)] | None = None
    roll_up: Path | None = None
    roll_up_keep: Literal["groups", "both"] = "groups"
    any_record: bool = False
    ranges: Path | None = None
    outlier_quantiles: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    min_subjects: Annotated[int, Field(ge=1)] = 20
    static: bool = True


class AncestrySection(Section):
    """[features.ancestry_pcs]: principal components of the genotypes."""

    n_components: Annotated[int, Field(ge=1, le=50)] = 5


class AssociationSelection(Section):
    """[features.dosages.select]: the variants associated with the label among each fold's training people."""

    by: Literal["association"]
    p: Annotated[float, Field(gt=0, le=1)] = 1e-4
    max_variants: Annotated[int, Field(ge=1)] | None = 500
    min_variants: Annotated[int, Field(ge=1)] = 1
    clump_r2: Annotated[float, Field(gt=0, le=1)] | None = 0.2
    clump_window_bp: Annotated[int, Field(ge=1)] = 1_000_000
    components: Annotated[int, Field(ge=0, le=50)] = 0

    @model_validator(mode="after")
    def _in_order(self) -> AssociationSelection:
        if self.max_variants is not None and self.min_variants > self.max_variants:
            raise ValueError("min_variants is larger than max_variants")
        return self


class DosagesSection(Section):
    """[features.dosages]: copies of the alternative allele at listed, cis, associated or thinned variants."""

    select: Literal["all", "cis", "list"] | AssociationSelection = "all"
    cis_window_bp: Annotated[int, Field(ge=0)] = 1_000_000
    variants: tuple[str, ...] = ()
    minor_allele_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    prune_r2: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    max_variants: Annotated[int, Field(ge=1)] | None = None


class BurdenSection(Section):
    """[features.burden]: carriers of rare variants per gene and mask."""

    annotation: Path | None = None
    genes: Path | None = None
    masks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    max_frequency: Annotated[float, Field(gt=0, le=1)] = 0.01
    transcripts: Literal["any", "canonical", "mane", "worst"] = "any"
    collapse: Literal["count", "carrier", "max", "weighted"] | None = None
    weights: Literal["none", "beta", "madsen-browning"] = "none"
    weight_table: Path | None = None
    missing: Literal["reference", "mean"] = "reference"
    counted: Literal["alt", "minor"] = "alt"
    frequencies: Path | None = None
    only_genes: tuple[str, ...] = ()
    min_carriers: Annotated[int, Field(ge=1)] = 1
    quality: Literal["kept", "all"] = "kept"

    @model_validator(mode="after")
    def _one_source(self) -> BurdenSection:
        if (self.annotation is None) == (self.genes is None):
            raise ValueError("give annotation or genes, and not both")
        return self


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
    burden: BurdenSection | None = None


class ModelSection(Section):
    """[model]: the boosted model's settings, and how intervals are made.

    Rows and columns are not subsampled unless the study asks for it, so that the CPU and a GPU grow the same trees.
    ``permutation_control`` trains each rung of the ladder once more with its own columns shuffled between rows.
    ``monotone`` holds 1 (the boosted prediction never falls as the column rises) or -1 for columns, by name or group.
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
    permutation_control: bool = True
    monotone: dict[str, Literal[-1, 1]] = Field(default_factory=dict)


class ReportSection(Section):
    """[report]: what the report may show."""

    examples: Annotated[int, Field(ge=0, le=10)] = 0
    subgroups: tuple[str, ...] = ("sex", "ancestry", "age")
    beeswarm_rows: Annotated[int, Field(ge=50, le=20_000)] = 1000


class ComputeSection(Section):
    """[compute]: thread counts are parameters, so that a result does not depend on the machine."""

    threads: Annotated[int, Field(ge=1, le=256)] = 1
