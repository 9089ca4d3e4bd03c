"""Polygenic scores, adjusted for ancestry.

Options
-------
scores: list of ``{"name", "path"}``, each with optional ``minimum_coverage``; instead of ``path`` a frame ``weights``
(schema SCORE_WEIGHTS) with an optional ``build``. minimum_coverage: smallest share of a score's variants that the
genotypes must have (default 0.75). ambiguous: ``drop`` (default) or ``keep`` A/T and C/G variants. adjust: regress the
score on ancestry components and give the residual (default true). Options of the components as in ``ancestry_pcs``.

Dominant, recessive and per-genotype weights are summed as such. A score's dosages are read once per store and kept for
every fold, up to 128 MiB a score.

``compute`` gives the plain sum, a missing genotype counting nothing. Learned from training people: the effect-allele
frequencies that stand in for missing genotypes; from unrelated training people: the regression on ancestry, and the
residual's standard deviation. ``apply`` gives (score - expected at that ancestry) / standard deviation. This removes
the shift of the mean with ancestry, not the loss of accuracy outside the discovery population.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, InputNotFoundError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.genotypes import (
    ANCESTRY_DEFAULTS,
    column_table,
    genotypes_of,
    learn_ancestry,
    linked_samples,
    onto_rows,
    project_ancestry,
    rows_of_keys,
    training_samples,
    variant_keys,
    with_defaults,
)
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.io.contigs import UNKNOWN_BUILD
from genomix.io.pgs_catalog import ScoringFile, read_scoring_file
from genomix.io.plink import GenotypeStore
from genomix.schemas.scores import ADDITIVE, GENOTYPIC
from genomix.variants.score_sums import expected_sum
from genomix.variants.scores import (
    MINIMUM_COVERAGE,
    LoadedDosages,
    ScoreMatch,
    check_score_build,
    effect_frequencies,
    load_dosages,
    match_score,
    require_coverage,
    score_sums,
)
from genomix.variants.threads import one_blas_thread

FloatArray = npt.NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "scores": (),
    "minimum_coverage": MINIMUM_COVERAGE,
    "ambiguous": "drop",
    "adjust": True,
    **ANCESTRY_DEFAULTS,
}
_SCORE_KEYS = frozenset({"name", "path", "weights", "build", "minimum_coverage"})

_MOST_VALUES = 32 << 20
"""Dosages of one score that are kept in memory (128 MiB): a fold then reads no genotypes again."""

_KEPT_SCORES = 8
_kept: WeakKeyDictionary[GenotypeStore, dict[Hashable, LoadedDosages]] = WeakKeyDictionary()


class _Score(NamedTuple):
    name: str
    match: ScoreMatch


class PolygenicScoreFamily:
    """Ancestry-adjusted polygenic scores, one column each."""

    name = "polygenic_score"
    rung = "score"
    learns = True
    needs: frozenset[str] = frozenset({"genotypes"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return the plain sums over called genotypes; a score with too few of its variants is refused here."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        store, sample_of_row = genotypes_of(inputs)
        samples = linked_samples(sample_of_row)
        matched = _matched(inputs, chosen)
        sums = [
            score_sums(store, s.match, frequencies=None, samples=samples, loaded=_loaded(store, s.match, sample_of_row))
            for s in matched
        ]
        values = onto_rows(np.column_stack(sums), samples, sample_of_row)
        return FeatureBlock(values.astype(np.float32), _columns([s.name for s in matched], "sum of weights"))

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn frequencies, the regression on ancestry, and the residual's spread."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        store, sample_of_row = genotypes_of(inputs)
        ancestry = learn_ancestry(inputs, rows, {k: chosen[k] for k in ANCESTRY_DEFAULTS}) if chosen["adjust"] else None
        everyone = training_samples(inputs, rows)
        founders = training_samples(inputs, rows, unrelated_only=True)
        design = _design(inputs, ancestry, founders)
        learned: dict[str, Any] = {}
        for score in _matched(inputs, chosen):
            loaded = _loaded(store, score.match, sample_of_row)
            frequencies = np.nan_to_num(effect_frequencies(store, score.match, everyone, loaded=loaded))
            sums = score_sums(store, score.match, frequencies=frequencies, samples=founders, loaded=loaded)
            coefficients, spread = _regress(sums, design)
            if not spread > 0:
                raise ConfigError(f"score {score.name} does not vary among {len(founders)} unrelated training people")
            used = score.match.variants
            learned[score.name] = {
                "variants": variant_keys(store.variants[used["variant"].to_numpy()]).to_list(),
                "reference": used["reference"].to_list(),
                "weights": used["weight"].to_list(),
                "frequencies": frequencies.tolist(),
                "coefficients": coefficients.tolist(),
                "spread": spread,
                "counts": score.match.counts,
                **_effects(used),
            }
        return {"scores": learned, "ancestry": ancestry}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return each row's adjusted scores in standard deviations."""
        _, sample_of_row = genotypes_of(inputs)
        samples = linked_samples(sample_of_row)
        design = _design(inputs, learned["ancestry"], samples)
        columns = []
        for facts in learned["scores"].values():
            sums = _sums_of(inputs, facts, samples)
            columns.append((sums - _expected(design, np.asarray(facts["coefficients"]))) / facts["spread"])
        values = onto_rows(np.column_stack(columns), samples, sample_of_row).astype(np.float32)
        ending = "adjusted for ancestry (SD)" if learned["ancestry"] is not None else "(SD)"
        return FeatureBlock(values, _columns(list(learned["scores"]), ending))


