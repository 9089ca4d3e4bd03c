"""A finished study explained again, row by row: contributions of its folds, and the chain behind a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU, Device
from genomix.errors import ConfigError, InputNotFoundError
from genomix.explain.chain import RecordsBehind, Sources, VariantsBehind
from genomix.explain.tree_shap import Explained, explain_rows
from genomix.features.families.burden import collapse_rule
from genomix.features.family import FeatureInputs
from genomix.features.matrix import FeatureBlock, FeatureMatrix, read_matrix
from genomix.features.record_columns import RecordWindowOptions, read_options
from genomix.io.annotation import Annotation, read_any_annotation, read_gene_bed
from genomix.models.bundle import Bundle, read_bundle
from genomix_pipelines import store
from genomix_pipelines.graph import folder_of
from genomix_pipelines.stage import StageContext
from genomix_pipelines.stage_inputs import FamilyInputs, family_inputs
from genomix_pipelines.study import Study


class ExplainedStudy:
    """What ``genomix run`` left in its output folder, opened for explanation.

    Attributes
    ----------
    matrix: the rows, columns and folds. context: as the stage ``explain`` had it.
    """

    def __init__(self, study: Study, out: Path, target: str | None = None, device: Device = CPU) -> None:
        """Open the folders that ``current.json`` names; trees compute on ``device``.

        Raises
        ------
        InputNotFoundError: the study was not run there, or not as far as its models. ConfigError: another target.
        """
        self.context = _context(study, out, target)
        self._device = device
        self.matrix: FeatureMatrix = read_matrix(self.context.folder("features") / "matrix")
        self._given: FamilyInputs | None = None

    def bundle(self, fold: int, model: str = "boosted") -> Bundle:
        """Return a fold's verified bundle."""
        return read_bundle(self.context.folder("model") / "bundles" / f"fold_{fold}" / model, device=self._device)

    def block(self, fold: int, bundle: Bundle) -> FeatureBlock:
        """Return the columns of a fold's model for all rows."""
        return self.matrix.for_fold(fold).select(bundle.columns["name"].to_list())

    def parts(self, model: str = "boosted") -> Iterator[tuple[Bundle, FeatureBlock, Explained]]:
        """Yield each fold's model, the columns of all rows, and contributions to its held-out rows."""
        for fold in range(len(self.matrix.folds)):
            bundle = self.bundle(fold, model)
            block = self.block(fold, bundle)
            yield bundle, block, explain_rows(bundle.fitted, block, self.matrix.rows(fold, "held_out"), fold=fold)

    def sources(
        self, row: int, fold: int, *, annotation: Path | None = None, nucleotides: Mapping[str, float] | None = None
    ) -> Sources:
        """Return what stands behind a row of the index, as the fold's model saw it.

        Parameters
        ----------
        annotation: genes of variants (annotated VCF, or a BED of intervals); default: the study's own for its burdens.
        """
        if self._given is None:
            self._given = family_inputs(self.context, self.matrix.index)
        given, at = self._given, self.matrix.index.row(row, named=True)
        learned = self.matrix.folds[fold].learned
        return Sources(
            self._records(given, at, learned), self._variants(given, row, learned, annotation, nucleotides or {})
        )

    def _records(
        self, given: FamilyInputs, at: Mapping[str, Any], learned: Mapping[str, Mapping[str, Any]]
    ) -> RecordsBehind | None:
        if given.inputs.events is None or at["prediction_time"] is None:
            return None
        options: RecordWindowOptions | None = None
        if "record_windows" in given.options:
            options = read_options(given.options["record_windows"])
        bounds = {k: (v[0], v[1]) for k, v in learned.get("record_windows", {}).get("bounds", {}).items()}
        return RecordsBehind(given.inputs.events, at["subject_id"], at["prediction_time"], options, bounds)

    def _variants(
        self, given: FamilyInputs, row: int, learned: Mapping[str, Mapping[str, Any]], annotation: Path | None,
        nucleotides: Mapping[str, float],
    ) -> VariantsBehind | None:  # fmt: skip
        inputs: FeatureInputs = given.inputs
        if inputs.genotypes is None or inputs.sample_of_row is None:
            return None
        burden = given.options.get("burden")
        collapse, missing = ("count", "reference") if burden is None else collapse_rule(burden)
        return VariantsBehind(
            inputs.genotypes, int(inputs.sample_of_row[row]), learned, collapse, missing,
            genes_of(annotation, burden), nucleotides,
        )  # fmt: skip


def genes_of(path: Path | None, burden: Mapping[str, Any] | None = None) -> Annotation | pl.DataFrame | None:
    """Read which genes variants lie in: BED, annotated VCF or regenie's file; by default what the burdens use."""
    key = None
    if path is None and burden is not None:
        given = burden.get("annotation") or burden.get("genes")
        path, key = None if given is None else Path(given), burden.get("info_key")
    if path is None:
        return None
    bed = path.name.removesuffix(".gz").endswith((".bed", ".bed.txt"))
    return read_gene_bed(path) if bed else read_any_annotation(path, key=key)


def _context(study: Study, out: Path, target: str | None) -> StageContext:
    """Return the context of the stage ``explain`` over the folders of the last complete run."""
    pointer = store.read_pointer(out)
    if not pointer:
        raise InputNotFoundError("no run of a study is here", where=str(out), hint="genomix run STUDY.toml --out ...")
    targets: tuple[str | None, ...] = tuple(study.targets) or (None,)
    if target is None and len(targets) > 1:
        raise ConfigError("the study has several targets", hint="--target, one of: " + ", ".join(map(str, targets)))
    target = targets[0] if target is None else target
    if target not in targets:
        raise ConfigError(f"the study has no target {target!r}", hint="one of: " + ", ".join(map(str, targets)))
    upstream: dict[str, dict[str | None, Path]] = {}
    for name, digest in pointer.items():
        stage, _, own = name.removesuffix("]").partition("[")
        upstream.setdefault(stage, {})[own or None] = folder_of(out, stage, digest)
    for stage in ("features", "model", "split"):
        if stage not in upstream or not all(f.is_dir() for f in upstream[stage].values()):
            raise InputNotFoundError(f"the run has no stage {stage}", where=str(out), hint="genomix run makes it")
    return StageContext(study, target, out, {}, upstream, CPU)


def fold_of_row(matrix: FeatureMatrix, row: int) -> int:
    """Return the fold that held a row out.

    Raises
    ------
    ConfigError: there is no such row, or no model held it out.
    """
    if not 0 <= row < matrix.n_rows:
        raise ConfigError(f"there is no row {row}", hint=f"rows go from 0 to {matrix.n_rows - 1}")
    for fold in range(len(matrix.folds)):
        if row in np.asarray(matrix.rows(fold, "held_out")):
            return fold
    raise ConfigError(f"row {row} was held out by no model", hint="only held-out rows are explained")
