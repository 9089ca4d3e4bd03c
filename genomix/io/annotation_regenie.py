"""regenie's annotation files, set lists and masks, and masks in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from genomix.errors import FormatError
from genomix.io.annotation_alleles import Annotation
from genomix.io.bgzf import text_lines
from genomix.schemas.burden import ANNOTATIONS


def read_regenie_annotation(annotations: Path, set_list: Path | None = None) -> Annotation:
    """Read regenie's annotation file (variant, set, label) and set list (set, contig, position, variants).

    Variants are matched by identifier. With a set list its variants count, and one that has no label there is labelled
    ``NULL``, as in regenie.
    """
    rows = []
    for number, line in table_lines(annotations):
        fields = line.split()
        if len(fields) not in (3, 4):
            raise FormatError("variant, set, [domain,] label are needed", where=f"{annotations}:{number}")
        rows.append((fields[0], fields[1], fields[-1]))
    if not rows:
        raise FormatError(f"{annotations.name} annotates no variant", where=str(annotations))
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("variant_id", "gene", "consequence"), pl.String), orient="row")
    counts = {"entries": frame.height}
    if set_list is not None:
        wanted = _read_set_list(set_list)
        both = ["gene", "variant_id"]
        counts["entries that are not in the set list"] = frame.join(wanted, on=both, how="anti").height
        frame = wanted.join(frame, on=both, how="left", maintain_order="left")
        counts["variants of the set list without a label (NULL)"] = int(frame["consequence"].null_count())
        frame = frame.with_columns(pl.col("consequence").fill_null("NULL"))
    nothing = [pl.lit(None, dtype=c.dtype).alias(c.name) for c in ANNOTATIONS.columns if c.nullable and not c.optional]
    alleles = [pl.lit("").alias("contig"), pl.lit(0, dtype=pl.Int64).alias("position")]
    full = frame.with_columns(*alleles, pl.lit("").alias("ref"), pl.lit("").alias("alt"), *nothing).unique(
        maintain_order=True
    )
    return Annotation(ANNOTATIONS.validate(full), full.select("variant_id").unique(maintain_order=True), "regenie",
                      ("variant", "set", "label"), counts)  # fmt: skip


def _read_set_list(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in table_lines(path):
        fields = line.split()
        if len(fields) < 4:
            raise FormatError("set, contig, position, variants are needed", where=f"{path}:{number}")
        rows += [(fields[0], name) for part in fields[3:] for name in part.split(",") if name]
    return pl.DataFrame(rows, schema={"gene": pl.String, "variant_id": pl.String}, orient="row").unique(
        maintain_order=True
    )


def read_regenie_masks(path: Path) -> dict[str, str]:
    """Read regenie's mask file: name, comma-separated labels; returns name to ``label+label``."""
    masks = {}
    for number, line in table_lines(path):
        fields = line.split()
        if len(fields) != 2:
            raise FormatError("a mask's name and its labels are needed", where=f"{path}:{number}")
        masks[fields[0]] = "+".join(fields[1].split(","))
    return masks


def read_mask_file(path: Path) -> list[dict[str, Any]]:
    """Read masks: a TOML file with tables ``[[mask]]`` (name, consequences, max_frequency, confident), or regenie's.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "masks.toml"
    >>> _ = file.write_text('[[mask]]\\nname = "M1"\\nconsequences = "lof+missense"\\n')
    >>> read_mask_file(file)
    [{'name': 'M1', 'consequences': 'lof+missense'}]
    """
    if path.suffix != ".toml":
        return [{"name": name, "consequences": words} for name, words in read_regenie_masks(path).items()]
    text = b"\n".join(text_lines(path)).decode("utf-8", errors="replace")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    masks = content.get("mask")
    if set(content) != {"mask"} or not isinstance(masks, list) or not all(isinstance(m, dict) for m in masks):
        raise FormatError(f"{path.name} holds other things than tables [[mask]]", where=str(path))
    return [{**m, "consequences": _joined(m.get("consequences", ""))} for m in masks]


def _joined(words: Any) -> str:
    return "+".join(str(w) for w in words) if isinstance(words, list) else str(words)


def table_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is neither empty nor a comment."""
    for number, line in enumerate(text_lines(path), start=1):
        text = line.decode("utf-8", errors="replace").strip()
        if text and not text.startswith("#"):
            yield number, text
