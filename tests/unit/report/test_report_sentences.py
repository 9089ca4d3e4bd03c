"""What the report says in words follows from the figures."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from genomix.report.blocks import Table
from genomix.report.charts import text_width_pt, wrap
from genomix.report.document import kept_together
from genomix.report.examples import render_examples
from genomix.report.findings import flagged_sentence, slope_sentence, status_sentence
from genomix.report.flow import miscounted
from genomix.report.ladder_rows import genetic_finding, rung_sentence, verdict
from genomix.report.limits import limits
from genomix.report.numbers import THIN, Estimate, decimals_for, plain, safe_share
from genomix.report.sections.cohort_flow import SECTION as FLOW_SECTION
from genomix.report.sections.data_quality import SECTION as DATA_QUALITY
from genomix.report.sections.ladder import SECTION as LADDER_SECTION
from genomix.report.sections.subgroups import SECTION as SUBGROUPS
from genomix.report.select import Counts

SAMPLE = Path(__file__).resolve().parents[2] / "contracts" / "sample_report.py"
_spec = importlib.util.spec_from_file_location("sample_report", SAMPLE)
assert _spec is not None
assert _spec.loader is not None
sample = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("sample_report", sample)
_spec.loader.exec_module(sample)


def rung(delta: float | None, low: float | None, high: float | None, metric: str = "auroc") -> dict[str, object]:
    return {
        "step": 3, "rung": "score", "metric": metric, "estimate": 0.7, "low": 0.6, "high": 0.8, "delta": delta,
        "delta_low": low, "delta_high": high, "note": "",
    }  # fmt: skip


def test_the_sentence_of_a_rung_is_the_promised_one() -> None:
    assert rung_sentence(rung(0.0124, -0.0011, 0.0257)) == (
        "Adding the polygenic score changed AUROC by +0.012 (−0.001 to +0.026): no clear gain in this cohort."
    )


@pytest.mark.parametrize(
    ("low", "high", "metric", "expected"),
    [
        (0.01, 0.03, "auroc", "a gain"),
        (-0.03, -0.01, "auroc", "a loss"),
        (-0.03, -0.01, "log_loss", "a gain"),
        (0.01, 0.03, "rmse", "a loss"),
        (-0.01, 0.03, "r2", "no clear gain in this cohort"),
        (None, None, "r2", "an interval is not estimable"),
    ],
)
def test_gain_and_loss_follow_the_metrics_direction(
    low: float | None, high: float | None, metric: str, expected: str
) -> None:
    assert verdict(Estimate(0.01, low, high), metric) == expected


def test_a_rung_without_estimate_says_so() -> None:
    assert rung_sentence(rung(None, None, None)) == "What adding the polygenic score changes is not estimable."


def test_a_ladder_without_genetics_does_not_claim_any() -> None:
    full = sample.full_inputs()
    inputs = replace(full, ladder=full.ladder.filter(pl.col("step") < 3))
    section = LADDER_SECTION.render(inputs)
    assert section is not None
    assert "genetic" not in section.title
    assert section.finding.startswith("No rung of this study's ladder holds genetic data.")
    assert "the health records changed AUROC" in section.finding


def test_many_targets_are_counted() -> None:
    inputs = sample.trait_inputs(20)
    rows = inputs.ladder.filter((pl.col("rung") == "variants") & (pl.col("delta_low") > 0))
    assert f"for {rows.height} of 20 targets" in genetic_finding(inputs)


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (Estimate(0.93, 0.82, 1.04), "no clear departure"),
        (Estimate(0.7, 0.6, 0.8), "too extreme"),
        (Estimate(1.3, 1.1, 1.5), "too cautious"),
        (Estimate(None, None, None), "not estimable"),
        (Estimate(0.9, None, None), "cannot be judged"),
    ],
)
def test_calibration_slope_in_words(slope: Estimate, words: str) -> None:
    assert words in slope_sentence(slope)


def flagged(n: int, ppv: float | None, events: int = 400) -> str:
    row = {"n_flagged": n, "ppv": ppv, "threshold": 0.2, "ppv_low": 0.18, "ppv_high": 0.28}
    return flagged_sentence(row, Counts(2_000, 2_000, events), "people", hides_flagged=False).replace(THIN, " ")


def test_a_number_flagged_that_gives_a_small_cell_away_is_not_said() -> None:
    row = {"n_flagged": 166, "ppv": 0.6, "threshold": 0.2, "ppv_low": 0.5, "ppv_high": 0.7}
    said = flagged_sentence(row, Counts(240, 240, 110), "people", hides_flagged=True)
    assert "withheld" in said
    assert "166" not in said


def test_of_a_hundred_people_flagged() -> None:
    assert flagged(300, 0.23) == "Of 100 people flagged at a threshold of 20 %, about 23 (18–28) have the outcome."
    assert "fewer than 11 people are flagged" in flagged(8, 0.5)
    assert "fewer than 11 of 300 people" in flagged(300, 0.02)
    assert "all but fewer than 11 of 300 people" in flagged(300, 0.98)
    assert "nobody is flagged" in flagged(0, None)
    assert "not estimable" in flagged(300, None)
    assert "is withheld" in flagged(300, 0.23, events=72)


def test_a_failed_check_comes_before_everything_else() -> None:
    full = sample.full_inputs()
    broken = full.certificate.with_columns(
        status=pl.when(pl.col("check") == "kin_disjoint").then(pl.lit("failed")).otherwise(pl.col("status"))
    )
    inputs = replace(full, certificate=broken)
    assert status_sentence(inputs).startswith("1 of 4 leakage checks failed: do not trust the figures")
    assert limits(inputs)[0].startswith("1 leakage check failed")


def test_limits_are_computed_from_the_results() -> None:
    def said(inputs: object, words: str) -> bool:
        return any(words in text for text in limits(inputs))  # type: ignore[arg-type]  # sample is loaded by path

    full = sample.full_inputs()
    assert said(full, "SIMULATED: health records and outcome")
    assert not said(replace(full, facts=replace(full.facts, simulated=())), "SIMULATED")
    assert said(full, "0.061")
    assert not said(replace(full, split={**full.split, "max_crossing_kinship": None}), "Relatives cross")
    assert said(full, "Nothing is known for ancestry EAS")
    assert said(full, "Discovery cohorts of the score PGS000014: unknown")
    assert not said(full, "Small:")
    few = full.metrics.with_columns(n_events=pl.when(pl.col("group") == "all").then(150).otherwise(pl.col("n_events")))
    assert said(replace(full, metrics=few), "Small: 150")
    wide = full.metrics.with_columns(low=pl.col("estimate") - 0.1, high=pl.col("estimate") + 0.1)
    assert said(replace(full, metrics=wide), "Wide intervals")
    assert said(sample.empty_inputs(), "Not externally validated")
    sites = replace(full, split={**full.split, "design": "by_site"})
    assert said(sites, "sites of one study, each with a model of the others")
    assert not said(sites, "Not externally validated")
    assert said(replace(full, split={**full.split, "design": "by_time"}), "Measured on later rows of the same source")


def test_not_estimable_is_printed_never_blank() -> None:
    section = SUBGROUPS.render(sample.full_inputs())
    assert section is not None
    figure = section.blocks[0].to_json()
    (row,) = [r for r in figure["table"]["rows"] if r[0]["text"] == "Ancestry: EAS"]
    assert row[1]["text"] == "not estimable: fewer than 20 events"
    assert "Not estimable: ancestry EAS" in section.finding
    assert all(cell["text"] for r in figure["table"]["rows"] for cell in r)


def test_flow_that_does_not_add_up_is_said() -> None:
    full = sample.full_inputs()
    assert miscounted(full.flow) == []
    broken = full.flow.with_columns(
        kept=pl.when(pl.col("step") == "recorded sex agrees with X").then(2_470).otherwise(pl.col("kept"))
    )
    assert miscounted(broken) == ["recorded sex agrees with X"]
    section = FLOW_SECTION.render(replace(full, flow=broken))
    assert section is not None
    assert any(b.to_json().get("label") == "Counts do not add up" for b in section.blocks)


@pytest.mark.parametrize(
    ("low", "high", "decimals"), [(0.711, 0.773, 3), (0.82, 1.04, 2), (11.7, 12.9, 2), (120.0, 180.0, 0), (1.0, 1.0, 3)]
)
def test_two_significant_digits_of_uncertainty(low: float, high: float, decimals: int) -> None:
    assert decimals_for(low, high) == decimals


def test_intervals_with_a_minus_sign_have_no_dash() -> None:
    assert Estimate(-0.04, -0.16, 0.08).text() == "−0.04 (−0.16 to 0.08)"
    assert Estimate(0.742, 0.711, 0.773).text() == "0.742 (0.711–0.773)"
    assert Estimate(float("nan"), 0.1, 0.2).text() == "not estimable"
    assert plain(float("inf")) == "not estimable"


def test_shares_that_give_a_small_count_away_become_bounds() -> None:
    assert safe_share(0.03, 200).replace(THIN, " ") == "below 5.5 %"
    assert safe_share(0.97, 200).replace(THIN, " ") == "above 94.5 %"
    assert safe_share(0.25, 200).replace(THIN, " ") == "25 %"


def test_ranges_do_not_break_over_lines() -> None:
    assert kept_together("0.711–0.773, 95 % of n = 12") == ("0.711–\u20600.773, 95\u202f% of n\u00a0=\u00a012")


def test_labels_fit_their_width() -> None:
    lines = wrap("Number of statin prescriptions in the year before the prediction time", 1.5)
    assert " ".join(lines) == "Number of statin prescriptions in the year before the prediction time"
    assert all(text_width_pt(line) <= 72 * 1.5 for line in lines)
    unbroken = wrap("A" * 200, 1.0)
    assert all(text_width_pt(line) <= 72 for line in unbroken)
    assert "".join(unbroken) == "A" * 200
    cut = wrap("Number of records of SIMULATED observation: current smoker ever before", 1.6, max_lines=2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert all(text_width_pt(line) <= 72 * 1.6 for line in cut)


def test_examples_open_to_their_records_and_hide_high_ages() -> None:
    facts = sample.full_inputs().facts
    html = render_examples(sample.example_subjects(), facts)
    assert html.index("Last HbA1c") < html.index("Polygenic score") < html.index("52 years")
    assert "230 days before" in html
    assert "rs7903146, 2 copies of T" in html
    assert "missing" in html
    assert "SIMULATED: health records and outcome" in html
    rest = {"feature": "", "sentence": "all 9 other features", "value": None, "unit": None, "shap": 2.0, "records": []}
    with_rest = replace(sample.example_subjects()[0], bars=(rest, *sample.example_subjects()[0].bars))
    assert render_examples([with_rest], facts).count("missing") == html.partition('id="person-2"')[0].count("missing")
    assert render_examples([with_rest], facts).rindex("All 9 other features") > html.index("Last body-mass index")
    bar = {"feature": "age", "sentence": "Age", "value": 97.0, "unit": "a", "shap": 0.1, "records": []}
    old = replace(sample.example_subjects()[0], bars=(bar,))
    assert "90+ years" in render_examples([old], facts)
    assert "97" not in render_examples([old], facts).partition("<body>")[2]
    assert html == render_examples(list(reversed(sample.example_subjects())), facts)


def test_examples_escape_every_text_and_load_nothing() -> None:
    payload = "<script>alert(1)</script>"
    bar = {
        "feature": payload, "sentence": payload, "value": 1.0, "unit": payload, "shap": 0.1,
        "records": [{"days_before": 3.0, "what": payload}],
    }  # fmt: skip
    facts = replace(
        sample.full_inputs().facts, title=payload, simulated=(payload,), owner=payload, intended_use=payload
    )
    html = render_examples([replace(sample.example_subjects()[0], bars=(bar,))], facts)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7
    assert "http" not in html.replace("http-equiv", "")


def test_the_control_says_what_shuffled_columns_change() -> None:
    from genomix.report.ladder_rows import control_sentence

    def row(rung: str, step: int, low: float | None, high: float | None) -> dict[str, object]:
        middle = None if low is None or high is None else (low + high) / 2
        ends = {"control_delta": middle, "control_low": low, "control_high": high}
        return {"rung": rung, "step": step, "metric": "auroc", **ends}

    first, none, chance = (
        row("demographics", 0, None, None),
        row("records", 1, -0.01, 0.01),
        row("score", 2, 0.002, 0.01),
    )
    assert control_sentence([first]) == "The permutation control is not estimable here."
    assert control_sentence([first, none]).endswith("No shuffled step shows a gain, as it should be.")
    said = control_sentence([first, none, chance])
    assert "Shuffled, the polygenic score changed AUROC by +0.0060 (+0.0020 to +0.0100)" in said
    assert said.endswith("That is chance, so a gain of that size says nothing.")


def test_quantiles_stand_from_low_to_high_and_rows_begin_with_words() -> None:
    """The tables come out of JSON with sorted keys, where p25 stands before p5."""
    full = sample.full_inputs()
    records = dict(full.quality["records"])
    records["quantiles_of_values"] = [dict(sorted(r.items())) for r in records["quantiles_of_values"]]
    records["availability"] = [{"date_only": 5_000, "rule": "stated by the source"}]
    section = DATA_QUALITY.render(replace(full, quality={"records": records}))
    assert section is not None
    tables = {b.caption: [c.heading for c in b.columns] for b in section.blocks if isinstance(b, Table)}
    quantiles = tables["Quantiles of the values that most people have"]
    wanted = ["5th percentile", "Lower quartile", "Median", "Upper quartile", "95th percentile"]
    assert [h for h in quantiles if h in wanted] == wanted
    assert quantiles[0] == "Code"
    assert tables["Availability"] == ["Rule", "Date only"]
