"""Sentences that page one and a section share: calibration, the leakage certificate, and use at a threshold."""

from __future__ import annotations

from typing import Any

from genomix.privacy import is_small
from genomix.report.inputs import ReportInputs
from genomix.report.numbers import Estimate, people, percent, shows_share
from genomix.report.select import Counts


def slope_sentence(slope: Estimate) -> str:
    """Return what a calibration slope says, in words."""
    if not slope.known:
        return "The calibration slope is not estimable: read predicted values as scores."
    text = f"The calibration slope is {slope.text()}"
    if not slope.has_interval:
        return f"{text}; without an interval it cannot be judged."
    if not slope.excludes(1.0):
        return f"{text}: no clear departure from 1, the value of agreement."
    if slope.high is not None and slope.high < 1:
        return f"{text}: predictions are too extreme, high ones too high and low ones too low."
    return f"{text}: predictions are too cautious, too close to the average."


def status_sentence(inputs: ReportInputs) -> str:
    """Return how many checks passed, failed and are not provable."""
    statuses = inputs.certificate["status"].to_list()
    failed, open_, passed = (statuses.count(s) for s in ("failed", "not provable", "passed"))
    ran = failed + open_ + passed
    if failed:
        start = f"{failed} of {ran} leakage checks failed: do not trust the figures until it is mended"
    else:
        start = f"No leakage check failed; {passed} of {ran} passed"
    return start + (f", and {open_} cannot be proved from the data." if open_ else ".")


def flagged_sentence(row: dict[str, Any], held: Counts, unit: str, *, hides_flagged: bool) -> str:
    """Return ``Of 100 people flagged, about 23 (18–28) have the outcome``, or what may be said instead.

    ``hides_flagged``: the number of people flagged would give a small cell away (see :mod:`genomix.report.guard`).
    """
    n, share = row["n_flagged"], row["ppv"]
    at = f"At the stated threshold of {percent(row['threshold'])}"
    if n == 0:
        return f"{at}, nobody is flagged."
    if is_small(n):
        return f"{at}, fewer than 11 {unit} are flagged: too few to say how many of them have the outcome."
    if hides_flagged:
        return f"{at}, how many {unit} are flagged is withheld: it would give away a small number."
    if share is None:
        return f"{at}, how many of the {people(n)} {unit} flagged have the outcome is not estimable."
    if not shows_share(share, n):
        few = "fewer than 11" if round(share * n) * 2 < n else "all but fewer than 11"
        return f"{at}, {few} of {people(n)} {unit} flagged have the outcome."
    if hides_small_cell(row, held):
        return f"{at}, how many {unit} flagged have the outcome is withheld: it would give away a small number."
    low, high = row["ppv_low"], row["ppv_high"]
    span = f" ({100 * low:.0f}–{100 * high:.0f})" if low is not None and high is not None else ""
    of = f"Of 100 {unit} flagged at a threshold of {percent(row['threshold'])}, about {100 * share:.0f}{span}"
    return f"{of} have the outcome."


def net_benefit(row: dict[str, Any]) -> Estimate:
    """Return a threshold's net benefit with its interval (doi:10.1177/0272989X06295361)."""
    return Estimate(row["net_benefit"], row["net_benefit_low"], row["net_benefit_high"])


def hides_small_cell(row: dict[str, Any], held: Counts) -> bool:
    """Say whether one of the four cells of flagged by outcome is small.

    Both margins are printed elsewhere, so that any exact share or net benefit of the threshold gives all four away.
    """
    flagged, share = row["n_flagged"], row["ppv"]
    if is_small(flagged):
        return True
    if share is None and flagged:
        return False
    true_alarms = round((share or 0.0) * flagged)
    cells = [true_alarms, flagged - true_alarms]
    if held.events is not None and held.rows is not None:
        missed = max(0, held.events - true_alarms)
        cells += [missed, max(0, held.rows - flagged - missed)]
    return any(is_small(n) for n in cells)
