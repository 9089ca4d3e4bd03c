"""Plain charts as SVG bytes: matplotlib figures without pyplot, the same bytes for the same numbers.

Text is drawn as outlines of the font that ships with matplotlib, so a page looks the same on every machine; clouds of
points are rasterised. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/) and viridis.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
FloatArray = npt.NDArray[np.floating[Any]]

WIDTH_IN = 5.6
"""Width of every figure in inches: readable at a phone's 360 pixels and at the text's 660."""
FONT_PT = 9.5
INK = "#1d2733"
QUIET = "#5b6772"
GRID = "#dfe3e8"
BLUE, ORANGE, GREEN, VERMILION, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"
MODEL_COLOURS = {"boosted": BLUE, "linear": VERMILION}
LABEL_COLOURS = {BLUE: "#00598c", VERMILION: "#a84300"}
"""Darker shades for text, so that its contrast on white is at least 4.5."""
MARK = "#9a3412"
REFERENCE_DASH = (0, (1, 2))
_RC = {
    "font.family": "DejaVu Sans", "font.size": FONT_PT, "svg.fonttype": "path", "svg.hashsalt": "genomix",
    "axes.edgecolor": QUIET, "axes.labelcolor": INK, "text.color": INK, "xtick.color": QUIET, "ytick.color": QUIET,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.linewidth": 0.8, "axes.unicode_minus": True,
    "axes.formatter.useoffset": False, "path.simplify": True, "text.usetex": False, "text.parse_math": False,
    "axes.formatter.use_mathtext": False, "axes.titlesize": FONT_PT, "axes.labelsize": FONT_PT,
    "xtick.labelsize": FONT_PT - 0.5, "ytick.labelsize": FONT_PT - 0.5, "savefig.dpi": 200, "figure.dpi": 72,
    "svg.image_inline": True, "image.composite_image": True, "axes.formatter.limits": (-4, 6),
}  # fmt: skip


_NOT_DRAWN = re.compile(r"<\?xml.*?\?>\s*|<!DOCTYPE.*?>\s*|<!--.*?-->\s*|<metadata>.*?</metadata>\s*", flags=re.DOTALL)


class Canvas(NamedTuple):
    """A figure and its first axes."""

    figure: Figure
    axes: Axes


def themed(draw: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a drawing function use the report's style, whatever the caller's matplotlib settings are."""

    @functools.wraps(draw)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        import matplotlib

        with matplotlib.rc_context(), warnings.catch_warnings():
            # A code's name may hold characters that the font lacks; the page's text and table show them.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC)  # type: ignore[arg-type]  # the stubs list the allowed keys one by one
            return draw(*args, **kwargs)

    return wrapped


def new_figure(height_in: float) -> Figure:
    """Return an empty figure of the report's width."""
    from matplotlib.figure import Figure as MatplotlibFigure

    return MatplotlibFigure(figsize=(WIDTH_IN, height_in), facecolor="white")


def add_axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Add axes with margins in inches; top and right spines are left out."""
    width, height = figure.get_size_inches()
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    return axes


def canvas(
    height_in: float, *, left: float = 0.62, right: float = 0.18, top: float = 0.2, bottom: float = 0.5
) -> Canvas:
    """Return a figure with one pair of axes; margins in inches."""
    figure = new_figure(height_in)
    return Canvas(figure, add_axes(figure, left=left, right=right, top=top, bottom=bottom))


def to_svg(figure: Figure, *, mark: str = "") -> bytes:
    """Return the figure as SVG bytes; ``mark`` is printed in its corner so that it stays with a copied figure."""
    if mark:
        figure.text(0.995, 0.994, mark, ha="right", va="top", fontsize=7.5, color=MARK, weight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    text = _NOT_DRAWN.sub("", buffer.getvalue().decode())
    return re.sub(r"\n\s*", "\n", text).encode()


@functools.lru_cache(maxsize=20_000)
def text_width_pt(text: str, size_pt: float = FONT_PT, *, bold: bool = False) -> float:
    """Return how wide a line of text is drawn, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size_pt, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def wrap(text: str, width_in: float, size_pt: float = FONT_PT, *, max_lines: int = 0) -> list[str]:
    """Break a text into lines no wider than ``width_in``; the last of ``max_lines`` ends in an ellipsis if cut."""
    lines: list[str] = []
    current = ""
    for word in _breakable(text, width_in, size_pt):
        longer = f"{current} {word}".strip()
        if current and text_width_pt(longer, size_pt) > 72 * width_in:
            lines.append(current)
            current = word
        else:
            current = longer
    lines.append(current)
    if max_lines and len(lines) > max_lines:
        last = lines[max_lines - 1]
        while " " in last and text_width_pt(f"{last} …", size_pt) > 72 * width_in:
            last = last.rpartition(" ")[0]
        return [*lines[: max_lines - 1], last.rstrip(" ,.;:") + " …"]
    return lines


