"""Times to an event on real studies: R's coefficients of GBSG2, scikit-survival's figures on WHAS500, held-out gain."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.models import cox
from genomix.models import survival_metrics as sm
from genomix.models.competing import aalen_johansen
from genomix.models.cox import SurvivalPart
from genomix.models.survival import fit_boosted_survival

pytestmark = pytest.mark.real_data
FOLDER = "scikit-survival/sksurv/datasets/data"


def arff(path: Path) -> pl.DataFrame:
    """Read an ARFF table: names from its attributes, values as numbers where they all are."""
    head, body = re.split(r"(?i)@data\n", path.read_text(), maxsplit=1)
    names = re.findall(r"(?im)^@attribute\s+(\S+)", head)
    lines = [line.replace("'", "").split(",") for line in body.splitlines() if line.strip() and line[0] != "%"]
    frame = pl.DataFrame(lines, schema=names, orient="row")
    numbers = frame.select(pl.all().cast(pl.Float64, strict=False))
    return frame.with_columns(numbers[n] for n in names if not numbers[n].null_count())


def test_coefficients_of_gbsg2_equal_r(real_data: Path) -> None:
    """R's coxph of all eight columns, the grade as orthogonal polynomials, with Efron's ties."""
    data = arff(real_data / FOLDER / "GBSG2.arff")
    grade = data["tgrade"].replace_strict({"I": -1.0, "II": 0.0, "III": 1.0}).to_numpy()
    Z = np.column_stack([
        data["horTh"] == "yes", data["age"], data["menostat"] == "Post", data["tsize"], grade / np.sqrt(2),
        (3 * grade**2 - 2) / np.sqrt(6), data["pnodes"], data["progrec"], data["estrec"],
    ]).astype(float)  # fmt: skip
    (beta,) = cox.fit_path(Z, data["time"].to_numpy(), data["cens"].to_numpy(), l1_share=0.5, penalties=[0.0])
    r = [-0.3462784, -0.0094592, 0.2584448, 0.0077961, 0.5512988, -0.2010905, 0.0487886, -0.0022172, 0.0001973]
    assert beta == pytest.approx(r, abs=1e-6)


def test_figures_on_whas500_equal_scikit_survival(real_data: Path) -> None:
    """Harrell's C exactly; the others nearly, for on days with deaths and censoring scikit-survival takes G(t)."""
    peer = pytest.importorskip("sksurv.metrics")
    data = arff(real_data / FOLDER / "whas500.arff")
    X = data.drop("los", "lenfol", "fstat").to_numpy().astype(np.float32)
    time, event = data["lenfol"].to_numpy(), data["fstat"].to_numpy()
    part = SurvivalPart(X[:250], time[:250], event[:250])
    fitted = cox.fit_cox(part, options={"penalty": 0.02})
    held = slice(250, 500)
    t, e, one = time[held], event[held], np.ones((1, 250))
    margin = fitted.margin(X[held])
    y = np.array(list(zip(event == 1, time, strict=True)), dtype=[("e", bool), ("t", float)])
    plan = sm.plan_pairs(t, e, margin)
    assert sm.harrell_c(plan, one)[0] == pytest.approx(peer.concordance_index_censored(e == 1, t, margin)[0], abs=1e-12)
    g = sm.censoring_curve(t, e, one)
    theirs = peer.concordance_index_ipcw(y[held], y[held], margin, tau=730)[0]
    assert sm.uno_c(plan, t, one, tau=730, censoring=g)[0] == pytest.approx(theirs, abs=2e-3)
    horizons = np.array([182.0, 365.0, 730.0])
    survival = fitted.survival(X[held], horizons)
    _, briers = peer.brier_score(y[held], y[held], survival, horizons)
    aucs, _ = peer.cumulative_dynamic_auc(y[held], y[held], margin, horizons)
    for k, h in enumerate(horizons):
        assert sm.brier(t, e, survival[:, k], one, horizon=h)[0] == pytest.approx(briers[k], abs=2e-3)
        assert sm.dynamic_auroc(t, e, margin, one, horizon=h)[0] == pytest.approx(aucs[k], abs=2e-3)


def test_recurrence_in_gbsg2_is_predicted_better_than_by_its_share(real_data: Path) -> None:
    """A third of the people, held out: Harrell's C of all models, and the Brier score at 3 years."""
    data = arff(real_data / FOLDER / "GBSG2.arff")
    X = data.select(
        (pl.col("horTh") == "yes").cast(pl.Float64), "age", (pl.col("menostat") == "Post").cast(pl.Float64), "tsize",
        pl.col("tgrade").replace_strict({"I": 1.0, "II": 2.0, "III": 3.0}), "pnodes", "progrec", "estrec",
    ).to_numpy().astype(np.float32)  # fmt: skip
    time, event = data["time"].to_numpy(), data["cens"].to_numpy()
    role = np.random.default_rng(1).permutation(np.arange(686) % 6)
    train, tuning, held = (SurvivalPart(X[rows], time[rows], event[rows]) for rows in (role < 3, role == 3, role > 3))
    one = np.ones((1, held.time.size))
    h = 1095.0
    flat = sm.kaplan_meier(train.time, train.event, np.ones((1, train.time.size))).at(np.array([h]))[0, 0]
    base = sm.brier(held.time, held.event, np.full(held.time.size, flat), one, horizon=h)[0]
    models = [fit_boosted_survival(train, tuning=tuning, kind=kind, seed=1, device=CPU) for kind in ("cox", "aft")]
    for model in (*models, cox.fit_cox(train, tuning=tuning)):
        c = sm.harrell_c(sm.plan_pairs(held.time, held.event, model.margin(held.X)), one)[0]
        assert 0.62 < c < 0.76
        survival = model.survival(held.X, np.array([h]))[:, 0]
        assert sm.brier(held.time, held.event, survival, one, horizon=h)[0] < base
        assert sm.expected_observed(held.time, held.event, 1 - survival, one, horizon=h)[0] == pytest.approx(1, abs=0.2)


def test_incidence_after_transplantation_equals_scikit_survival(real_data: Path) -> None:
    """Relapse and death of 35 people (Scrucca et al. 2007), two of them at time 0."""
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    data = arff(real_data / FOLDER / "bmt.arff")
    time, cause = data["ftime"].to_numpy(), data["status"].to_numpy()
    at, expected = nonparametric.cumulative_incidence_competing_risks(cause.astype(int), time)
    found = aalen_johansen(time, cause, np.ones((1, 35)))
    for k in (1, 2):
        assert found[k - 1].at(at)[0] == pytest.approx(expected[k], abs=1e-12)