FAMILY = PolygenicScoreFamily()


def _columns(names: list[str], ending: str) -> pl.DataFrame:
    comma = " " if ending.startswith("(") else ", "
    rows = [(f"polygenic_score:{n}", n, "SD", n, f"polygenic score {n}{comma}{ending}") for n in names]
    return column_table(FAMILY.name, FAMILY.rung, rows)


def _matched(inputs: FeatureInputs, options: Mapping[str, Any]) -> list[_Score]:
    """Match every score of the options to the store; refuse wrong builds and poor coverage."""
    store, _ = genotypes_of(inputs)
    if not options["scores"]:
        raise ConfigError("polygenic_score names no scores", hint='scores = [{name = "...", path = "..."}]')
    names = [str(entry.get("name", "")) for entry in options["scores"]]
    if len(set(names)) < len(names) or "" in names:
        raise ConfigError("every polygenic score needs a name of its own")
    found = []
    for name, entry in zip(names, options["scores"], strict=True):
        weights, build = _weights(name, entry)
        check_score_build(name, build, store.build)
        match = match_score(weights, store.variants, ambiguous=options["ambiguous"])
        require_coverage(match, name, minimum=float(entry.get("minimum_coverage", options["minimum_coverage"])))
        if not match.variants.height:
            raise ConfigError(f"score {name} has no variant in the genotypes")
        found.append(_Score(name, match))
    return found


def _weights(name: str, entry: Mapping[str, Any]) -> tuple[pl.DataFrame, str]:
    unknown = sorted(set(entry) - _SCORE_KEYS)
    if unknown or ("path" in entry) == ("weights" in entry):
        raise ConfigError(
            f"score {name} has no key {unknown[0]!r}" if unknown else f"score {name} needs either a path or weights",
            hint="keys: " + ", ".join(sorted(_SCORE_KEYS)),
        )
    if "weights" in entry:
        return entry["weights"], str(entry.get("build", UNKNOWN_BUILD))
    path = Path(entry["path"])
    try:
        state = path.stat()
    except OSError as error:
        raise InputNotFoundError(f"cannot read score {name}: {error.strerror}", where=str(path)) from error
    read = _read(str(path), state.st_mtime_ns, state.st_size)
    return read.weights, str(entry.get("build", read.header.build))


