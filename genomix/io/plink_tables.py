"""PLINK's text tables: .pvar (also .zst), .psam, .bim and .fam (https://www.cog-genomics.org/plink/2.0/formats)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from genomix.errors import FormatError
from genomix.io.bgzf import open_binary, require_file
from genomix.io.contigs import CONTIG_LENGTHS, UNKNOWN_BUILD
from genomix.io.genotype_format import META_STARTS, RECORDS_SCHEMA, check_sample_ids
from genomix.io.vcf_text import contig_of_line

_SEX_CODES = {"1": 1, "M": 1, "m": 1, "2": 2, "F": 2, "f": 2}
_NO_VALUE = ("", "NA", "NONE", "nan")


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, decompressed when its name ends in ``.zst``."""
    if path.suffix != ".zst":
        with open_binary(path) as plain:
            return plain.read()
    require_file(path)
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="zstd") as stream:
            data: bytes = stream.read()
    except OSError as error:
        raise FormatError(f"{path.name} cannot be decompressed: {error}", where=str(path)) from error
    return data


class PvarHeader:
    """What the ``##`` lines of a .pvar say: contigs with lengths, the build that genomix wrote, INFO and FILTER."""

    def __init__(self, lines: list[str]) -> None:
        self.contigs: dict[str, int | None] = {}
        self.build: str | None = None
        self.meta = tuple(line for line in lines if line.startswith(META_STARTS))
        for line in lines:
            if found := contig_of_line(line):
                self.contigs[found[0]] = found[1]
            if line.startswith("##genomix_build="):
                self.build = line.removeprefix("##genomix_build=").strip()


def read_pvar(path: Path) -> tuple[pl.DataFrame, PvarHeader]:
    """Return a .pvar's records (contig as written, position, variant_id, ref, alt, filter) and its header."""
    data = read_bytes(path)
    start, lines = _split_header(data)
    header = PvarHeader(lines)
    first = data[start : data.find(b"\n", start) if b"\n" in data[start:] else len(data)].decode(errors="replace")
    columns = first.rstrip("\r").split("\t")
    needed = ["#CHROM", "POS", "ID", "REF", "ALT"]
    if any(name not in columns for name in needed):
        raise FormatError(
            f"{path.name} has no header line with {', '.join(needed)}",
            where=f"{path}:{len(lines) + 1}",
            hint="write it again with plink2 --make-pgen",
        )
    optional = {c: n for c, n in (("QUAL", "quality"), ("FILTER", "filter"), ("INFO", "info")) if c in columns}
    wanted = [*needed, *optional]
    try:
        frame = pl.read_csv(
            io.BytesIO(data[start:]), separator="\t", quote_char=None, infer_schema=False, columns=wanted
        ).select(wanted)
    except pl.exceptions.PolarsError as error:
        raise FormatError(
            f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}", where=str(path)
        ) from error
    names = dict(zip(needed, ["contig", "position", "variant_id", "ref", "alt"], strict=True))
    return _typed_records(frame.rename({**names, **optional}), path, len(lines) + 2), header


def _split_header(data: bytes) -> tuple[int, list[str]]:
    start = 0
    lines: list[str] = []
    while data.startswith(b"##", start):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        lines.append(data[start:end].decode(errors="replace").rstrip("\r"))
        start = min(end + 1, len(data))
    return start, lines


def _typed_records(frame: pl.DataFrame, path: Path, first_line: int) -> pl.DataFrame:
    """Cast positions and refuse nulls, naming the line."""
    typed = frame.with_columns(pl.col("position").str.strip_chars().cast(pl.Int64, strict=False))
    for name in ("contig", "position", "ref", "alt"):
        if typed[name].null_count():
            row = int(typed[name].is_null().arg_max() or 0)
            raise FormatError(f"{name} is empty or not readable", where=f"{path}:{first_line + row}")
    absent = {"variant_id": ".", "quality": ".", "filter": "PASS", "info": "."}
    typed = typed.with_columns(
        (pl.col(n).fill_null(v) if n in typed.columns else pl.lit(v, dtype=pl.String).alias(n))
        for n, v in absent.items()
    )
    return typed.select([pl.col(n).cast(t) for n, t in RECORDS_SCHEMA.items()])


OPTIONAL_COLUMNS = {"quality": ("QUAL", "."), "filter": ("FILTER", "PASS"), "info": ("INFO", ".")}
"""Columns of a .pvar that are written where some record says something: their header, and what says nothing (beside
``.``)."""


def pvar_header(contigs: Sequence[str], columns: Sequence[str], *, build: str, meta: tuple[str, ...] = ()) -> bytes:
    """Return the lines before a .pvar's first record, without dates or tool versions.

    Parameters
    ----------
    contigs: in the order of the records; columns: those of ``OPTIONAL_COLUMNS`` that are written.
    meta: ``##INFO`` and ``##FILTER`` lines, written where the column is.
    """
    lengths = CONTIG_LENGTHS.get(build, {})
    lines = ["##fileformat=VCFv4.3"]
    if build != UNKNOWN_BUILD:
        lines.append(f"##genomix_build={build}")
    for name in contigs:
        length = f",length={lengths[name]}" if name in lengths else ""
        lines.append(f"##contig=<ID={name}{length}>")
    optional = [OPTIONAL_COLUMNS[name][0] for name in columns]
    lines += [line for line in meta if line[2 : line.index("=")] in optional]
    lines.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", *optional]))
    return ("\n".join(lines) + "\n").encode()