def _breakable(text: str, width_in: float, size_pt: float) -> list[str]:
    """Return the words of a text; a word that is wider than the line is cut where it no longer fits."""
    words: list[str] = []
    for word in text.split():
        if text_width_pt(word, size_pt) <= 72 * width_in:
            words.append(word)
            continue
        part = ""
        for letter in word:
            if part and text_width_pt(part + letter, size_pt) > 72 * width_in:
                words.append(part)
                part = ""
            part += letter
        words.append(part)
    return words


def label_rows(axes: Axes, labels: Sequence[str], positions: Sequence[float], width_in: float) -> None:
    """Write the labels of the rows of a chart left of its axes, wrapped to two lines."""
    axes.set_yticks(list(positions), ["\n".join(wrap(t, width_in, FONT_PT - 0.5, max_lines=2)) for t in labels])
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        label.set_linespacing(1.05)


def label_width(labels: Sequence[str], most_in: float) -> float:
    """Return the room that labels need, in inches: their longest line, wrapped at ``most_in``."""
    lines = [line for text in labels for line in wrap(text, most_in, FONT_PT - 0.5, max_lines=2)]
    return max((text_width_pt(line, FONT_PT - 0.5) for line in lines), default=36) / 72 + 0.03


def light_grid(axes: Axes, axis: str) -> None:
    """Draw thin lines behind the data along one axis or both."""
    axes.grid(True, axis=axis, color=GRID, linewidth=0.7)  # type: ignore[arg-type]  # "x" | "y" | "both"


def thin_ticks(axes: Axes, *, x: int | None = None, y: int | None = None) -> None:
    """Ask for about so many ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis, n in ((axes.xaxis, x), (axes.yaxis, y)):
        if n is not None:
            axis.set_major_locator(MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _position: float | None = None) -> str:
    text = f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u202f")
    return "0" if text in ("-0", "") else text.replace("-", "\u2212")


class Line(NamedTuple):
    """One labelled line of points with an optional band."""

    name: str
    colour: str
    x: FloatArray
    y: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None
    dashed: bool = False
    markers: bool = False


def draw_line(axes: Axes, line: Line) -> None:
    """Draw a line with its band; every model but the boosted one is dashed, for grey print."""
    if line.low is not None and line.high is not None:
        known = np.isfinite(line.low) & np.isfinite(line.high)
        axes.fill_between(line.x[known], line.low[known], line.high[known], color=line.colour, alpha=0.16, linewidth=0)
    axes.plot(
        line.x, line.y, color=line.colour, linewidth=1.8, linestyle=(0, (5, 2)) if line.dashed else "-",
        marker="o" if line.markers else None, markersize=4,
    )  # fmt: skip


def curve_label(
    axes: Axes, text: str, x: float, y: float, colour: str, *, ha: str = "left", va: str = "center"
) -> None:
    """Write a curve's name beside it, on white so that grid and bands do not run through it."""
    axes.text(
        x, y, text, color=LABEL_COLOURS.get(colour, colour), ha=ha, va=va, weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2},
    )  # fmt: skip


