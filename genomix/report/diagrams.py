"""Drawn diagrams: the cohort's flow, and the prediction's timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genomix.privacy import WITHHELD
from genomix.report.charts import BLUE, FONT_PT, GREEN, INK, ORANGE, QUIET, WIDTH_IN, new_figure, themed, to_svg, wrap
from genomix.report.flow import Chain
from genomix.report.numbers import days

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BOX_IN, _LINE_IN, _ARROW_IN = 0.34, 0.155, 0.16
_SMALL_PT = FONT_PT - 1
_PART_NAMES = {"genotypes": "Genotypes", "records": "Health records", "study": "Study"}


@themed
def flow_diagram(chains: Sequence[Chain], *, mark: str = "") -> bytes:
    """Draw the chains: genotypes and records side by side where both are there, the study below them."""
    top = [[c for c in chains if c.part == part] for part in ("genotypes", "records")]
    columns = [c for c in top if c]
    below = [c for c in chains if c.part not in ("genotypes", "records")]
    width = WIDTH_IN / max(1, len(columns))
    heights = [_column_height(c, width - 0.2) for c in columns]
    join = 0.3 if columns and below else 0.0
    total = 0.1 + max(heights, default=0) + join + _column_height(below, WIDTH_IN - 0.2) + (0.2 if mark else 0)
    figure = new_figure(total)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH_IN)
    axes.set_ylim(0, total)
    axes.axis("off")
    start = total - 0.05 - (0.2 if mark else 0)
    ends = [
        (i * width + width / 2, _draw_column(axes, c, i * width + 0.1, width - 0.2, start))
        for i, c in enumerate(columns)
    ]
    if below:
        middle = start - max(heights, default=0) - join
        _draw_column(axes, below, 0.1, WIDTH_IN - 0.2, middle)
        for x, y in ends:
            _arrow(axes, x, y, middle - 0.24 - _opening_height(below[0], WIDTH_IN - 0.2))
    return to_svg(figure, mark=mark)


def _column_height(chains: Sequence[Chain], width: float) -> float:
    height = 0.0
    for number, chain in enumerate(chains):
        height += _title_height(chain, chains, number) + _opening_height(chain, width) + _BOX_IN
        height += _ARROW_IN if number else 0
        for position, step in enumerate(chain.steps):
            height += _drop_height(step.asked, width) + (_BOX_IN if _has_box(chain, position) else 0)
    return height


def _title_height(chain: Chain, chains: Sequence[Chain], number: int) -> float:
    return 0.24 if number == 0 or chain.part != chains[number - 1].part else 0.0


def _opening_lines(chain: Chain, width: float) -> list[str]:
    return wrap(f"{chain.opening[:1].upper()}{chain.opening[1:]}", width, _SMALL_PT) if chain.opening else []


def _opening_height(chain: Chain, width: float) -> float:
    return _LINE_IN * len(_opening_lines(chain, width)) + (0.06 if chain.opening else 0)


def _has_box(chain: Chain, position: int) -> bool:
    """A step that removed nobody needs no box of its own, unless it is the last."""
    return chain.steps[position].removed != "0" or position == len(chain.steps) - 1


def _drop_lines(asked: Sequence[str], removed: str, width: float) -> list[str]:
    text = "; ".join(asked) if len(asked) == 1 else f"{len(asked)} steps together: " + "; ".join(asked)
    head = {WITHHELD: "number removed withheld", "0": "none removed"}.get(removed, f"{removed} removed")
    return wrap(f"{text[:1].upper()}{text[1:]}: {head}", width - 0.55, _SMALL_PT)


def _drop_height(asked: Sequence[str], width: float) -> float:
    return max(0.34, 0.16 + _LINE_IN * len(_drop_lines(asked, "10 000", width)))


def _draw_column(axes: Axes, chains: Sequence[Chain], left: float, width: float, top: float) -> float:
    """Draw chains one under the other; returns where the last box ends."""
    y = top
    for number, chain in enumerate(chains):
        if _title_height(chain, chains, number):
            name = _PART_NAMES.get(chain.part, chain.part)
            axes.text(left, y - 0.07, name, weight="bold", va="top", color=INK)
            y -= 0.24
        if number:
            _arrow(axes, left + 0.3, y + (0.24 if _title_height(chain, chains, number) else 0), y - _ARROW_IN)
            y -= _ARROW_IN
        lines = _opening_lines(chain, width)
        if lines:
            axes.text(left, y, "\n".join(lines), fontsize=_SMALL_PT, va="top", color=QUIET, linespacing=1.25)
            y -= _opening_height(chain, width)
        _box(axes, left, y, width, f"{chain.entered} {chain.unit}", strong=not chain.steps)
        y -= _BOX_IN
        for position, step in enumerate(chain.steps):
            drop = _drop_height(step.asked, width)
            lines = _drop_lines(step.asked, step.removed, width)
            axes.text(
                left + 0.5,
                y - drop / 2,
                "\n".join(lines),
                fontsize=_SMALL_PT,
                va="center",
                color=QUIET,
                linespacing=1.25,
            )
            _arrow(axes, left + 0.3, y, y - drop)
            y -= drop
            if _has_box(chain, position):
                last = position == len(chain.steps) - 1
                _box(axes, left, y, width, f"{step.kept} {chain.unit}", strong=last)
                y -= _BOX_IN
    return y


def _box(axes: Axes, left: float, top: float, width: float, text: str, *, strong: bool = False) -> None:
    from matplotlib.patches import Rectangle

    face = "#e3eef6" if strong else "#f5f7f9"
    axes.add_patch(Rectangle((left, top - _BOX_IN), width, _BOX_IN, facecolor=face, edgecolor=QUIET, linewidth=0.8))
    axes.text(left + 0.12, top - _BOX_IN / 2, text, va="center_baseline", weight="bold" if strong else "normal")


def _arrow(axes: Axes, x: float, start: float, end: float) -> None:
    axes.annotate(
        "",
        (x, end),
        (x, start),
        arrowprops={"arrowstyle": "-|>", "color": QUIET, "lw": 0.9, "shrinkA": 0, "shrinkB": 0},
    )


@themed
def timeline(
    windows_days: Sequence[float | None], *, gap_days: float, horizon_days: float | None, mark: str = ""
) -> bytes:
    """Draw the look-back windows, the prediction time, the gap and the horizon; equal steps, not to scale."""
    known = sorted({w for w in windows_days if w is not None})
    labels = [*(f"{days(w)} before" for w in known), *(["whole record"] if None in windows_days else [])]
    height = 1.45 + 0.3 * max(1, len(labels)) + (0.12 if mark else 0)
    figure = new_figure(height)
    axes = figure.add_axes((0.02, 0, 0.96, 1))
    axes.axis("off")
    after = (1 if gap_days else 0) + (2 if horizon_days is not None else 1)
    span = 5.2
    axes.set_xlim(-span, span * 0.42 + after * 0.45)
    axes.set_ylim(-0.3 * max(1, len(labels)) - 0.95, 0.5 + (0.12 if mark else 0))
    step = (span - 0.35) / max(1, len(labels))
    for i, label in enumerate(labels):
        _window(axes, -(i + 1) * step, -0.3 * (i + 0.5) - 0.08, label, open_start=label == "whole record")
    right = axes.get_xlim()[1] - 0.1
    _future(axes, right, gap_days, horizon_days)
    axes.annotate("", (right + 0.05, 0), (-span + 0.05, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1})
    bottom = axes.get_ylim()[0] + 0.62
    axes.plot([0, 0], [bottom, 0.12], color=INK, linewidth=1.4)
    axes.text(0, 0.17, "prediction time (day 0)", ha="center", va="bottom", weight="bold")
    axes.text(-span / 2 - 0.3, bottom - 0.1, "what may be used", ha="center", va="top", color=BLUE, weight="bold")
    axes.text(right / 2, bottom - 0.1, "what is predicted", ha="center", va="top", color="#9a5b00", weight="bold")
    axes.text(-span + 0.05, axes.get_ylim()[0] + 0.06, "not to scale", fontsize=_SMALL_PT, color=QUIET)
    return to_svg(figure, mark=mark)


def _window(axes: Axes, start: float, y: float, label: str, *, open_start: bool) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((start, y - 0.12), -start, 0.24, facecolor=BLUE, alpha=0.18, edgecolor="none"))
    axes.plot([start], [y], "<" if open_start else "|", color=BLUE, markersize=8 if open_start else 13)
    axes.text(-0.08, y, label, va="center", ha="right", fontsize=_SMALL_PT)


def _future(axes: Axes, right: float, gap_days: float, horizon_days: float | None) -> None:
    from matplotlib.patches import Rectangle

    gap_end = 0.38 * right if gap_days else 0.0
    if gap_days:
        axes.add_patch(Rectangle((0, -0.38), gap_end, 0.3, facecolor="#eceff2", edgecolor=QUIET, hatch="///", lw=0.6))
        axes.text(gap_end / 2, -0.44, f"gap\n{days(gap_days)}", ha="center", va="top", fontsize=_SMALL_PT)
    colour = ORANGE if horizon_days is not None else GREEN
    axes.add_patch(Rectangle((gap_end, -0.38), right - gap_end, 0.3, facecolor=colour, alpha=0.35, edgecolor="none"))
    label = "horizon\nnot limited" if horizon_days is None else "horizon\n" + "\n".join(_two_lines(days(horizon_days)))
    axes.text((gap_end + right) / 2, -0.44, label, ha="center", va="top", fontsize=_SMALL_PT)


def _two_lines(text: str) -> list[str]:
    return text.replace(" (", "\n(").split("\n")