def write_pvar(path: Path, records: pl.DataFrame, *, build: str, meta: tuple[str, ...] = ()) -> None:
    """Write records as a .pvar; QUAL, FILTER and INFO where some record has one (see :func:`pvar_header`)."""
    columns = [
        name for name, (_, absent) in OPTIONAL_COLUMNS.items()
        if name in records.columns and (~records[name].is_in([absent, "."])).any()
    ]  # fmt: skip
    contigs = records["contig"].unique(maintain_order=True).to_list()
    table = records.select("contig", "position", "variant_id", "ref", "alt", *columns)
    with path.open("wb") as out:
        out.write(pvar_header(contigs, columns, build=build, meta=meta))
        table.write_csv(out, separator="\t", quote_style="never", include_header=False)


def read_psam(path: Path) -> pl.DataFrame:
    """Return sample_id, sex (1, 2, 0) and every other column (String, null where PLINK writes NA or NONE)."""
    lines = read_bytes(path).decode(errors="replace").splitlines()
    body = [(n, line) for n, line in enumerate(lines, start=1) if line.strip() and not line.startswith("##")]
    if not body or not body[0][1].startswith(("#IID", "#FID")):
        return read_fam(path)
    names = body[0][1].removeprefix("#").split()
    columns = _columns(body[1:], names, path)
    ids = columns.pop("IID", None)
    if ids is None:
        raise FormatError(f"{path.name} has no IID column", where=str(path))
    return _samples(ids, columns.pop("SEX", ["0"] * len(ids)), columns, path)


def read_fam(path: Path) -> pl.DataFrame:
    """Return sample_id (IID), sex, FID, PAT, MAT of a .fam; phenotype columns are left in their file."""
    lines = read_bytes(path).decode(errors="replace").splitlines()
    body = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
    columns: dict[str, list[str]] = {name: [] for name in ("FID", "IID", "PAT", "MAT", "SEX")}
    for number, line in body:
        values = line.split(None, 5)
        if len(values) < 5:
            raise FormatError("a .fam line has fewer than five columns", where=f"{path}:{number}")
        for name, value in zip(columns, values, strict=False):
            columns[name].append(value)
    ids, sex = columns.pop("IID"), columns.pop("SEX")
    informative = {n: v for n, v in columns.items() if any(x != "0" for x in v)}
    return _samples(ids, sex, informative, path)


def _columns(body: list[tuple[int, str]], names: list[str], path: Path) -> dict[str, list[str]]:
    rows = []
    for number, line in body:
        values = line.split("\t") if "\t" in line else line.split()
        if len(values) != len(names):
            raise FormatError(f"the line has {len(values)} columns, the header {len(names)}", where=f"{path}:{number}")
        rows.append(values)
    return {name: [row[i].strip() for row in rows] for i, name in enumerate(names)}


def _samples(ids: list[str], sex: list[str], others: Mapping[str, list[str]], path: Path) -> pl.DataFrame:
    families = others.get("FID")
    check_sample_ids(ids, where=str(path), families=None if families is None else list(families))
    frame = pl.DataFrame(
        {"sample_id": ids, "sex": [_SEX_CODES.get(s, 0) for s in sex]},
        schema={"sample_id": pl.String, "sex": pl.Int8},
    )
    extra = [
        pl.Series(name, [None if v in _NO_VALUE else v for v in values], dtype=pl.String)
        for name, values in others.items()
    ]
    return frame.with_columns(extra)


_PSAM_FIRST = ("FID",)
_PSAM_PARENTS = ("PAT", "MAT")


def write_psam(path: Path, samples: pl.DataFrame) -> None:
    """Write sample_id, sex and extra columns as a .psam (FID first, parents before SEX, null as NA).

    Raises
    ------
    FormatError: when a value of an extra column holds white space, which PLINK would split.
    """
    extra = [n for n in samples.columns if n not in ("sample_id", "sex", *_PSAM_FIRST, *_PSAM_PARENTS)]
    for name in extra:
        if samples[name].cast(pl.String).str.contains(r"\s").any() or any(c.isspace() for c in name):
            raise FormatError(
                f"column {name!r} of the samples holds white space, which a .psam cannot", hint="replace it by '_'"
            )
    order = [
        *(n for n in _PSAM_FIRST if n in samples.columns), "sample_id",
        *(n for n in _PSAM_PARENTS if n in samples.columns), "sex", *extra,
    ]  # fmt: skip
    names = {"sample_id": "IID", "sex": "SEX"}
    zero_is_missing = (*_PSAM_FIRST, *_PSAM_PARENTS)
    table = samples.select(
        pl.col(n).cast(pl.String).replace("0", "NA").alias("SEX") if n == "sex"
        else pl.col(n).cast(pl.String).fill_null("0" if n in zero_is_missing else "NA").alias(names.get(n, n))
        for n in order
    )  # fmt: skip
    table = table.rename({table.columns[0]: "#" + table.columns[0]})
    table.write_csv(path, separator="\t", quote_style="never")


def read_bim(path: Path) -> pl.DataFrame:
    """Return a .bim's records with its second allele as REF and its first as ALT (``0`` becomes ``.``)."""
    lines = read_bytes(path).decode(errors="replace").splitlines()
    columns: list[list[str]] = [[], [], [], [], [], []]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        values = line.split()
        if len(values) != 6:
            raise FormatError(f"a .bim line has {len(values)} columns, not six", where=f"{path}:{number}")
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    contig, variant_id, _, position, first, second = columns
    if not contig:
        raise FormatError(f"{path.name} holds no variants", where=str(path))
    frame = pl.DataFrame(
        {"contig": contig, "position": position, "variant_id": variant_id, "ref": second, "alt": first},
        schema=dict.fromkeys(("contig", "position", "variant_id", "ref", "alt"), pl.String),
    ).with_columns(pl.col("alt", "ref").replace("0", "."))
    return _typed_records(frame, path, 1)