class Row(NamedTuple):
    """One row of an interval chart: label, estimate and interval (None: not estimable), and text set at the right."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    text: str = ""
    second: float | None = None  # a baseline's estimate, drawn hollow
    emphasis: bool = False


@themed
def interval_chart(
    rows: Sequence[Row],
    *,
    x_label: str,
    zero: float | None,
    zero_label: str = "",
    mark: str = "",
    limits: tuple[float, float] | None = None,
    label_width_in: float = 1.75,
    second_label: str = "",
) -> bytes:
    """Draw estimates with intervals, one a row, around a vertical reference line."""
    label_width_in = label_width([r.label for r in rows], label_width_in)
    height = 0.95 + (0.36 if len(rows) <= 12 else 0.24) * len(rows) + (0.12 if mark else 0)
    figure, axes = canvas(height, left=label_width_in + 0.12, right=0.15, top=0.32 + (0.12 if mark else 0), bottom=0.5)
    places = np.arange(len(rows), dtype=float)[::-1]
    for place, row in zip(places, rows, strict=True):
        _draw_row(axes, row, float(place))
    if zero is not None:
        axes.axvline(zero, color=INK, linewidth=1.0, zorder=1)
        axes.annotate(
            zero_label,
            (zero, len(rows) - 0.45),
            ha="center",
            va="bottom",
            fontsize=8,
            color=QUIET,
            annotation_clip=False,
        )
    axes.set_ylim(-0.6, len(rows) - 0.45)
    _limit_x(axes, rows, zero, limits)
    label_rows(axes, [r.label for r in rows], places.tolist(), label_width_in)
    light_grid(axes, "x")
    thin_ticks(axes, x=5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label + (f"   (hollow: {second_label})" if second_label else ""))
    return to_svg(figure, mark=mark)


def _draw_row(axes: Axes, row: Row, place: float) -> None:
    if row.second is not None and np.isfinite(row.second):
        axes.plot([row.second], [place], "D", markersize=4.5, markerfacecolor="white", markeredgecolor=QUIET, zorder=2)
    if row.value is None or not np.isfinite(row.value):
        axes.text(
            0.98, place, row.text or "not estimable", va="center", ha="right", style="italic", color=QUIET,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
        return
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=BLUE, linewidth=5.5, alpha=0.3, solid_capstyle="butt")
    size = 8 if row.emphasis else 6
    axes.plot([row.value], [place], "o", color=BLUE, markersize=size, zorder=3)


def _limit_x(axes: Axes, rows: Sequence[Row], zero: float | None, limits: tuple[float, float] | None) -> None:
    if limits is not None:
        axes.set_xlim(*limits)
        return
    values = [v for r in rows for v in (r.value, r.low, r.high, r.second, zero) if v is not None and np.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.05
    axes.set_xlim(low - pad, high + pad)


@themed
def bar_chart(
    labels: Sequence[str], values: Sequence[float], texts: Sequence[str], *, x_label: str, mark: str = "",
    label_width_in: float = 2.1,
) -> bytes:  # fmt: skip
    """Draw horizontal bars from zero, the longest first as given, each with its figure at its end."""
    label_width_in = label_width(labels, label_width_in)
    height = 0.75 + 0.3 * len(values) + (0.12 if mark else 0)
    figure, axes = canvas(height, left=label_width_in + 0.12, right=0.2, top=0.1 + (0.14 if mark else 0), bottom=0.48)
    places = np.arange(len(values), dtype=float)[::-1]
    axes.barh(places, values, height=0.62, color=BLUE)
    longest = max([*values, 0.0]) or 1.0
    room = max((text_width_pt(t, FONT_PT - 1) for t in texts), default=0) / 72 + 0.12
    axes.set_xlim(0, longest * (1 + room / max(0.5, WIDTH_IN - label_width_in - 0.32 - room)))
    for place, value, text in zip(places, values, texts, strict=True):
        axes.annotate(
            text, (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=FONT_PT - 1,
        )  # fmt: skip
    axes.set_ylim(-0.6, len(values) - 0.4)
    label_rows(axes, labels, places.tolist(), label_width_in)
    thin_ticks(axes, x=4)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label)
    return to_svg(figure, mark=mark)


@themed
def interval_panels(
    panels: Sequence[tuple[str, Sequence[Row]]], *, x_label: str, mark: str = "", label_width_in: float = 0.8
) -> bytes:
    """Draw interval charts side by side on one scale, at most four in a line; the rows are the same in every panel."""
    n_rows = len(panels[0][1])
    label_width_in = label_width([r.label for r in panels[0][1]], label_width_in)
    per_line = min(len(panels), 4)
    lines = -(-len(panels) // per_line)
    row_in = 0.3 if n_rows <= 12 else 0.21
    line_in = 0.48 + row_in * n_rows + 0.35
    height = line_in * lines + 0.3 + (0.16 if mark else 0.04)
    figure = new_figure(height)
    every = [row for _, rows in panels for row in rows]
    width = (WIDTH_IN - label_width_in - 0.2) / per_line
    for i, (title, rows) in enumerate(panels):
        line, column = divmod(i, per_line)
        top = line_in * line + 0.42 + (0.16 if mark else 0.04)
        left = label_width_in + 0.12 + width * column
        axes = add_axes(
            figure, left=left, right=WIDTH_IN - left - width + 0.1, top=top, bottom=height - top - row_in * n_rows
        )
        places = np.arange(n_rows, dtype=float)[::-1]
        for place, row in zip(places, rows, strict=True):
            _draw_row(axes, row._replace(text="n. e."), float(place))
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        axes.set_ylim(-0.6, n_rows - 0.4)
        _limit_x(axes, every, 0.0, None)
        axes.set_title("\n".join(wrap(title, width - 0.15, FONT_PT - 1)), loc="left", fontsize=FONT_PT - 1)
        light_grid(axes, "x")
        thin_ticks(axes, x=3)
        axes.spines["left"].set_visible(False)
        if column == 0:
            label_rows(axes, [r.label for r in rows], places.tolist(), label_width_in)
        else:
            axes.set_yticks([])
    figure.text(0.5, 0.06 / height, x_label, ha="center", va="bottom")
    return to_svg(figure, mark=mark)
