"""Reads a report as a browser would parse it: elements, text, addresses; used by the report's tests."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "input", "link", "rect"}


@dataclass
class Element:
    """One start tag with its attributes and the text directly or indirectly inside it."""

    tag: str
    attributes: dict[str, str]
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """All elements of a page in document order."""

    elements: list[Element] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = tuple(e.tag for e in self._open)
        element = Element(tag, {k: v or "" for k, v in attrs}, inside)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open[-1].tag != tag:
            self.unclosed.append(tag)
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def of(self, *tags: str) -> list[Element]:
        """Return the elements with one of these tags."""
        return [e for e in self.elements if e.tag in tags]


@lru_cache(maxsize=16)
def read_page(html: str) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(html)
    page.close()
    return page


def drawings(page: Page) -> list[bytes]:
    """Return the SVG behind every image."""
    prefix = "data:image/svg+xml;base64,"
    return [base64.b64decode(e.attributes["src"].removeprefix(prefix), validate=True) for e in page.of("img")]
