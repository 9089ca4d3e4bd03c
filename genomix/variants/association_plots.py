"""Manhattan and quantile-quantile plots of an association run, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.variants.assoc_tails import inflation_factor

FloatArray = npt.NDArray[np.float64]

GENOME_WIDE = 7.301029995663981
"""-log10 of 5e-8 (Pe'er et al. 2008, doi:10.1002/gepi.20303): for common variants of European ancestry."""

_COLOURS = ("#1f4e79", "#7fa7cc")
_THIN_BELOW = 1.3
_BINS = 400


class PlotPoints(NamedTuple):
    """What a plot needs of each test: contig (in file order), position and -log10(P), no missing values."""

    contigs: npt.NDArray[np.str_]
    positions: npt.NDArray[np.int64]
    minus_log10_p: FloatArray


def manhattan_svg_png(points: PlotPoints, title: str) -> dict[str, bytes]:
    """Return the Manhattan plot as ``{"svg": ..., "png": ...}``; points beyond P = 0.05 are thinned to what shows."""
    names, starts = _contig_starts(points)
    x = points.positions + starts[_codes(points.contigs, names)]

    def draw(axes: Any) -> None:
        codes = _codes(points.contigs, names)
        shown = _thinned(x, points.minus_log10_p)
        for parity, colour in enumerate(_COLOURS):
            at = shown[codes[shown] % 2 == parity]
            axes.scatter(x[at], points.minus_log10_p[at], s=5, c=colour, linewidths=0, rasterized=True)
        axes.axhline(GENOME_WIDE, color="#b03030", linewidth=0.8, linestyle="--")
        ends = [x[codes == i].max(initial=start) for i, start in enumerate(starts.tolist())]
        axes.set_xticks([(s + e) / 2 for s, e in zip(starts.tolist(), ends, strict=True)], names, fontsize=7)
        axes.set_xlabel("contig")
        axes.set_ylabel("$-\\log_{10} P$")
        axes.set_ylim(bottom=0)
        axes.set_title(_plain(title), fontsize=10)
        axes.margins(x=0.01)

    return _render(draw, (9.0, 3.6))


def qq_svg_png(minus_log10_p: FloatArray, title: str) -> dict[str, bytes]:
    """Return the quantile-quantile plot with its inflation factor as ``{"svg": ..., "png": ...}``."""
    observed = np.sort(minus_log10_p)[::-1]
    n = len(observed)
    expected = -np.log10((np.arange(1, n + 1) - 0.5) / max(n, 1))

    def draw(axes: Any) -> None:
        low, high = _band(n)
        at = _spread(n)
        axes.fill_between(
            expected[at], low[at], high[at], color="#dddddd", linewidth=0, label="95 % without association"
        )
        keep = _thinned(expected, observed)
        axes.scatter(expected[keep], observed[keep], s=6, c=_COLOURS[0], linewidths=0, rasterized=True)
        end = float(expected.max(initial=1.0))
        axes.plot([0, end], [0, end], color="#b03030", linewidth=0.8)
        axes.set_xlabel("expected $-\\log_{10} P$")
        axes.set_ylabel("observed $-\\log_{10} P$")
        axes.set_title(f"{_plain(title)}: $\\lambda_{{GC}}$ = {inflation_factor(minus_log10_p):.3f}", fontsize=10)
        axes.legend(loc="upper left", fontsize=7, frameon=False)

    return _render(draw, (4.4, 4.4))


def _plain(text: str) -> str:
    """A phenotype's name is text, never mathematics."""
    return text.replace("$", r"\$")


def _band(n: int) -> tuple[FloatArray, FloatArray]:
    """Pointwise 95 % range of the i-th smallest of n uniform values: Beta(i, n + 1 - i)."""
    from scipy.special import betaincinv

    rank = np.arange(1, n + 1)
    low, high = (np.asarray(-np.log10(betaincinv(rank, n + 1 - rank, q))) for q in (0.975, 0.025))
    return low, high


def _spread(n: int) -> npt.NDArray[np.int64]:
    """Some ranks, dense at the small p values."""
    return np.unique(np.geomspace(1, max(n, 1), 300).round().astype(np.int64)) - 1 if n else np.empty(0, np.int64)


def _codes(contigs: npt.NDArray[np.str_], names: list[str]) -> npt.NDArray[np.int64]:
    number: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    return np.array([number[c] for c in contigs.tolist()], dtype=np.int64)


def _contig_starts(points: PlotPoints) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Contigs in natural order, and where each begins on the axis."""
    names = sorted(set(points.contigs.tolist()), key=lambda c: (0, int(c), "") if c.isdigit() else (1, 0, c))
    ends = [int(points.positions[points.contigs == name].max()) for name in names]
    gap = max(ends, default=0) // 50
    return names, np.cumsum([0, *(e + gap for e in ends[:-1])])[: len(names)].astype(np.int64)


def _thinned(x: npt.NDArray[Any], y: FloatArray) -> npt.NDArray[np.int64]:
    """Every point above P = 0.05, and of the rest the first in each cell of a fine grid."""
    low = np.flatnonzero(y < _THIN_BELOW)
    if len(low) <= 20_000:
        return np.arange(len(y), dtype=np.int64)
    span = float(x.max() - x.min()) or 1.0
    cell = ((x[low] - x.min()) / span * 4 * _BINS).astype(np.int64) * _BINS + (y[low] / _THIN_BELOW * 100).astype(
        np.int64
    )
    _, first = np.unique(cell, return_index=True)
    return np.sort(np.concatenate([low[first], np.flatnonzero(y >= _THIN_BELOW)]))


def _render(draw: Any, size: tuple[float, float]) -> dict[str, bytes]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    out = {}
    settings: Any = {"svg.hashsalt": "genomix", "font.family": "DejaVu Sans", "svg.fonttype": "path"}
    with matplotlib.rc_context(settings):
        for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            axes.spines[["top", "right"]].set_visible(False)
            draw(axes)
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
            out[kind] = stream.getvalue()
    return out
