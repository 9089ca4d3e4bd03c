"""Contributions of many people without showing one: beeswarm and dependence, micro-aggregated to small-cell groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from genomix.privacy import SMALL_CELL
from genomix.report.charts import (
    BLUE,
    FONT_PT,
    QUIET,
    FloatArray,
    add_axes,
    canvas,
    label_rows,
    light_grid,
    new_figure,
    themed,
    thin_ticks,
    to_svg,
    wrap,
)  # fmt: skip


class Cloud(NamedTuple):
    """One feature's contributions: where dots go and how they are coloured; nothing is one person's own."""

    shap: FloatArray
    percentile: FloatArray


class Dependence(NamedTuple):
    """One feature's contribution by its value, in groups of at least ``SMALL_CELL`` people."""

    label: str
    value: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def group_means(values: FloatArray, size: int = SMALL_CELL) -> FloatArray:
    """Return, for sorted values, the mean of each run of at least ``size``; (groups,).

    >>> group_means(np.arange(6.0), size=3).tolist()
    [1.0, 4.0]
    """
    return np.array([chunk.mean() for chunk in _chunks(np.asarray(values, dtype=np.float64), size)])


def _chunks(values: FloatArray, size: int) -> list[FloatArray]:
    return np.array_split(values, max(1, len(values) // size))


def micro_aggregate(shap: FloatArray, percentile: FloatArray, *, size: int = SMALL_CELL) -> Cloud | None:
    """Return dots for a beeswarm in which every position and colour is a mean over at least ``size`` people.

    Each run of ``size`` people with neighbouring contributions is spread evenly between the means of its neighbours.
    Returns None when there are fewer than ``size`` people.

    Parameters
    ----------
    shap: (people,) contributions. percentile: (people,) rank of the feature's value, 0 to 1; NaN where it is missing.
    """
    if len(shap) < size:
        return None
    order = np.lexsort((np.nan_to_num(percentile, nan=-1.0), shap))
    chunks = _chunks(np.asarray(shap, dtype=np.float64)[order], size)
    colours = _chunks(np.asarray(percentile, dtype=np.float64)[order], size)
    means = np.array([c.mean() for c in chunks])
    edges = np.concatenate([means[:1], (means[1:] + means[:-1]) / 2, means[-1:]])
    x = [np.linspace(edges[i], edges[i + 1], len(c)) for i, c in enumerate(chunks)]
    colour = [np.full(len(c), _mean_or_nan(c, size)) for c in colours]
    return Cloud(np.concatenate(x), np.concatenate(colour))


def _mean_or_nan(values: FloatArray, size: int) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if 2 * len(known) >= size else float("nan")


def dependence(label: str, value: FloatArray, shap: FloatArray, *, groups: int = 12) -> Dependence | None:
    """Return the mean contribution, with its 10th to 90th percentile, along a feature's value; None when too few.

    People with equal values stay in one group; every group has at least ``SMALL_CELL`` people.
    """
    known = np.isfinite(value)
    value, shap = value[known].astype(np.float64), shap[known].astype(np.float64)
    size = max(SMALL_CELL, len(value) // groups)
    order = np.lexsort((shap, value))
    value, shap = value[order], shap[order]
    starts = [0]
    for i in range(1, len(value)):
        if value[i] != value[i - 1] and i - starts[-1] >= size and len(value) - i >= size:
            starts.append(i)
    if len(starts) < 2:
        return None
    spans = list(zip(starts, [*starts[1:], len(value)], strict=True))
    quantiles = np.array([np.quantile(shap[a:b], (0.1, 0.9)) for a, b in spans])
    middle = np.array([value[a:b].mean() for a, b in spans])
    return Dependence(label, middle, np.array([shap[a:b].mean() for a, b in spans]), quantiles[:, 0], quantiles[:, 1])


@themed
def beeswarm(labels: Sequence[str], clouds: Sequence[Cloud], *, x_label: str, mark: str = "") -> bytes:
    """Draw one row of dots a feature, spread by how many people share a contribution, coloured by the value's rank."""
    from matplotlib.colors import Normalize

    label_width = 2.15
    height = 1.25 + 0.44 * len(labels) + (0.12 if mark else 0)
    figure, axes = canvas(height, left=label_width + 0.12, right=0.2, top=0.1 + (0.14 if mark else 0), bottom=1.05)
    places = np.arange(len(labels), dtype=float)[::-1]
    axes.axvline(0, color=QUIET, linewidth=0.9, zorder=0)
    span = max([float(np.ptp(c.shap)) for c in clouds] + [1e-9])
    for place, cloud in zip(places, clouds, strict=True):
        known = np.isfinite(cloud.percentile)
        y = place + _spread(cloud.shap, span)
        axes.scatter(cloud.shap[~known], y[~known], s=7, c="#a8b0b8", linewidths=0, rasterized=True)
        axes.scatter(
            cloud.shap[known], y[known], s=7, c=cloud.percentile[known], cmap="viridis", norm=Normalize(0, 1),
            linewidths=0, rasterized=True,
        )  # fmt: skip
    axes.set_ylim(-0.6, len(labels) - 0.4)
    label_rows(axes, labels, places.tolist(), label_width)
    axes.spines["left"].set_visible(False)
    light_grid(axes, "x")
    thin_ticks(axes, x=5)
    axes.set_xlabel(x_label)
    _colour_key(figure, height)
    return to_svg(figure, mark=mark)


def _spread(x: FloatArray, span: float) -> FloatArray:
    """Return offsets that fill a dot's neighbourhood evenly: alternately above and below, wider where it is dense."""
    cells = np.floor((x - x.min()) / (span / 90)).astype(np.int64)
    order = np.argsort(cells, kind="stable")
    ranks = np.empty(len(x))
    _, starts, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    for start, size in zip(starts, sizes, strict=True):
        ranks[order[start : start + size]] = np.arange(size) - (size - 1) / 2
    densest = max(1.0, float(sizes.max()) / 2)
    return np.clip(ranks / max(densest, 4.0), -1, 1) * 0.38


def _colour_key(figure: object, height: float) -> None:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    bar = add_axes(figure, left=2.27, right=1.3, top=height - 0.4, bottom=0.28)
    bar.imshow(np.linspace(0, 1, 128)[None, :], aspect="auto", cmap="viridis", extent=(0, 1, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([0, 1], ["low value", "high value"])
    bar.tick_params(length=0, pad=2)
    for spine in bar.spines.values():
        spine.set_visible(False)
    bar.text(1.22, 0.5, "● missing", va="center", fontsize=FONT_PT - 1, color=QUIET, transform=bar.transAxes)


@themed
def dependence_panels(items: Sequence[Dependence], *, y_label: str, mark: str = "") -> bytes:
    """Draw up to four panels on one vertical scale: mean contribution by the feature's value, with its band."""
    rows = (len(items) + 1) // 2
    height = 2.3 * rows + (0.2 if mark else 0.05)
    figure = new_figure(height)
    low, high = min(float(d.low.min()) for d in items), max(float(d.high.max()) for d in items)
    pad = 0.08 * (high - low) or 0.1
    for i, item in enumerate(items):
        row, column = divmod(i, 2)
        top = 2.3 * row + 0.5 + (0.15 if mark else 0)
        axes = add_axes(
            figure, left=0.6 + 2.75 * column, right=2.87 - 2.75 * column, top=top, bottom=height - top - 1.4
        )
        axes.axhline(0, color=QUIET, linewidth=0.9)
        axes.fill_between(item.value, item.low, item.high, color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(item.value, item.mean, color=BLUE, linewidth=1.8, marker="o", markersize=3)
        axes.set_ylim(low - pad, high + pad)
        axes.set_title("\n".join(wrap(item.label, 2.3, FONT_PT - 0.5, max_lines=2)), loc="left", fontsize=FONT_PT - 0.5)
        light_grid(axes, "y")
        thin_ticks(axes, x=4, y=4)
        if column == 0:
            axes.set_ylabel(y_label)
    return to_svg(figure, mark=mark)
