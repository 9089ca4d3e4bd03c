"""Figures of a time to an event: observed risk of groups over time, and calibration at horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomix.report.charts import (
    BLUE,
    GREEN,
    INK,
    MODEL_COLOURS,
    QUIET,
    REFERENCE_DASH,
    VERMILION,
    WIDTH_IN,
    add_axes,
    canvas,
    curve_label,
    light_grid,
    new_figure,
    themed,
    thin_ticks,
    to_svg,
)  # fmt: skip

_COLOURS = (BLUE, GREEN, VERMILION)
_DASHES = ("-", (0, (5, 2)), (0, (3, 1, 1, 1)))
SHORT_NAMES = {"boosted": "boosted trees", "linear": "Cox regression"}


@themed
def draw_risk_groups(frame: pl.DataFrame, names: Sequence[str], unit: str, label: str) -> bytes:
    """Draw SURVIVAL_GROUPS as lines through the points that may be shown; each line is named at its end."""
    figure, axes = canvas(3.5, left=0.62, right=1.25, top=0.32, bottom=0.5)
    last = float(frame["time"].max() or 1.0)  # type: ignore[arg-type]  # a column of numbers
    highest = 0.0
    ends = []
    for place, group in enumerate(sorted(frame["group"].unique().to_list())):
        part = frame.filter(pl.col("group") == group).sort("time")
        time, y = part["time"].to_numpy(), 100 * part["incidence"].to_numpy()
        low, high = (100 * part[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in ("low", "high"))
        low, high = (np.where(time == 0, 0.0, edge) for edge in (low, high))  # at the start nobody had the event
        known = np.isfinite(low)
        colour = _COLOURS[group if len(names) == 3 else 2 * group]
        axes.fill_between(time[known], low[known], high[known], color=colour, alpha=0.15, linewidth=0)
        axes.plot(time, y, color=colour, linewidth=1.6, linestyle=_DASHES[place], marker="o", markersize=3)
        highest = max(highest, float(np.nanmax(np.append(high, y))))
        ends.append((float(time[-1]), float(y[-1]), names[group], colour))
    for x, y_end, name, colour in _apart(ends, 0.07 * highest):
        curve_label(axes, name, x + 0.02 * last, y_end, colour)
    axes.set_xlim(0, last * 1.01)
    axes.set_ylim(0, 1.06 * highest or 1)
    thin_ticks(axes, x=5, y=5)
    axes.set_xlabel(f"Follow-up, {unit}")
    axes.set_ylabel("Observed risk, %")
    light_grid(axes, "both")
    return to_svg(figure, mark=label)


def _apart(ends: list[tuple[float, float, str, str]], least: float) -> list[tuple[float, float, str, str]]:
    """Return the labels' places, moved up where two would touch."""
    placed: list[tuple[float, float, str, str]] = []
    for x, y, name, colour in sorted(ends, key=lambda e: e[1]):
        lowest = placed[-1][1] + least if placed else y
        placed.append((x, max(y, lowest), name, colour))
    return placed


@themed
def draw_calibration_panels(frame: pl.DataFrame, horizons: Sequence[float], titles: Sequence[str], label: str) -> bytes:
    """Draw observed against predicted risk, two panels a row, all on one scale."""
    across = 1 if len(horizons) == 1 else 2
    down = -(-len(horizons) // across)
    width = WIDTH_IN / across
    figure = new_figure(2.95 * down + 0.15)
    values = [frame[c].drop_nulls().to_numpy() for c in ("expected", "observed", "high")]
    top = 104 * float(max(v.max() for v in values if v.size))
    for i, horizon in enumerate(horizons):
        row, column = divmod(i, across)
        axes = add_axes(
            figure, left=column * width + 0.6, right=WIDTH_IN - (column + 1) * width + 0.1,
            top=0.45 + 2.95 * row, bottom=0.5 + 2.95 * (down - 1 - row),
        )  # fmt: skip
        axes.plot([0, top], [0, top], color=INK, linewidth=1.1, linestyle=REFERENCE_DASH)
        for j, model in enumerate(("boosted", "linear")):
            part = frame.filter((pl.col("horizon") == horizon) & (pl.col("model") == model)).sort("expected")
            if not part.height:
                continue
            x, y = 100 * part["expected"].to_numpy(), 100 * part["observed"].to_numpy()
            low, high = (100 * part[c].fill_null(float("nan")).to_numpy() for c in ("low", "high"))
            colour = MODEL_COLOURS[model]
            axes.errorbar(
                x, y, yerr=[y - low, high - y], color=colour, linewidth=1.3, elinewidth=0.9, marker="os"[j],
                markersize=3.5, linestyle="-" if model == "boosted" else (0, (5, 2)),
            )  # fmt: skip
            curve_label(axes, SHORT_NAMES[model], 0.97 * top, (0.06 + 0.09 * (1 - j)) * top, colour, ha="right")
        axes.text(0, 1.03, titles[i], transform=axes.transAxes, ha="left", va="bottom", color=QUIET)
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        thin_ticks(axes, x=4, y=4)
        axes.set_xlabel("Predicted risk, %")
        axes.set_ylabel("Observed risk, %")
        light_grid(axes, "both")
    return to_svg(figure, mark=label)
