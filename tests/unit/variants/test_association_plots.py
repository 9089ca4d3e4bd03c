"""Plots: the same bytes for the same numbers, for any names, and nothing strong is thinned away."""

from __future__ import annotations

import numpy as np
import pytest

from genomix.variants.association_plots import PlotPoints, _thinned, manhattan_svg_png, qq_svg_png


def points(n: int) -> PlotPoints:
    rng = np.random.default_rng(n)
    contigs = np.array(["1", "2", "10", "X", "MT"])[np.arange(n) % 5]
    return PlotPoints(contigs, rng.integers(1, 10**8, n), -np.log10(rng.random(n)))


@pytest.mark.parametrize("n", [1, 500])
def test_the_same_numbers_give_the_same_bytes(n: int) -> None:
    shown = points(n)
    pairs = [
        (manhattan_svg_png(shown, "a $b_c"), manhattan_svg_png(shown, "a $b_c")),
        (qq_svg_png(shown.minus_log10_p, "a $b_c"), qq_svg_png(shown.minus_log10_p, "a $b_c")),
    ]
    for one, other in pairs:
        assert one == other
        assert one["png"].startswith(b"\x89PNG")
        assert b"<dc:date>" not in one["svg"]


def test_thinning_keeps_every_strong_point_and_loses_no_place() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 10**9, 300_000), -np.log10(rng.random(300_000))
    kept = _thinned(x, y)
    assert len(kept) < 150_000
    assert set(np.flatnonzero(y >= 1.3)) <= set(kept.tolist())
    assert np.ptp(x[kept]) > 0.999 * np.ptp(x)
