"""The leakage certificate: what was checked, what it showed, and what no check can prove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genomix.privacy import WITHHELD, is_small, suppress_counts
from genomix.report.blocks import Block, Cell, Column, Note, Section, SectionMaker, Status, Table, text_table
from genomix.report.findings import status_sentence
from genomix.report.inputs import ReportInputs
from genomix.report.metric_names import in_words
from genomix.report.numbers import group_thousands, people, plain
from genomix.report.select import is_table, join_words, unit_word

TITLE = "Leakage certificate"
ROLE_NAMES = {"train": "Training", "tuning": "Tuning", "held_out": "Held out", "unused": "Unused"}
LABELS = {
    "groups_kept_together": "Groups that are never divided", "max_crossing_kinship": "Highest kinship across the split",
    "crossing_pairs_first_degree_or_closer": "Pairs across the split, first degree or closer",
    "crossing_pairs_second_degree_or_closer": "Pairs across the split, second degree or closer",
    "crossing_pairs_third_degree_or_closer": "Pairs across the split, third degree or closer",
}  # fmt: skip
STATUSES: tuple[Status, ...] = ("failed", "not provable", "passed", "not applicable")


def render(inputs: ReportInputs) -> Section:
    """Return every check, failures first, then what is not provable; and how the rows were split."""
    rows = inputs.certificate.to_dicts()
    blocks: list[Block] = []
    if rows:
        blocks.append(_given_table(rows) if is_table(inputs) else _table(rows))
    if inputs.split:
        blocks.extend(_split(inputs))
    if not rows:
        return Section(
            TITLE, "No leakage check was run: nothing shows that the figures are free of leakage.", tuple(blocks)
        )
    return Section(TITLE, status_sentence(inputs), tuple(blocks))


def _given_table(rows: list[dict[str, Any]]) -> Table:
    """Return the checks of a table study; those of what it does not have are counted and not listed."""
    applied = [r for r in rows if r["status"] != "not applicable"]
    left = [in_words(r["check"]).lower() for r in rows if r["status"] == "not applicable"]
    note = f"{len(left)} further checks are of times, codes or scores, which a table does not have: {join_words(left)}."
    return _table(applied, note=note if left else "")


def _table(rows: list[dict[str, Any]], *, note: str = "") -> Table:
    order: dict[str, int] = {status: i for i, status in enumerate(STATUSES)}
    ordered = sorted(rows, key=lambda r: order.get(r["status"], len(order)))
    cells = tuple(
        (
            Cell(r["claim"]), Cell(r["status"], status=r["status"] if r["status"] in order else None), Cell(r["found"]),
            Cell(in_words(r["check"])),
        )
        for r in ordered
    )  # fmt: skip
    columns = (Column("What a pass means"), Column("Result"), Column("What was computed"), Column("Check"))
    return Table("Checks for leakage, failures first", columns, cells, note=note)


def _split(inputs: ReportInputs) -> list[Block]:
    """Draw the folds as a table and every other figure of the split as a line."""
    # folds: list of {fold, train, tuning, held_out, held_out_events}; max_crossing_kinship; other counts and words
    blocks: list[Block] = []
    folds = [dict(f) for f in inputs.split.get("folds") or []]
    if folds:
        blocks.append(_folds_table(folds, unit_word(inputs)))
    others = {k: v for k, v in inputs.split.items() if k not in ("folds", "design")}
    lines = [(LABELS.get(k, in_words(str(k).removeprefix("n_"))), _plain(v)) for k, v in others.items()]
    if lines:
        blocks.append(text_table("How the split was made", ("Item", "Value"), lines))
    if is_table(inputs):
        return blocks
    note = "0.177 and above: first-degree relatives; 0.088: second degree; 0.044: third degree (KING)."
    blocks.append(Note("Kinship coefficients", note))
    return blocks


def _folds_table(folds: list[dict[str, Any]], unit: str) -> Table:
    """One row a fold: its rows by role, and the held-out events."""
    counted = {
        h: [f.get(k) for f in folds] for k, h in ROLE_NAMES.items() if k != "unused" or any(k in f for f in folds)
    }
    hide = any(n is not None and is_small(n) for column in counted.values() for n in column)
    heads, shown = ["Fold"], [[str(f.get("fold", k + 1)) for k, f in enumerate(folds)]]
    for head, column in counted.items():
        heads.append(head)
        shown.append([WITHHELD if hide and n else people(n) for n in column])
    events = [f.get("held_out_events") for f in folds]
    if any(e is not None for e in events):
        heads.append("Held out, with the outcome")
        shown.append([WITHHELD] * len(folds) if hide else [group_thousands(t) for t in suppress_counts(events)])
    columns = (Column(heads[0]), *(Column(h, True) for h in heads[1:]))
    rows = tuple(tuple(Cell(t) for t in line) for line in zip(*shown, strict=True))
    return Table(f"How the {unit} were split", columns, rows)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return people(value)
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{in_words(str(k)).lower()}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value).replace("_", " ")


SECTION = SectionMaker("certificate", render)
