"""One association run: results to a sink as they come, counts by reason and the inflation factor at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from genomix.io.plink import GenotypeStore
from genomix.variants.assoc_block import AssociationOptions
from genomix.variants.assoc_design import People
from genomix.variants.assoc_summary import phenotype_summary, sample_flow
from genomix.variants.association import Progress, iterate_associations
from genomix.variants.association_plots import PlotPoints


class AssociationRun(NamedTuple):
    """``summary``: counts in and out by reason, lambda GC. ``points`` by phenotype: what the plots show."""

    summary: dict[str, Any]
    points: dict[str, PlotPoints]


def run_association(
    store: GenotypeStore,
    people: People,
    write: Callable[[pl.DataFrame], None],
    *,
    options: AssociationOptions | None = None,
    variants: Any = None,
    threads: int = 1,
    keep_points: bool = False,
    progress: Progress | None = None,
) -> AssociationRun:
    """Test all variants, giving each block of results to ``write``; see ``association.associate``.

    Memory holds a few blocks, and -log10(P) of every test (with ``keep_points`` also where it lies).
    """
    codes: dict[str, Counter[str]] = {name: Counter() for name in people.names}
    logs: dict[str, list[Any]] = {name: [] for name in people.names}
    places: dict[str, list[pl.DataFrame]] = {name: [] for name in people.names}
    firth: Counter[str] = Counter()
    for frame in iterate_associations(
        store, people, options=options, variants=variants, threads=threads, progress=progress
    ):
        write(frame)
        for name in people.names:
            part = frame.filter(pl.col("phenotype") == name)
            codes[name].update(dict(part["errcode"].value_counts().iter_rows()))
            firth[name] += int((part["model"] == "firth").sum())
            tested = part.filter(pl.col("minus_log10_p").is_not_null())
            logs[name].append(tested["minus_log10_p"].to_numpy())
            if keep_points:
                places[name].append(tested.select("contig", "position"))
    joined = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in logs.items()}
    phenotypes = {
        name: phenotype_summary(dict(sorted(codes[name].items())), joined[name], firth[name]) for name in people.names
    }
    points = {name: _points(parts, joined[name]) for name, parts in places.items() if keep_points and parts}
    return AssociationRun({"samples": sample_flow(people), "phenotypes": phenotypes}, points)


def _points(parts: list[pl.DataFrame], minus_log10_p: Any) -> PlotPoints:
    frame = pl.concat(parts)
    return PlotPoints(frame["contig"].to_numpy().astype(str), frame["position"].to_numpy(), minus_log10_p)
