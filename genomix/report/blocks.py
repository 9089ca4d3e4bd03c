"""What a section is made of: typed blocks of plain text and numbers; the document turns them into HTML and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from genomix.report.inputs import ReportInputs

Status = Literal["passed", "failed", "not provable", "not applicable"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the text as shown, the same as a number, a section to point at, words set small below.

    ``value`` never holds more than ``text`` shows, so that ``report.json`` gives away nothing that the page hides.
    """

    text: str
    value: float | None = None
    status: Status | None = None
    section: str | None = None
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the cell as JSON-able values."""
        out: dict[str, Any] = {"text": self.text, **({"hint": self.hint} if self.hint else {})}
        if self.value is not None and math.isfinite(self.value):
            out["value"] = self.value
        if self.section is not None:
            out["section"] = self.section
        return out


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, and whether it holds figures (set to the right)."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a caption; every row has one cell per column; the first cell of a row is its heading."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    closed: str | None = None  # the words on the closed frame, when the table starts closed

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.caption!r}: a row has not one cell per column")

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON-able values."""
        rows = [[cell.to_json() for cell in row] for row in self.rows]
        columns = [c.heading for c in self.columns]
        return {"type": self.kind, "caption": self.caption, "columns": columns, "rows": rows, "note": self.note}


@dataclass(frozen=True)
class Figure:
    """A drawing, the sentence that it shows, its description for those who cannot see it, its numbers, and n."""

    kind: ClassVar[str] = "figure"
    svg: bytes
    caption: str
    alt: str
    n: str
    table: Table

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON-able values: its words and its table, not its drawing."""
        table = self.table.to_json()
        return {"type": self.kind, "caption": self.caption, "alt": self.alt, "n": self.n, "table": table}


@dataclass(frozen=True)
class Paragraph:
    """Plain sentences."""

    kind: ClassVar[str] = "paragraph"
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the paragraph as JSON-able values."""
        return {"type": self.kind, "text": self.text}


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, one level below the section's title."""

    kind: ClassVar[str] = "heading"
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the heading as JSON-able values."""
        return {"type": self.kind, "text": self.text}


@dataclass(frozen=True)
class Note:
    """A limit or caution that stands beside the claim that it limits; ``label`` is its first word or two."""

    kind: ClassVar[str] = "note"
    label: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the note as JSON-able values."""
        return {"type": self.kind, "label": self.label, "text": self.text}


@dataclass(frozen=True)
class Bullets:
    """Short sentences of one kind."""

    kind: ClassVar[str] = "list"
    items: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the list as JSON-able values."""
        return {"type": self.kind, "items": list(self.items)}


@dataclass(frozen=True)
class Abstract:
    """A structured abstract: pairs of a short heading and its sentences."""

    kind: ClassVar[str] = "abstract"
    items: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the abstract as JSON-able values."""
        return {"type": self.kind, "items": [{"heading": h, "text": t} for h, t in self.items]}


@dataclass(frozen=True)
class KeyNumber:
    """One of page one's numbers: what it is, the number, its interval, what it means, and what stands beside it."""

    label: str
    number: str
    interval: str
    meaning: str
    beside: str


@dataclass(frozen=True)
class KeyNumbers:
    """Page one's numbers, side by side where there is room."""

    kind: ClassVar[str] = "numbers"
    items: tuple[KeyNumber, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON-able values."""
        names = ("label", "number", "interval", "meaning", "beside")
        return {"type": self.kind, "items": [{n: getattr(i, n) for n in names} for i in self.items]}


Block = Paragraph | Heading | Note | Bullets | Table | Figure | Abstract | KeyNumbers


@dataclass(frozen=True)
class Section:
    """A rendered section: its title, its finding as one sentence, and its blocks.

    ``on_data`` is False for sections that say nothing about the data's people, and so need no SIMULATED mark.
    """

    title: str
    finding: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)
    on_data: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the section as JSON-able values."""
        return {"title": self.title, "finding": self.finding, "blocks": [b.to_json() for b in self.blocks]}


@dataclass(frozen=True)
class SectionMaker:
    """A member of ``genomix.report.sections``: a stable name, and the function from the inputs to the section."""

    name: str
    render: Callable[[ReportInputs], Section | None]


def text_table(caption: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], **options: Any) -> Table:
    """Return a table of plain text."""
    columns = tuple(Column(h) for h in headings)
    return Table(caption, columns, tuple(tuple(Cell(t) for t in row) for row in rows), **options)
