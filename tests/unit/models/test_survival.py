"""Boosted models of a time to an event: what they recover, add up to and save; XGBoost's loss against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError
from genomix.models import survival as s
from genomix.models.cox import SurvivalPart, breslow, fit_cox, partial_likelihood, sort_ties
from genomix.models.survival_metrics import dynamic_auroc, expected_observed, harrell_c, plan_pairs

SMALL = {"max_rounds": 150, "eta": 0.1}
HORIZONS = np.array([2.0, 5.0])


def drawn(n: int, seed: int, error: str = "extreme", scale: float = 0.6) -> SurvivalPart:
    """Log time = 1.5 - x0 - (x1 > 0) + scale * error; a third of times is censored."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    noise = {"normal": rng.normal(size=n), "logistic": rng.logistic(size=n), "extreme": np.log(rng.exponential(size=n))}
    death = np.exp(1.5 - X[:, 0] - (X[:, 1] > 0) + scale * noise[error])
    lost = rng.exponential(8.0, size=n)
    X[rng.random(n) < 0.05, 2] = np.nan
    time, event = np.minimum(death, lost), (death <= lost).astype(float)
    # XGBoost sees an event where the label is above 0, so it must count the first of all times: an event here.
    time = np.maximum(time, time[event == 1].min())
    return SurvivalPart(X, time, event)


