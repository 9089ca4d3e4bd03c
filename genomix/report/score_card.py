"""The score card: bands, points and what a total means, without a number that stands for fewer than eleven people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.privacy import SMALL_CELL, TOP_CODED_AGE_YEARS, is_small
from genomix.report.blocks import Block, Cell, Column, Heading, Paragraph, Table
from genomix.report.inputs import CardRow, ReportInputs, ScoreCard, TotalRow
from genomix.report.numbers import MINUS, count, finite, percent, percent_interval, plain, share_of
from genomix.report.select import is_binary, is_table, sentence, unit_word

YEARS = ("a", "year", "years")
MOST_RANGES = 6
FEW = f"withheld: a band with fewer than {SMALL_CELL} training rows"


def total_ranges(
    totals: npt.NDArray[np.int64], outcome: npt.NDArray[np.bool_] | None, most: int
) -> list[tuple[int, int]]:
    """Return ranges of totals (both ends included) over 0 to ``most``, each with enough held-out rows to be shown.

    Parameters
    ----------
    totals: (rows,) points of held-out rows, >= 0. outcome: (rows,) whether the outcome was observed; None for a
        quantity. most: the largest total that the card can give.

    Every range holds at least :data:`~genomix.privacy.SMALL_CELL` rows, for a binary outcome also of each kind, and
    about a :data:`MOST_RANGES`-th of all rows, so that no cell of their table needs to be hidden; none where that
    cannot be.
    """
    wanted = max(SMALL_CELL, math.ceil(totals.size / MOST_RANGES))
    found: list[tuple[int, int]] = []
    start = 0
    for end in range(most + 1):
        inside = (totals >= start) & (totals <= end)
        beyond = totals > end
        if inside.sum() >= wanted and _enough(inside, outcome) and _enough(beyond, outcome):
            found.append((start, end))
            start = end + 1
    last = (start, most)
    return [*found, last] if _enough(totals >= start, outcome) else []


def _enough(rows: npt.NDArray[np.bool_], outcome: npt.NDArray[np.bool_] | None) -> bool:
    parts = [rows] if outcome is None else [rows & outcome, rows & ~outcome]
    return all(int(part.sum()) >= SMALL_CELL for part in parts)


def score_card_blocks(inputs: ReportInputs) -> list[Block]:
    """Return the card as a table, and what its totals mean; nothing where no score was fitted."""
    card = inputs.score_card
    if card is None or not card.rows:
        return []
    blocks: list[Block] = [Heading("The clinical score in full"), Paragraph(_about(inputs, card))]
    blocks += [_points_table(row) for row in card.rows]
    if card.totals:
        blocks.append(_totals_table(inputs, card.totals))
    return blocks


def _about(inputs: ReportInputs, card: ScoreCard) -> str:
    what = "the predicted probability" if is_binary(inputs) else "the predicted value"
    text = (
        f"Take the points of one band of each table below: their sum, the total, gives {what}. One point adds "
        f"{plain(card.per_point)} to the model's linear scale, which starts at {plain(card.intercept)}. It is shown "
        "so that a larger model can be judged against it, not for use at a bedside. Bands are rounded to about three "
        "digits; the model bundle holds them exactly."
    )
    if card.folds > 1:
        text += f" This is the card of the first of {card.folds} folds; the others differ, as do their rows."
    return text


def _points_table(row: CardRow) -> Table:
    words = band_words(row)
    if words is None:
        rows = [(Cell(FEW), Cell("withheld"))]
    else:
        rows = [(Cell(text), _points(points)) for text, points in zip(words.bands, words.points, strict=True)]
    rows.append((Cell("no value"), _points(row.missing)))
    return Table(sentence(row.sentence).rstrip("."), (Column("Band"), Column("Points", True)), tuple(rows))


def _points(points: int) -> Cell:
    return Cell(count(points), float(points))


class BandWords(NamedTuple):
    """A column's bands in words, lowest first, and the points of each; neighbours of equal points are one band."""

    bands: list[str]
    points: list[int]


def band_words(row: CardRow) -> BandWords | None:
    """Return the bands in words; None where one holds too few training rows to be shown."""
    if any(is_small(n) for n in row.n_bands):
        return None
    kept = [i for i, (a, b) in enumerate(pairwise(row.points)) if a != b]
    edges = [row.edges[i] for i in kept]
    points = [row.points[i] for i in (*kept, -1)]
    if row.unit in YEARS:
        edges = [min(e, float(TOP_CODED_AGE_YEARS)) for e in edges]
    for digits in range(3, 7):
        shown = [_edge(e, digits) for e in edges]
        if len(set(shown)) == len(shown):
            return BandWords(_between(shown), points)
    return None


def _edge(value: float, digits: int) -> str:
    text = plain(value, digits=digits)
    whole, point, rest = text.partition(".")
    return f"{whole}{point}{rest}".rstrip("0").rstrip(".") if point else text


def _between(ends: Sequence[str]) -> list[str]:
    if not ends:
        return ["any value"]
    middle = [f"{low} to below {high}" for low, high in pairwise(ends)]
    return [f"below {ends[0]}", *middle, f"{ends[-1]} or more"]


def _totals_table(inputs: ReportInputs, totals: Sequence[TotalRow]) -> Table:
    binary = is_binary(inputs)
    unit = unit_word(inputs)
    columns = [Column("Total"), Column("Predicted", True), Column(f"Held-out {unit}", True)]
    if binary:
        columns += [Column("With the outcome", True), Column("95 % interval", True)]
    rows = []
    for row in totals:
        cells = [Cell(_span(row)), Cell(_predicted(row, binary)), Cell(count(row.held_out), float(row.held_out))]
        if row.events is not None and binary:
            cells += [Cell(share_of(row.events, row.held_out)), Cell(wilson(row.events, row.held_out))]
        rows.append(tuple(cells))
    note = "Totals next to each other stand together until each row holds enough people to be shown. "
    if binary:
        each = "rows" if is_table(inputs) else unit
        note += f"Intervals are Wilson's, as if {each} were independent of each other (doi:10.2307/2276774)."
    return Table("What a total means, on held-out " + unit, tuple(columns), tuple(rows), note.strip())


def _span(row: TotalRow) -> str:
    return count(row.low) if row.low == row.high else f"{count(row.low)}–{count(row.high)}"


def _predicted(row: TotalRow, binary: bool) -> str:
    low, high = sorted((row.predicted_low, row.predicted_high))
    if binary:
        return percent(low) if row.low == row.high else percent_interval(low, high)
    if not finite(low) or not finite(high):
        return plain(None)
    shown = [plain(low), plain(high)]
    return shown[0] if row.low == row.high else (" to " if any(MINUS in s for s in shown) else "–").join(shown)


def wilson(events: int, n: int) -> str:
    """Return Wilson's 95 % interval of a share, in per cent.

    >>> wilson(30, 100).replace("\\u202f", " ")
    '22–40 %'
    """
    z = 1.959963984540054
    share = events / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return percent_interval(centre - half, centre + half)
