"""Mappings that come with genomix, for table layouts that many sites share."""

from __future__ import annotations

from importlib import resources

from genomix.io.mapping_language import RecordMapping, parse_mapping


def shipped_mapping(name: str) -> RecordMapping:
    """Return the mapping of a format, e.g. ``mimic4``."""
    text = resources.files("genomix.io").joinpath("mappings", f"{name}.toml").read_text(encoding="utf-8")
    return parse_mapping(text, where=f"mappings/{name}.toml")