def fit(kind: s.Kind, *, error: str = "extreme", n: int = 3000, **options: object) -> s.FittedBoostedSurvival:
    return s.fit_boosted_survival(
        drawn(n, 1, error), tuning=drawn(n // 2, 2, error), kind=kind, seed=1, device=CPU, options={**SMALL, **options}
    )


@pytest.fixture(scope="module")
def models() -> dict[str, s.FittedBoostedSurvival]:
    return {"cox": fit("cox", n=8000), "aft": fit("aft", n=8000)}


@pytest.mark.parametrize("kind", ["cox", "aft"])
def test_survival_at_horizons_is_calibrated_and_in_order(kind: str, models: dict[str, s.FittedBoostedSurvival]) -> None:
    held = drawn(10_000, 3)
    survival = models[kind].survival(held.X, HORIZONS)
    one = np.ones((1, 10_000))
    assert (survival[:, 0] >= survival[:, 1]).all()
    assert ((survival >= 0) & (survival <= 1)).all()
    for k, h in enumerate(HORIZONS):
        risk = 1 - survival[:, k]
        assert expected_observed(held.time, held.event, risk, one, horizon=float(h))[0] == pytest.approx(1, abs=0.04)
        assert dynamic_auroc(held.time, held.event, risk, one, horizon=float(h))[0] > 0.85
    margin = models[kind].margin(held.X)
    best = harrell_c(plan_pairs(held.time, held.event, (held.X[:, 0] + (held.X[:, 1] > 0)).astype(float)), one)[0]
    assert best - 0.02 < harrell_c(plan_pairs(held.time, held.event, margin), one)[0] <= best + 0.01


@pytest.mark.parametrize("kind", ["cox", "aft"])
def test_contributions_add_up_and_a_saved_model_is_the_same(
    kind: str, models: dict[str, s.FittedBoostedSurvival]
) -> None:
    held, model = drawn(300, 4), models[kind]
    shap = model.contributions(held.X)
    assert shap.values.sum(axis=1) + shap.base_value == pytest.approx(model.margin(held.X), abs=2e-5)
    assert np.abs(shap.values).sum(axis=0).argmax() == 0
    again = s.LOADERS[model.model](model.to_files())
    assert (again.survival(held.X, HORIZONS) == model.survival(held.X, HORIZONS)).all()
    assert again.to_files() == model.to_files()
    assert model.contributions(held.X[:0]).base_value == shap.base_value
    assert model.survival(held.X[:0], HORIZONS).shape == (0, 2)


def test_the_same_seed_gives_the_same_bytes() -> None:
    for kind in ("cox", "aft"):
        first, second = (
            s.fit_boosted_survival(drawn(300, 1), tuning=drawn(200, 2), kind=kind, seed=1, device=CPU, threads=threads)
            for threads in (1, 2)
        )
        assert first.to_files()["model.ubj"] == second.to_files()["model.ubj"]
        assert first.facts == second.facts


def test_xgboosts_tuning_loss_is_the_partial_likelihood(models: dict[str, s.FittedBoostedSurvival]) -> None:
    tuning = drawn(4000, 2)
    value = partial_likelihood(sort_ties(tuning.time, tuning.event), models["cox"].margin(tuning.X)).value
    assert models["cox"].facts["tuning_loss"] == pytest.approx(-value / tuning.event.sum(), abs=1e-4)


def test_cox_survival_is_breslows_of_the_training_rows(models: dict[str, s.FittedBoostedSurvival]) -> None:
    train, held, model = drawn(8000, 1), drawn(20, 5), models["cox"]
    base = breslow(train.time, train.event, model.margin(train.X))
    expected = np.exp(-base.at(HORIZONS) * np.exp(model.margin(held.X))[:, None])
    assert model.survival(held.X, HORIZONS) == pytest.approx(expected, rel=1e-12)


def test_a_baseline_at_horizons_tells_no_times_and_predicts_the_same(
    models: dict[str, s.FittedBoostedSurvival],
) -> None:
    held, part = drawn(200, 4), drawn(300, 1)
    for model in (*models.values(), fit_cox(part, options={"penalty": 0.1})):
        kept = s.survival_from_files(model.model, s.at_horizons(model, HORIZONS).to_files())
        assert kept.baseline.times.tolist() == HORIZONS.tolist()
        assert len(kept.to_files()["baseline.json"]) < 200
        assert (kept.survival(held.X, HORIZONS) == model.survival(held.X, HORIZONS)).all()
        assert (kept.survival(held.X, HORIZONS[1:]) == model.survival(held.X, HORIZONS[1:])).all()
        for other in (3.0, 6.0):
            with pytest.raises(ConfigError, match=r"no survival at 3|follow-up"):
                kept.survival(held.X, np.array([2.0, other]))


def test_ranks_stand_for_times_that_float32_cannot_tell_apart() -> None:
    """Days since an epoch in the ten millions, and 0: XGBoost's labels are float32, and 0 is no event to it."""
    part, held = drawn(400, 1), drawn(200, 2)
    order = np.unique(np.concatenate([part.time, held.time]))
    close = {t: float(k) * 1e-3 + 5e7 if k else 0.0 for k, t in enumerate(order)}
    assert np.unique(np.float32(list(close.values()))).size < 100
    moved = [p._replace(time=np.array([close[t] for t in p.time])) for p in (part, held)]
    plain = s.fit_boosted_survival(part, tuning=held, kind="cox", seed=1, device=CPU)
    far = s.fit_boosted_survival(moved[0], tuning=moved[1], kind="cox", seed=1, device=CPU)
    assert plain.to_files()["model.ubj"] == far.to_files()["model.ubj"]


@pytest.mark.parametrize("name", s.DISTRIBUTIONS)
def test_the_density_is_the_slope_of_survival(name: str) -> None:
    z, step = np.linspace(-4, 2.5, 30), 1e-5
    slope = (np.exp(s.aft_log_density(z - step, name)[1]) - np.exp(s.aft_log_density(z + step, name)[1])) / (2 * step)
    assert np.exp(s.aft_log_density(z, name)[0]) == pytest.approx(slope, abs=1e-8)


def test_aft_finds_the_distribution_and_its_spread() -> None:
    for error in ("normal", "extreme"):
        found = fit("aft", error=error, n=4000)
        assert found.facts["distribution"] == error
        assert found.facts["scale"] == pytest.approx(0.6, abs=0.06)


def test_the_loss_of_aft_is_that_of_xgboost() -> None:
    """XGBoost measures density of time, not of log time: log(time) more for each event."""
    train, tuning = drawn(400, 1), drawn(300, 2)
    import xgboost

    found = s.fit_boosted_survival(
        train, tuning=tuning, kind="aft", seed=1, device=CPU, options={"distribution": "logistic", "scale": 0.7}
    )
    held = xgboost.DMatrix(tuning.X)
    held.set_float_info("label_lower_bound", tuning.time)
    held.set_float_info("label_upper_bound", np.where(tuning.event == 1, tuning.time, np.inf))
    found.booster.set_param({"eval_metric": "aft-nloglik", "aft_loss_distribution_scale": 0.7,
                             "aft_loss_distribution": "logistic"})  # fmt: skip
    theirs = float(found.booster.eval(held).split(":")[-1])
    ours = s.aft_loss(tuning.time, tuning.event, -found.margin(tuning.X), "logistic", 0.7)
    assert theirs == pytest.approx(ours + (tuning.event * np.log(tuning.time)).mean(), abs=1e-4)
    assert found.facts["tuning_loss"] == ours


def test_what_cannot_be_fitted_or_predicted_is_refused(models: dict[str, s.FittedBoostedSurvival]) -> None:
    train = drawn(100, 1)
    for kind, options, says in (
        ("cox", {}, "tuning"), ("aft", {"rounds": 5}, "tuning"), ("aft", {"distribution": "gamma"}, "gamma"),
        ("cox", {"depth": 2}, "depth"), ("hazard", {}, "hazard"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            s.fit_boosted_survival(train, tuning=None, kind=kind, seed=1, device=CPU, options=options)
    for model in models.values():
        with pytest.raises(ConfigError, match="follow-up"):
            model.survival(train.X, np.array([1e6]))
        with pytest.raises(FormatError, match="columns"):
            model.margin(train.X[:, :2])
        with pytest.raises(FormatError, match="ubj"):
            s.boosted_from_files({**model.to_files(), "model.ubj": b"{}"})
