"""Small numbers of people cannot be read from the report, nor worked out from what it shows."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.privacy import WITHHELD, suppress_counts
from genomix.report.document import render_report
from genomix.report.flow import chains
from genomix.report.inputs import ReportInputs
from genomix.report.sections.clinical_use import SECTION as CLINICAL_USE
from genomix.report.sections.importance import SECTION as IMPORTANCE
from genomix.report.swarm import dependence, micro_aggregate
from genomix.schemas.people import FLOW

SAMPLE = Path(__file__).resolve().parents[2] / "contracts" / "sample_report.py"
_spec = importlib.util.spec_from_file_location("sample_report", SAMPLE)
assert _spec is not None
assert _spec.loader is not None
sample = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("sample_report", sample)
_spec.loader.exec_module(sample)


def _possible(shown: list[str], total: int) -> list[set[int]]:
    """Return the values that each cell may have, for one who knows the total, the cells and the rules."""
    some_small = any(t.startswith("<") for t in shown)
    ranges = [
        [int(t)]
        if t.isdigit()
        else list(range(1, 11))
        if t.startswith("<")
        else list(range(11 if some_small else 1, total))
        for t in shown
    ]
    found: list[set[int]] = [set() for _ in shown]
    for combination in itertools.product(*ranges):
        if sum(combination) == total:
            for cell, value in zip(found, combination, strict=True):
                cell.add(value)
    return found


@given(st.lists(st.integers(0, 26), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_small_cell_keeps_at_least_three_values(counts: list[int]) -> None:
    total = sum(counts)
    if total < 11:
        return
    shown = suppress_counts(counts)
    for count, text, values in zip(counts, shown, _possible(shown, total), strict=True):
        assert count in values
        if 0 < count < 11:
            assert not text.isdigit()
            assert len(values) >= 3


def test_nothing_is_hidden_without_need() -> None:
    assert suppress_counts([0, 11, 400]) == ["0", "11", "400"]
    assert suppress_counts([4, 5, 400]) == ["<11", "<11", "400"]


def _flow(*rows: tuple[str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"part": p, "step": f"step {i}", "unit": u, "entered": e, "removed": r, "kept": e - r, "events": None}
            for i, (p, u, e, r) in enumerate(rows)
        ],
        schema={c.name: c.dtype for c in FLOW.columns},
    )


def _number(text: str) -> int | None:
    digits = text.replace("\u202f", "")
    return int(digits) if digits.isdigit() else None


DROPS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 300)), min_size=1, max_size=5)


@given(st.integers(0, 400), DROPS, st.integers(0, 400), DROPS)
@settings(max_examples=300, deadline=None)
def test_no_shown_pair_of_a_flow_differs_by_a_small_number(
    first_left: int, first: list[int], second_left: int, second: list[int]
) -> None:
    rows = []
    for part, left, drops in (("records", first_left, first), ("study", second_left, second)):
        entered = left + sum(drops)
        for drop in drops:
            rows.append((part, "people", entered, drop))
            entered -= drop
    found = chains(_flow(*rows))
    for chain in found:
        before = _number(chain.entered)
        for step in chain.steps:
            removed, kept = _number(step.removed), _number(step.kept)
            assert removed is None or not 0 < removed < 11
            assert kept is None or not 0 < kept < 11
            if before is not None and kept is not None:
                assert not 0 < before - kept < 11
                assert removed is None or before - removed == kept
            if removed is not None and kept is not None:
                assert not (before is None and 0 < kept + removed < 11)
            before = kept
    asked = [a for c in found for s in c.steps for a in s.asked] + [c.opening for c in found if c.opening]
    assert sorted(asked) == sorted(f"step {i}" for i in range(len(rows)))
    end = _number(found[0].steps[-1].kept if found[0].steps else found[0].entered)
    start = _number(found[1].entered)
    if end is not None and start is not None:
        assert not 0 < abs(end - start) < 11


def test_a_small_drop_is_shown_with_its_neighbour_and_still_adds_up() -> None:
    (chain,) = chains(_flow(("study", "people", 500, 0), ("study", "people", 500, 40), ("study", "people", 460, 3)))
    assert chain.opening == "step 0"
    assert (chain.entered, [(s.asked, s.removed, s.kept) for s in chain.steps]) == (
        "500", [(("step 1", "step 2"), "43", "457")],
    )  # fmt: skip


def test_a_lone_small_drop_withholds_what_entered() -> None:
    (chain,) = chains(_flow(("study", "people", 500, 3)))
    assert (chain.entered, chain.steps[0].removed, chain.steps[0].kept) == (WITHHELD, "<11", "497")


def test_variants_are_not_people() -> None:
    (chain,) = chains(_flow(("genotypes", "variants", 500, 3)))
    assert (chain.entered, chain.steps[0].removed, chain.steps[0].kept) == ("500", "3", "497")


def _content(inputs: ReportInputs, *, curves: bool = False, ladder: bool = False) -> str:
    """Return all that the report says and draws, but for tables that the test does not touch (they take time)."""
    names = ["importance", "beeswarm", "columns", *([] if curves else ["curves"]), *([] if ladder else ["ladder"])]
    report = render_report(replace(inputs, **{name: getattr(inputs, name).clear() for name in names}))
    return report.html + json.dumps(report.json, sort_keys=True)


def _with_events(group: str, events: int, other: str) -> ReportInputs:
    """Plant ``events`` in a group and take them from another, so that the totals stay."""
    full = sample.full_inputs()
    change = 14 - events
    column = (
        pl.when(pl.col("group") == group).then(events)
        .when(pl.col("group") == other).then(pl.col("n_events") + change).otherwise(pl.col("n_events"))
    )  # fmt: skip
    return replace(full, metrics=full.metrics.with_columns(n_events=column))


def test_subgroups_do_not_depend_on_a_small_count() -> None:
    assert _content(_with_events("ancestry=EAS", 3, "ancestry=AFR"), ladder=True) == _content(
        _with_events("ancestry=EAS", 9, "ancestry=AFR"), ladder=True
    )
    assert _content(_with_events("ancestry=EAS", 12, "ancestry=AFR"), ladder=True) != _content(
        _with_events("ancestry=EAS", 13, "ancestry=AFR"), ladder=True
    )


def test_subgroups_do_not_depend_on_a_small_count_of_people_without_the_outcome() -> None:
    def planted(without: int) -> str:
        inputs = _with_events("ancestry=EAS", 212 - without, "ancestry=AFR")
        wide = pl.when(pl.col("group") == "ancestry=AFR").then(88 + without).otherwise(pl.col("n_events"))
        large = pl.when(pl.col("group") == "all").then(1_100).otherwise(wide)
        return _content(replace(inputs, metrics=inputs.metrics.with_columns(n_events=large)), ladder=True)

    assert planted(3) == planted(9)
    assert planted(30) != planted(31)


def _with_size(size: int) -> ReportInputs:
    full = sample.full_inputs()
    column = (
        pl.when(pl.col("group") == "ancestry=EAS").then(size)
        .when(pl.col("group") == "ancestry=AFR").then(604 + 212 - size).otherwise(pl.col("n_rows"))
    )  # fmt: skip
    events = pl.when(pl.col("group") == "ancestry=EAS").then(2).otherwise(pl.col("n_events"))
    return replace(full, metrics=full.metrics.with_columns(n_rows=column, n_events=events))


def test_subgroup_sizes_do_not_depend_on_a_small_count() -> None:
    assert _content(_with_size(4), ladder=True) == _content(_with_size(10), ladder=True)
    assert _content(_with_size(40), ladder=True) != _content(_with_size(41), ladder=True)


def _with_fold_events(events: int) -> ReportInputs:
    full = sample.full_inputs()
    folds = json.loads(json.dumps(full.split["folds"]))
    for fold, n in zip(folds, (events, 62 - events, 90, 95, 94), strict=True):
        fold["held_out_events"] = n
    return replace(full, split={**full.split, "folds": folds})


def test_folds_do_not_depend_on_a_small_count() -> None:
    assert _content(_with_fold_events(2)) == _content(_with_fold_events(8))
    assert _content(_with_fold_events(22)) != _content(_with_fold_events(23))


def _with_flagged(flagged: int, hits: int) -> ReportInputs:
    """One threshold, the stated one, at which ``hits`` of ``flagged`` people have the outcome."""
    full = sample.full_inputs()
    n, events = sample.N_HELD, sample.N_EVENTS
    benefit = hits / n - (flagged - hits) / n * 0.25
    ppv = hits / flagged
    row = full.thresholds.filter(pl.col("threshold") == 0.2).with_columns(
        n_flagged=pl.lit(flagged, pl.Int64), ppv=pl.lit(ppv), ppv_low=pl.lit(ppv / 2),
        ppv_high=pl.lit(min(1.0, 2 * ppv)), sensitivity=pl.lit(hits / events),
        specificity=pl.lit(1 - (flagged - hits) / (n - events)), npv=pl.lit(1 - (events - hits) / (n - flagged)),
        net_benefit=pl.lit(benefit), net_benefit_low=pl.lit(benefit - 0.01), net_benefit_high=pl.lit(benefit + 0.01),
    )  # fmt: skip
    return replace(full, thresholds=row)


def test_thresholds_do_not_depend_on_a_small_number_of_people_flagged() -> None:
    assert _content(_with_flagged(10, 1)) == _content(_with_flagged(4, 2))
    assert _content(_with_flagged(200, 40)) != _content(_with_flagged(200, 41))


def test_thresholds_do_not_depend_on_a_small_number_of_missed_people() -> None:
    missed = [_with_flagged(500, sample.N_EVENTS - n) for n in (3, 9)]
    assert _content(missed[0]) == _content(missed[1])


def test_thresholds_do_not_depend_on_a_small_number_of_hits_or_false_alarms() -> None:
    assert _content(_with_flagged(200, 3)) == _content(_with_flagged(200, 8))
    assert _content(_with_flagged(200, 193)) == _content(_with_flagged(200, 198))


@pytest.mark.parametrize("count", [2, 9])
def test_quality_figures_show_no_small_count(count: int) -> None:
    full = sample.full_inputs()
    records = {**full.quality["records"], "n_people_with_events_after_death": count}
    genotypes = {**full.quality["genotypes"], "sex": {"male": 1_221 - count, "female": 1_283, "unknown": count}}
    inputs = replace(full, quality={"records": records, "genotypes": genotypes})
    other = json.loads(json.dumps(inputs.quality))
    other["records"]["n_people_with_events_after_death"] = 5
    other["genotypes"]["sex"] = {"male": 1_216, "female": 1_283, "unknown": 5}
    assert _content(inputs) == _content(replace(full, quality=other))


def test_curve_points_of_few_people_are_left_out() -> None:
    full = sample.full_inputs()
    odd = full.curves.filter(pl.col("curve") == "calibration").head(1)
    few = odd.with_columns(x=pl.lit(0.4123), y=pl.lit(0.7777), n=pl.lit(5, pl.Int64))
    enough = few.with_columns(n=pl.lit(12, pl.Int64))
    assert _content(replace(full, curves=pl.concat([full.curves, few])), curves=True) == _content(full, curves=True)
    assert _content(replace(full, curves=pl.concat([full.curves, enough])), curves=True) != _content(full, curves=True)


def test_swarm_shows_no_extreme_and_no_group_below_eleven() -> None:
    shap = np.concatenate([[-9.0], np.linspace(-1, 1, 199), [9.0]])
    rank = np.linspace(0, 1, 201)
    cloud = micro_aggregate(shap, rank)
    assert cloud is not None
    assert len(cloud.shap) == 201
    assert -2 < cloud.shap.min() < cloud.shap.max() < 2
    _, sizes = np.unique(cloud.percentile, return_counts=True)
    assert sizes.min() >= 11
    assert micro_aggregate(shap[:10], rank[:10]) is None


def test_dependence_keeps_equal_values_together_in_groups_of_eleven() -> None:
    value = np.repeat([0.0, 1.0, 2.0], [40, 40, 5])
    found = dependence("copies", value, value * 0.5)
    assert found is not None
    assert found.value.tolist() == pytest.approx([0.0, (40 + 10) / 45])
    assert dependence("rare", np.repeat([0.0, 1.0], [80, 5]), np.zeros(85)) is None


def _without_counts(inputs: ReportInputs) -> list[tuple[str, str]]:
    section = IMPORTANCE.render(inputs)
    assert section is not None
    return [(repr(b.to_json()), repr(getattr(b, "svg", b""))) for b in section.blocks]


def test_no_identifier_reaches_the_report() -> None:
    full = sample.full_inputs()
    swarm = full.beeswarm.filter(pl.col("feature") == "age")
    numbered = swarm.with_columns(row=pl.col("row") + 987_654_000)
    assert _without_counts(replace(full, beeswarm=swarm)) == _without_counts(replace(full, beeswarm=numbered))


def test_decision_curve_leaves_out_a_threshold_with_a_small_cell() -> None:
    def at_threshold(hits: int, y: float) -> list[tuple[str, str]]:
        inputs = _with_flagged(200, hits)
        point = inputs.curves.filter(pl.col("curve") == "decision").head(1)
        point = point.with_columns(x=pl.lit(0.2), y=pl.lit(y), model=pl.lit("boosted"))
        section = CLINICAL_USE.render(replace(inputs, curves=pl.concat([inputs.curves, point])))
        assert section is not None
        return [(repr(b.to_json()), repr(getattr(b, "svg", b""))) for b in section.blocks]

    assert at_threshold(3, 0.011) == at_threshold(8, 0.016)
    assert at_threshold(60, 0.011) != at_threshold(60, 0.016)