@lru_cache(maxsize=16)
def _read(path: str, _modified: int, _size: int) -> ScoringFile:
    """Read a scoring file once per state of the file."""
    return read_scoring_file(Path(path))


def _design(inputs: FeatureInputs, ancestry: Mapping[str, Any] | None, samples: RowArray) -> FloatArray:
    """Intercept and ancestry components of samples, float64 (n_samples, 1 + n_components)."""
    ones = np.ones((len(samples), 1))
    if ancestry is None:
        return ones
    return np.hstack([ones, project_ancestry(_only(inputs, samples), ancestry)])


def _only(inputs: FeatureInputs, samples: RowArray) -> FeatureInputs:
    """The same genotypes with one row per given sample."""
    return FeatureInputs(
        index=pl.DataFrame({"row": np.arange(len(samples))}), device=inputs.device, genotypes=inputs.genotypes,
        sample_of_row=samples, variant_keep=inputs.variant_keep,
    )  # fmt: skip


def _regress(outcome: FloatArray, design: FloatArray) -> tuple[FloatArray, float]:
    """Least-squares coefficients and the residual's standard deviation (0 where nothing is left to estimate it)."""
    with one_blas_thread():
        coefficients = np.asarray(np.linalg.lstsq(design, outcome, rcond=None)[0], dtype=np.float64)
    n_rows, n_columns = design.shape
    if n_rows <= n_columns:
        return coefficients, 0.0
    return coefficients, float((outcome - _expected(design, coefficients)).std(ddof=n_columns))


def _expected(design: FloatArray, coefficients: FloatArray) -> FloatArray:
    """The fitted line, added up column by column: the same bits for any number of rows and threads."""
    total = np.zeros(len(design))
    for column, coefficient in zip(design.T, coefficients.tolist(), strict=True):
        total += coefficient * column
    return total


def _sums_of(inputs: FeatureInputs, facts: Mapping[str, Any], samples: RowArray) -> FloatArray:
    """Scores from what was learned; a variant that this store lacks counts as missing in everyone."""
    store, _ = genotypes_of(inputs)
    rows = rows_of_keys(store, facts["variants"])
    table = pl.DataFrame(
        {"variant": rows, "reference": facts["reference"], "weight": facts["weights"], **facts.get("effects", {})}
    )
    frequencies = np.asarray(facts["frequencies"], dtype=np.float64)
    here = rows >= 0
    haploid = np.array([key.split(":", 1)[0] in ("Y", "MT") for key in facts["variants"]], dtype=np.bool_)
    absent = expected_sum(table.filter(pl.Series(~here)), frequencies[~here], haploid[~here])
    match = ScoreMatch(table.filter(pl.Series(here)), {})
    _, sample_of_row = genotypes_of(inputs)
    loaded = _loaded(store, match, sample_of_row)
    return score_sums(store, match, frequencies=frequencies[here], samples=samples, loaded=loaded) + absent


def _effects(used: pl.DataFrame) -> dict[str, Any]:
    """What has to be remembered of weights that are not additive: nothing for a score that is."""
    if (used["effect_type"] == ADDITIVE).all():
        return {}
    columns = ["effect_type", *(c for c in ("weight_0", "weight_1", "weight_2") if GENOTYPIC in used["effect_type"])]
    return {"effects": {c: used[c].to_list() for c in columns}}


def _loaded(store: GenotypeStore, match: ScoreMatch, sample_of_row: RowArray) -> LoadedDosages | None:
    """The score's dosages of every linked sample, read once per store; None where they would take too much memory."""
    samples = linked_samples(sample_of_row)
    used = match.variants
    if used.height * len(samples) > _MOST_VALUES:
        return None
    key = (used["variant"].to_numpy().tobytes(), used["reference"].to_numpy().tobytes(), samples.tobytes())
    known = _kept.setdefault(store, {})
    if key not in known:
        while len(known) >= _KEPT_SCORES:
            known.pop(next(iter(known)))
        known[key] = load_dosages(store, [match], samples)
    return known[key]
