"""Generated references and variants on them, and the files that other tools read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import polars as pl

from genomix.io.bgzf import EOF_BLOCK

BASES = "ACGT"


def write_fasta(path: Path, contigs: dict[str, str], *, width: int = 60, end: str = "\n") -> Path:
    """Write contigs, ``width`` bases a line."""
    lines = []
    for name, bases in contigs.items():
        lines.append(f">{name} generated")
        lines += [bases[i : i + width] for i in range(0, len(bases), width)]
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def bgzf_bytes(data: bytes, *, block: int = 0xFF00) -> bytes:
    """Return ``data`` as BGZF (SAM specification, section 4.1)."""
    out = []
    for start in range(0, len(data), block):
        piece = data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(piece) + packer.flush()
        out.append(struct.pack("<4s6xH2sHH", b"\x1f\x8b\x08\x04", 6, b"BC", 2, len(body) + 25))
        out.append(body + struct.pack("<II", zlib.crc32(piece), len(piece)))
    return b"".join(out) + EOF_BLOCK


def repetitive_sequence(rng: np.random.Generator, length: int) -> str:
    """Return bases in which short tandem repeats alternate with random stretches; some in lower case, few N."""
    parts: list[str] = []
    total = 0
    while total < length:
        unit = "".join(rng.choice(list(BASES), int(rng.integers(1, 5))))
        repeat = unit * int(rng.integers(1, 120 if rng.random() < 0.05 else 12))
        stretch = "".join(rng.choice(list(BASES), int(rng.integers(1, 15))))
        piece = repeat + stretch
        if rng.random() < 0.2:
            piece = piece.lower()
        if rng.random() < 0.01:
            piece += "NNN"
        parts.append(piece)
        total += len(piece)
    return "".join(parts)[:length]


def random_variants(rng: np.random.Generator, contigs: dict[str, str], n: int) -> pl.DataFrame:
    """Return ``n`` records on generated contigs, sorted: substitutions, indels, repeats, several ALTs."""
    rows = []
    names = list(contigs)
    upper = {name: bases.upper() for name, bases in contigs.items()}
    for _ in range(n):
        name = names[int(rng.integers(len(names)))]
        bases = upper[name]
        start = int(rng.integers(0, 12 if rng.random() < 0.05 else len(bases)))
        size = min(int(rng.integers(1, 12)) if rng.random() < 0.7 else 1, len(bases) - start)
        ref = bases[start : start + size]
        alts: list[str] = []
        for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.4 else 1):
            alt = _random_alt(rng, bases, start, ref)
            if alt != ref:
                alts.append(alt)
        rows.append((name, start + 1, ref, ",".join(alts) or "."))
    frame = pl.DataFrame(rows, schema=["contig", "position", "ref", "alt"], orient="row")
    order = pl.Series([names.index(c) for c in frame["contig"].to_list()])
    frame = frame.with_columns(order.alias("_o")).sort("_o", "position", maintain_order=True).drop("_o")
    return frame.with_row_index("variant_id").with_columns(pl.format("v{}", "variant_id").alias("variant_id"))


def _random_alt(rng: np.random.Generator, bases: str, start: int, ref: str) -> str:
    kind = int(rng.integers(5))
    size = int(rng.integers(1, 9))
    if kind == 0:
        return ref[0]
    if kind == 1:
        return ref + bases[start + len(ref) : start + len(ref) + size]
    if kind == 2:
        return ref[0] + bases[max(0, start - size) : start] + ref[1:]
    if kind == 3:
        return ref[: int(rng.integers(1, len(ref) + 1))]
    return "".join(rng.choice(list(BASES), size))


def write_vcf(path: Path, records: pl.DataFrame, contigs: dict[str, int]) -> Path:
    """Write a VCF of sites only."""
    lines = ["##fileformat=VCFv4.3", *(f"##contig=<ID={n},length={size}>" for n, size in contigs.items())]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for contig, position, name, ref, alt in records.select(
        "contig", "position", "variant_id", "ref", "alt"
    ).iter_rows():
        lines.append(f"{contig}\t{position}\t{name}\t{ref}\t{alt}\t.\t.\t.")
    path.write_text("\n".join(lines) + "\n")
    return path


def read_sites(text: str) -> pl.DataFrame:
    """Return contig, position, variant_id, ref, alt of VCF text."""
    rows = [line.split("\t")[:5] for line in text.splitlines() if not line.startswith("#")]
    frame = pl.DataFrame(rows, schema=["contig", "position", "variant_id", "ref", "alt"], orient="row")
    return frame.with_columns(pl.col("position").cast(pl.Int64))
