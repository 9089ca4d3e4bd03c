"""Join samples (genotyped specimens) to subjects (people); every collision is an error that names both sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from genomix.errors import Identifier, LinkError
from genomix.features.matrix import RowArray
from genomix.schemas.people import LINK


class LinkReport(NamedTuple):
    """Counts of a join: samples, subjects, how many were joined, and what stayed alone on each side."""

    samples: int
    subjects: int
    linked_samples: int
    linked_subjects: int
    samples_alone: int
    subjects_alone: int


def identity_link(sample_ids: list[str]) -> pl.DataFrame:
    """Return a link for a study without records: subject_id is the 1-based number of the sample.

    >>> identity_link(["b", "a"])["subject_id"].to_list()
    [1, 2]
    """
    check_collisions(sample_ids)
    numbers = pl.Series("subject_id", np.arange(1, len(sample_ids) + 1, dtype=np.int64))
    return pl.DataFrame({"sample_id": pl.Series(sample_ids, dtype=pl.String), "subject_id": numbers})


def same_name_link(sample_ids: list[str], subject_ids: list[int]) -> pl.DataFrame:
    """Return a link for samples whose identifier is the subject's number; others stay alone.

    Raises
    ------
    LinkError: when no sample's identifier is a subject's number.
    """
    known = set(subject_ids)
    rows = [(s, int(s)) for s in sample_ids if s.isdecimal() and int(s) in known]
    link = pl.DataFrame(rows, schema={"sample_id": pl.String, "subject_id": pl.Int64}, orient="row")
    if not rows:
        raise LinkError(
            "no sample has the identifier of a subject",
            hint="give a link file with columns sample_id and subject_id ([link] path = ...)",
        )
    return link


def check_collisions(sample_ids: list[str], *, where: str | None = None) -> None:
    """Raise a :class:`LinkError` when two sample identifiers are equal but for case or white space."""
    seen: dict[str, int] = {}
    for number, sample in enumerate(sample_ids):
        key = sample.strip().casefold()
        if key in seen:
            first = seen[key]
            raise LinkError(
                "two samples have the same identifier up to case and white space",
                where=where,
                hint="rename one of them",
                identifiers=(
                    Identifier("sample", repr(sample_ids[first]), first + 1),
                    Identifier("sample", repr(sample), number + 1),
                ),
            )
        seen[key] = number


def resolve_link(
    link: pl.DataFrame, sample_ids: list[str], subject_ids: list[int], *, where: str | None = None
) -> tuple[pl.DataFrame, LinkReport]:
    """Validate a link table and keep the rows whose sample and subject both exist.

    Parameters
    ----------
    link: schema LINK; a subject may have several samples, a sample has one subject.
    sample_ids: every sample of the genotypes. subject_ids: every subject of the records or labels.

    Raises
    ------
    LinkError: for two subjects of one sample, for identifiers that differ by case or white space only, and when
        nothing is joined at all.
    """
    _check_one_subject(link, where)
    check_collisions(sample_ids, where="genotypes")
    _check_near_misses(link["sample_id"].to_list(), sample_ids, where)
    kept = link.filter(pl.col("sample_id").is_in(sample_ids) & pl.col("subject_id").is_in(subject_ids))
    if not kept.height:
        raise LinkError(
            f"none of the {link.height} linked samples is among the {len(sample_ids)} samples of the genotypes and the "
            f"{len(set(subject_ids))} subjects of the records",
            where=where,
            hint="check that the link file's columns are not swapped and that its identifiers are those of the files",
        )
    report = LinkReport(
        samples=len(sample_ids),
        subjects=len(set(subject_ids)),
        linked_samples=kept["sample_id"].n_unique(),
        linked_subjects=kept["subject_id"].n_unique(),
        samples_alone=len(set(sample_ids) - set(kept["sample_id"].to_list())),
        subjects_alone=len(set(subject_ids) - set(kept["subject_id"].to_list())),
    )
    return LINK.validate(kept.sort("subject_id", "sample_id"), where=where), report


def sample_of_subject(link: pl.DataFrame, sample_ids: list[str], subject_ids: pl.Series) -> RowArray:
    """Return for each subject the 0-based number of its first sample (file order), -1 where it has none."""
    order = pl.DataFrame({"sample_id": sample_ids, "sample": np.arange(len(sample_ids), dtype=np.int64)})
    first = link.join(order, on="sample_id").group_by("subject_id").agg(pl.col("sample").min())
    rows = pl.DataFrame({"subject_id": subject_ids}).join(first, on="subject_id", how="left", maintain_order="left")
    return rows["sample"].fill_null(-1).to_numpy()


def _check_one_subject(link: pl.DataFrame, where: str | None) -> None:
    clash = link.unique().filter(pl.col("sample_id").is_duplicated()).sort("sample_id", "subject_id")
    if clash.height:
        sample, subjects = clash["sample_id"][0], clash.filter(pl.col("sample_id") == clash["sample_id"][0])
        raise LinkError(
            "one sample is linked to two subjects",
            where=where,
            hint="keep one row per sample",
            identifiers=(
                Identifier("sample", sample, link["sample_id"].to_list().index(sample) + 1),
                *(Identifier("subject", str(s)) for s in subjects["subject_id"].to_list()[:2]),
            ),
        )


def _check_near_misses(linked: list[str], sample_ids: list[str], where: str | None) -> None:
    exact = set(sample_ids)
    folded = {s.strip().casefold(): (i, s) for i, s in enumerate(sample_ids)}
    for number, name in enumerate(linked):
        near = folded.get(name.strip().casefold())
        if name not in exact and near is not None:
            raise LinkError(
                "a linked sample differs from one of the genotypes by case or white space only",
                where=where,
                hint="make the two identifiers equal",
                identifiers=(
                    Identifier("sample", repr(name), number + 1),
                    Identifier("sample", repr(near[1]), near[0] + 1),
                ),
            )
