"""Offsets of association tests: what a whole-genome model predicts for a person without the tested chromosome.

Formats
-------
regenie: ``NAME_pred.list`` (phenotype and file, one a line) or one ``.loco`` file: header ``FID_IID`` and samples, then
a line per chromosome (https://rgcgithub.github.io/regenie/options/; 23 is X). For a quantitative phenotype regenie
writes predictions in standard deviations of the phenotype that its covariates leave: ``unit`` is ``residual_sd``.

Table: ``IID`` or ``sample_id``, then either ``offset`` (the same on every contig) or one column per contig; a column
``phenotype`` where there are several. ``unit`` is ``phenotype``: its own units, log odds for case-control.

BOLT-LMM writes no prediction per person and chromosome (``--predBetasFile`` holds effects per SNP, fitted with all
chromosomes), so there is nothing of it to read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError, LinkError
from genomix.io.contigs import normalise_contig
from genomix.io.phenotypes import read_rows
from genomix.io.tables import read_text

FloatArray = npt.NDArray[np.float64]

ANY = "*"
"""Stands for every phenotype, or every contig."""


@dataclass(frozen=True)
class Offsets:
    """Offsets by phenotype and contig, float64 in the order of ``sample_ids``, NaN where a sample has none."""

    sample_ids: tuple[str, ...]
    values: Mapping[str, Mapping[str, FloatArray]]
    unit: Literal["phenotype", "residual_sd"] = "phenotype"

    def known(self, phenotype: str) -> npt.NDArray[np.bool_]:
        """Return which samples have an offset of a phenotype on any contig."""
        contigs = self.values.get(phenotype) or self.values.get(ANY) or {}
        found = np.zeros(len(self.sample_ids), dtype=np.bool_)
        for offsets in contigs.values():
            found |= np.isfinite(offsets)
        return found

    def of(self, phenotype: str, contig: str) -> FloatArray:
        """Return the offsets of one phenotype on one contig.

        Raises
        ------
        ConfigError: when there are none.
        """
        contigs = self.values.get(phenotype, self.values.get(ANY))
        if contigs is None:
            raise ConfigError(
                f"the offset file has no phenotype {phenotype!r}", hint="it has: " + ", ".join(sorted(self.values))
            )
        found = contigs.get(contig, contigs.get(ANY))
        if found is None:
            raise ConfigError(
                f"the offset file has no contig {contig!r}", hint="leave its variants out, or give a file that has it"
            )
        return found


def read_offsets(path: Path, sample_ids: Sequence[str], *, family_ids: Sequence[str] | None = None) -> Offsets:
    """Read an offset file for these samples.

    Parameters
    ----------
    sample_ids: the store's samples. family_ids: their FIDs where known: regenie joins both with ``_``.

    Raises
    ------
    InputNotFoundError, FormatError: with file and line. LinkError: when none of its samples is one of these.
    """
    if path.name.endswith(".list"):
        return _read_list(path, sample_ids, family_ids)
    if path.name.endswith((".loco", ".loco.gz")):
        loco = _read_loco(path, sample_ids, family_ids)
        return Offsets(tuple(sample_ids), {ANY: loco}, "residual_sd")
    return _read_plain(path, sample_ids)


def _read_list(path: Path, sample_ids: Sequence[str], family_ids: Sequence[str] | None) -> Offsets:
    values = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split(maxsplit=1)
        if len(fields) != 2:
            raise FormatError("a line names a phenotype and a .loco file", where=f"{path}:{number}")
        named = Path(fields[1].strip())
        beside = path.parent / named.name
        file = path.parent / named if not named.is_absolute() else named
        values[fields[0]] = _read_loco(file if file.is_file() else beside, sample_ids, family_ids)
    if not values:
        raise FormatError(f"{path.name} names no file", where=str(path))
    return Offsets(tuple(sample_ids), values, "residual_sd")


def _read_loco(path: Path, sample_ids: Sequence[str], family_ids: Sequence[str] | None) -> dict[str, FloatArray]:
    lines = read_text(path).splitlines()
    head = lines[0].split() if lines else []
    if not head or head[0] != "FID_IID":
        raise FormatError("a .loco file begins with FID_IID", where=f"{path}:1")
    place = _places(head[1:], sample_ids, family_ids, path)
    if not (place >= 0).any():
        raise _nobody(path)
    out = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != len(head):
            raise FormatError(f"line has {len(fields)} fields, the header {len(head)}", where=f"{path}:{number}")
        row = np.full(len(sample_ids), np.nan)
        row[place[place >= 0]] = _floats(fields[1:], f"{path}:{number}")[place >= 0]
        out[normalise_contig(fields[0])] = row
    return out


def _places(
    keys: Sequence[str], sample_ids: Sequence[str], family_ids: Sequence[str] | None, path: Path
) -> npt.NDArray[np.int64]:
    """For each ``FID_IID`` the sample, -1 where there is none; both parts may hold ``_`` themselves."""
    number = {name: i for i, name in enumerate(sample_ids)}
    places = np.full(len(keys), -1, dtype=np.int64)
    for at, key in enumerate(keys):
        cuts = [i for i, c in enumerate(key) if c == "_"]
        found = {number[key[i + 1 :]] for i in cuts if key[i + 1 :] in number}
        if family_ids is not None:
            found = {i for i in found if f"{family_ids[i]}_{sample_ids[i]}" == key} or found
        same = {i for i in found if f"{sample_ids[i]}_{sample_ids[i]}" == key or f"0_{sample_ids[i]}" == key}
        found = same if len(found) > 1 and len(same) == 1 else found
        if len(found) > 1:
            raise FormatError("one FID_IID fits two samples", where=f"{path}:1", hint="a plain table with IID")
        if found:
            places[at] = found.pop()
    used = places[places >= 0]
    if len(np.unique(used)) != len(used):
        raise FormatError("two columns are of one sample", where=f"{path}:1")
    return places


def _nobody(path: Path) -> LinkError:
    return LinkError(
        f"the genotypes have no sample of the offset file {path.name}", where=str(path),
        hint="its identifiers have to be those of the genotypes",
    )  # fmt: skip


def _floats(fields: Sequence[str], where: str) -> FloatArray:
    values = np.empty(len(fields))
    for at, field in enumerate(fields):
        try:
            values[at] = np.nan if field in ("NA", "nan", "NaN") else float(field)
        except ValueError:
            raise FormatError(f"field {at + 2} is not a number", where=where) from None
    return values


def _read_plain(path: Path, sample_ids: Sequence[str]) -> Offsets:
    rows = read_rows(path, repeated=True)
    names = [n for n in rows.table.columns if n not in ("sample_id", "phenotype")]
    if not names:
        raise FormatError(f"{path.name} has no offset", where=str(path), hint="a column offset, or one per contig")
    if not rows.table["sample_id"].is_in(list(sample_ids)).any():
        raise _nobody(path)
    frame = rows.table.with_columns(rows.numbers(n).alias(n) for n in names)
    if "phenotype" in frame.columns and (unnamed := frame["phenotype"].is_null()).any():
        raise FormatError("a row names no phenotype", where=rows.where(unnamed))
    groups = frame["phenotype"].unique().sort().to_list() if "phenotype" in frame.columns else [ANY]
    values = {}
    for group in groups:
        part = frame if group == ANY else frame.filter(pl.col("phenotype") == group)
        if part["sample_id"].is_duplicated().any():
            twice = frame.select("sample_id", *(["phenotype"] if group != ANY else [])).is_duplicated()
            raise FormatError("one sample has two offsets", where=rows.where(twice), hint="a column phenotype: several")
        asked = pl.DataFrame({"sample_id": pl.Series(list(sample_ids), dtype=pl.String)})
        joined = asked.join(part.select("sample_id", *names), on="sample_id", how="left", maintain_order="left")
        values[str(group)] = {
            ANY if name.lower() == "offset" else normalise_contig(name): joined[name]
            .cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
            for name in names
        }  # fmt: skip
    return Offsets(tuple(sample_ids), values)
