"""The samples of a genotype file: which are loaded, under which identifiers, with which sex and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError, Identifier, LinkError
from genomix.io.genotype_format import check_sample_ids
from genomix.io.load_options import SexTable
from genomix.io.plink_tables import read_psam
from genomix.io.tables import read_table, read_text


def merge_samples(samples: pl.DataFrame, given: SexTable | None) -> pl.DataFrame:
    """Return the samples with sex and further columns from a mapping or a frame keyed by ``sample_id``.

    What the table does not say of a sample (null, or sex 0) stays as the source has it.

    Raises
    ------
    LinkError: when no sample of ``given`` is in the genotypes, or one is there twice.
    """
    if given is None:
        return samples
    table = given if isinstance(given, pl.DataFrame) else _sex_frame(given)
    if "sample_id" not in table.columns:
        raise FormatError("the table of samples has no column sample_id", hint="it has: " + ", ".join(table.columns))
    twice = table["sample_id"].is_duplicated()
    if twice.any():
        row = int(twice.arg_max() or 0)
        repeated = Identifier("sample", str(table["sample_id"][row]), row + 1)
        raise LinkError("the table of samples names a sample twice", identifiers=(repeated,))
    if "sex" in table.columns and not table["sex"].cast(pl.Int64).fill_null(0).is_in([0, 1, 2]).all():
        raise FormatError("the table of samples has a sex that is not 1 (male), 2 (female) or 0 (unknown)")
    if table.height and not table["sample_id"].is_in(samples["sample_id"].to_list()).any():
        raise LinkError("no sample of the table is in the genotypes", hint="compare both files' identifiers")
    shared = [c for c in table.columns if c in samples.columns and c != "sample_id"]
    joined = samples.join(
        table.rename({c: f"_new_{c}" for c in shared}), on="sample_id", how="left", maintain_order="left"
    )
    known = {
        c: pl.col(f"_new_{c}").cast(pl.Int8).replace(0, None) if c == "sex" else pl.col(f"_new_{c}").cast(pl.String)
        for c in shared
    }
    merged = joined.with_columns(pl.coalesce(new, pl.col(c)).alias(c) for c, new in known.items())
    return merged.with_columns(pl.col("sex").fill_null(0)).drop(f"_new_{c}" for c in shared)


def _sex_frame(given: Mapping[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"sample_id": list(given), "sex": list(given.values())}, schema={"sample_id": pl.String, "sex": pl.Int8}
    )


def choose_samples(samples: pl.DataFrame, wanted: tuple[str, ...] | None) -> npt.NDArray[np.int64] | None:
    """Return the 0-based numbers of the wanted samples in their order, None for all.

    Raises
    ------
    LinkError: when a wanted sample is not there, or is asked for twice.
    """
    if wanted is None:
        return None
    number = {name: i for i, name in enumerate(samples["sample_id"].to_list())}
    absent = [(i, name) for i, name in enumerate(wanted, start=1) if name not in number]
    if absent:
        first = Identifier("sample", absent[0][1], absent[0][0])
        raise LinkError(
            f"{len(absent)} of {len(wanted)} samples asked for are not in the genotypes, the first",
            hint="compare both files' identifiers",
            identifiers=(first,),
        )
    if len(set(wanted)) != len(wanted):
        place = next(i for i, name in enumerate(wanted) if name in wanted[:i])
        raise LinkError("a sample is asked for twice", identifiers=(Identifier("sample", wanted[place], place + 1),))
    return np.array([number[name] for name in wanted], dtype=np.int64)


def family_identifiers(samples: pl.DataFrame, *, double_id: bool, delimiter: str | None, where: str) -> pl.DataFrame:
    """Return the samples with FID by plink2's rules: none by default, FID = IID, or split at a delimiter.

    A split gives FID and IID, or FID, IID and SID; an identifier with fewer or more parts is refused, as plink2 does.
    """
    if delimiter == "":
        raise ConfigError("the delimiter of identifiers is empty", hint="--id-delimiter _, or leave it out")
    if double_id and delimiter is not None:
        raise ConfigError("an identifier cannot be doubled and split at once", hint="--double-id or --id-delimiter")
    if double_id:
        return samples.with_columns(pl.col("sample_id").alias("FID"))
    if delimiter is None:
        return samples
    parts = [name.split(delimiter) for name in samples["sample_id"].to_list()]
    widths = {len(p) for p in parts}
    for ordinal, (name, part) in enumerate(zip(samples["sample_id"].to_list(), parts, strict=True), start=1):
        if not 2 <= len(part) <= 3 or not all(part):
            raise FormatError(
                f"an identifier does not split at {delimiter!r} into FID and IID (and SID)",
                where=where,
                hint="choose another --id-delimiter, or none",
                identifiers=(Identifier("sample", name, ordinal),),
            )
    ids = [part[1] for part in parts]
    check_sample_ids(ids, where=where, families=[p[0] for p in parts])
    split = samples.with_columns(
        pl.Series("sample_id", ids, dtype=pl.String), pl.Series("FID", [p[0] for p in parts], dtype=pl.String)
    )
    if 3 not in widths:
        return split
    return split.with_columns(pl.Series("SID", [p[2] if len(p) == 3 else None for p in parts], dtype=pl.String))


def read_sample_info(path: Path) -> pl.DataFrame:
    """Read a sample table or .psam: sample_id (or IID), sex (1, 2, 0 or male, female), and any labels."""
    frame = read_psam(path) if path.suffix == ".psam" else read_table(path, text=("sample_id", "IID", "#IID"))
    names = {c: "sample_id" for c in ("IID", "#IID") if c in frame.columns} | {"SEX": "sex"}
    frame = frame.rename({k: v for k, v in names.items() if k in frame.columns})
    for name in ("sample_id", "sex"):
        if name not in frame.columns:
            raise FormatError(
                f"sample table has no column {name!r}", where=str(path), hint="it has: " + ", ".join(frame.columns)
            )
    words = pl.col("sex").cast(pl.String).str.to_lowercase()
    sex = words.replace_strict(
        {"1": 1, "m": 1, "male": 1, "2": 2, "f": 2, "female": 2}, default=0, return_dtype=pl.Int8
    )
    unknown = words.is_null() | words.is_in(["0", "u", "unknown", "na", "nan", "", "-9"])
    strange = frame.filter((sex == 0) & ~unknown)["sex"]
    if len(strange):
        raise FormatError(
            f"sample table: {strange[0]!r} is no sex that is known",
            where=str(path),
            hint="1 or male, 2 or female, 0 unknown",
        )
    return frame.with_columns(sex.alias("sex"))


def read_sample_list(path: Path) -> tuple[str, ...]:
    """Read sample identifiers, one a line: IID, or FID and IID (plink2's ``--keep`` form, with or without header)."""
    names: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0] in ("#IID", "#FID", "IID", "FID", "sample_id"):
            continue
        if len(words) > 2:
            raise FormatError(
                f"the line has {len(words)} columns", where=f"{path}:{number}", hint="one identifier, or FID and IID"
            )
        names.append(words[-1])
    if not names:
        raise FormatError(f"{path.name} names no sample", where=str(path))
    return tuple(names)
