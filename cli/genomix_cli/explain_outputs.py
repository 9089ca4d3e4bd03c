"""What ``genomix model explain`` writes and prints: contributions, groups, interactions, chains and responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import polars as pl

    from genomix.explain.chain import Sources
    from genomix.explain.groups import GroupOptions, GroupTotals
    from genomix.explain.tree_shap import Explained
    from genomix.features.matrix import FeatureBlock
    from genomix.models.bundle import Bundle

MOST_LINES = 10
"""Sources of one chain that are printed; all of them are in the file."""


@dataclass(frozen=True)
class Asked:
    """What was asked for beside the contributions themselves. Rows are 0-based rows of the data."""

    out: Path
    group_by: str = "group"
    groups_file: bool = False
    group_options: GroupOptions | None = None
    interactions: tuple[int, ...] = ()
    chains: tuple[tuple[int, str | None], ...] = ()
    show_secondary: bool = False
    responses: tuple[int, ...] = ()
    modifiable: tuple[str, ...] = ()
    under: float | None = None

    def beside(self, ending: str) -> Path:
        """Return the name of another output: ``attributions.chain.json`` beside ``attributions.parquet``."""
        return self.out.with_name(f"{self.out.stem}.{ending}")


class Part(NamedTuple):
    """Some explained rows: ``block`` holds the same rows in the same order, ``bundle`` the model."""

    bundle: Bundle
    block: FeatureBlock
    explained: Explained


@dataclass
class Results:
    """What was found; tables are empty where nothing was asked for."""

    totals: GroupTotals
    rows: int = 0
    contributions: int = 0
    interactions: list[pl.DataFrame] = field(default_factory=list)
    pairs: list[pl.DataFrame] = field(default_factory=list)
    chains: list[dict[str, Any]] = field(default_factory=list)
    responses: list[pl.DataFrame] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    terms: dict[int, pl.DataFrame] = field(default_factory=dict)


def rows_of(text: str, option: str) -> tuple[int, ...]:
    """Return row numbers of ``0,3,10-12``, ascending and once each.

    >>> rows_of("3,0,10-12", "--interactions")
    (0, 3, 10, 11, 12)
    """
    from genomix.errors import ConfigError

    found: set[int] = set()
    for part in text.split(","):
        begin, _, end = part.strip().partition("-")
        try:
            first, last = int(begin), int(end or begin)
        except ValueError as error:
            raise ConfigError(f"{option}: {part.strip()!r} is no row", hint="rows from 0 on: 0,3,10-12") from error
        if not 0 <= first <= last or last - first > 1_000_000:
            raise ConfigError(f"{option}: {part.strip()!r} is no range of rows", hint="rows from 0 on: 0,3,10-12")
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def chain_of(text: str) -> tuple[int, str | None]:
    """Return row and column (None for the leading ones) of ``ROW`` or ``ROW:FEATURE``.

    >>> chain_of("12:records:LAB//a:last:365d"), chain_of("3")
    ((12, 'records:LAB//a:last:365d'), (3, None))
    """
    row, _, feature = text.partition(":")
    rows = rows_of(row, "--chain")
    if len(rows) != 1:
        from genomix.errors import ConfigError

        raise ConfigError(f"--chain {text!r} names several rows", hint="--chain ROW or ROW:FEATURE, as often as needed")
    return rows[0], feature or None


def write_explained(parts: Iterable[Part], asked: Asked, sources: Callable[[int, int], Sources]) -> Results:
    """Write every output, all of them or none, and return what is to be printed.

    Parameters
    ----------
    sources: from row and fold to what stands behind the row.
    """
    from contextlib import ExitStack

    from genomix.errors import ConfigError
    from genomix.explain.groups import GroupTotals
    from genomix.provenance import atomic_path, output_errors

    done = Results(GroupTotals(asked.group_by))
    with ExitStack() as stack:
        stack.enter_context(output_errors(asked.out))
        writer = _Table(stack.enter_context(atomic_path(asked.out)))
        groups = None
        if asked.groups_file:
            groups = _Table(stack.enter_context(atomic_path(asked.beside("groups.parquet"))))
        for part in parts:
            _one_part(part, asked, sources, done, writer, groups)
        wanted = {*asked.interactions, *asked.responses, *(row for row, _ in asked.chains)}
        if absent := sorted(wanted - done.seen):
            raise ConfigError(f"there is no explained row {absent[0]}", hint="rows are numbered from 0, as in the data")
        if not writer.close():
            raise ConfigError("there is no row to explain")
        if groups is not None:
            groups.close()
        _write_rest(asked, done)
    return done


class _Table:
    """A Parquet file that grows part by part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def add(self, table: pl.DataFrame) -> None:
        """Append rows."""
        import pyarrow.parquet as pq

        rows = table.to_arrow()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, rows.schema, compression="zstd")
        self._writer.write_table(rows)

    def close(self) -> bool:
        """Finish the file and say whether anything was written."""
        if self._writer is None:
            return False
        self._writer.close()
        return True


def _one_part(
    part: Part, asked: Asked, sources: Callable[[int, int], Sources], done: Results, writer: _Table,
    groups: _Table | None,
) -> None:  # fmt: skip
    from genomix.explain.groups import group_contributions, group_labels, grouped
    from genomix.explain.linear_shap import linear_terms
    from genomix.explain.tree_shap import attributions
    from genomix.models.linear import FittedLinear

    explained = part.explained
    if isinstance(part.bundle.fitted, FittedLinear):
        done.terms[explained.fold] = linear_terms(part.bundle.fitted, part.bundle.columns)
    table = attributions(explained, all_values=False)
    writer.add(table)
    found = grouped(explained, group_labels(explained.columns, asked.group_by, asked.group_options))
    done.totals.add(found)
    if groups is not None:
        groups.add(group_contributions(explained, found))
    done.rows += explained.row.size
    done.contributions += table.height
    place = {row: i for i, row in enumerate(explained.row.tolist())}
    done.seen |= {r for r in (*asked.interactions, *asked.responses, *(c[0] for c in asked.chains)) if r in place}
    _interactions(part, [r for r in asked.interactions if r in place], place, done)
    _responses(part, asked, [r for r in asked.responses if r in place], place, done)
    for row, feature in asked.chains:
        if row in place:
            done.chains += _chains(part, asked, row, feature, place[row], sources)


def _interactions(part: Part, rows: Sequence[int], place: dict[int, int], done: Results) -> None:
    import numpy as np

    from genomix.explain.interactions import explain_interactions, interaction_table, strongest_pairs

    if rows:
        at = np.array([place[r] for r in rows], dtype=np.int64)
        found = explain_interactions(part.bundle.fitted, part.block, at)
        found = replace(found, row=np.array(rows, dtype=np.int64))
        done.interactions.append(interaction_table(found))
        done.pairs.append(strongest_pairs(found))


def _responses(part: Part, asked: Asked, rows: Sequence[int], place: dict[int, int], done: Results) -> None:
    import numpy as np
    import polars as pl

    from genomix.explain.response import in_words, modifiable_columns, responses

    if rows:
        assert asked.under is not None
        changed = modifiable_columns(asked.modifiable, part.block.columns, part.bundle.ranges)
        at = np.array([place[r] for r in rows], dtype=np.int64)
        found = responses(part.bundle.fitted, part.block, at, changed, asked.under)
        numbers = {i: row for row, i in place.items()}
        found = found.with_columns(pl.col("row").replace_strict(numbers, return_dtype=pl.Int64))
        done.responses.append(found)
        done.sentences += in_words(found, part.block.columns, part.bundle.fitted)


def _chains(
    part: Part, asked: Asked, row: int, feature: str | None, at: int, sources: Callable[[int, int], Sources]
) -> Iterator[dict[str, Any]]:
    from genomix.errors import ConfigError
    from genomix.explain.chain import chain, leading_columns

    explained = part.explained
    names = explained.columns["name"].to_list()
    if feature is not None and feature not in names:
        raise ConfigError(f"the model has no column {feature!r}", hint=f"it has {len(names):,}, as in the attributions")
    behind = sources(row, explained.fold)
    for j in leading_columns(explained, at) if feature is None else [names.index(feature)]:
        found = chain(
            explained.columns.row(j, named=True), float(explained.features[at, j]), behind,
            show_secondary=asked.show_secondary,
        )  # fmt: skip
        # A contribution gives a withheld value away: the same value has the same sign in everyone.
        secret = found.value is None and found.withheld > 0
        yield {"row": row, "shap": None if secret else float(explained.values[at, j]), **found.as_json()}


def _write_rest(asked: Asked, done: Results) -> None:
    import polars as pl

    from genomix.explain.response import WORDS
    from genomix.provenance import atomic_path, write_json

    for fold, terms in sorted(done.terms.items()):
        ending = "coefficients.parquet" if len(done.terms) == 1 else f"coefficients.fold_{fold}.parquet"
        with atomic_path(asked.beside(ending)) as path:
            terms.write_parquet(path, compression="zstd")
    if done.interactions:
        with atomic_path(asked.beside("interactions.parquet")) as path:
            pl.concat(done.interactions).write_parquet(path, compression="zstd")
    if done.chains:
        write_json(asked.beside("chain.json"), done.chains)
    if done.responses:
        told = {"meaning": WORDS, "responses": [r for t in done.responses for r in t.to_dicts()]}
        write_json(asked.beside("responses.json"), told)


def print_results(done: Results, asked: Asked, most: int, *, quiet: bool) -> None:
    """Print what matters: groups, the strongest pairs, chains and responses."""
    from genomix.explain.response import WORDS
    from genomix_cli.console import say

    told = done.totals.table().head(most)
    for name, value, share in told.select("group", "mean_abs_shap", "share").iter_rows():
        print(f"{name}\t{value:.4g}" + ("" if share is None else f"\t{share:.1%}"))
    for table in done.pairs:
        for one, other, value in table.head(5).iter_rows():
            print(f"interaction\t{one}\t{other}\t{value:.4g}")
    for found in done.chains:
        _print_chain(found)
    for sentence in done.sentences:
        print(sentence)
    if done.sentences:
        print(f"This is {WORDS}.")
    say(f"{done.contributions:,} contributions to {done.rows:,} predictions in {asked.out}", quiet=quiet)


def _print_chain(found: dict[str, Any]) -> None:
    unit = f" {found['unit']}" if found["unit"] not in (None, "1") else ""
    value = (
        f"{found['value']:.6g}{unit}" if found["value"] is not None else "withheld" if found["withheld"] else "missing"
    )
    n = found["n_sources"]
    checked = f", computed again from {n:,} source{'' if n == 1 else 's'}" if found["checked"] and n else ""
    amount = "withheld" if found["shap"] is None else f"{found['shap']:+.4g}"
    print(f"row {found['row']}: {found['sentence']}: {value} (contribution {amount}{checked})")
    if found["note"]:
        print(f"  {found['note']}")
    for source in found["sources"][:MOST_LINES]:
        if found["kind"] == "records":
            when = "no date" if source["days_before"] is None else f"{source['days_before']:g} d before"
            figure = "" if source["value"] is None else f"\t{source['value']:g} {source['unit'] or ''}".rstrip()
            print(f"  {source['n']}\t{when}\t{source['code']}{figure}")
        else:
            copies = "not called" if source["copies"] is None else f"{source['copies']:g} x {source['counted_allele']}"
            more = "\t".join(str(source[c]) for c in ("gene", "consequence") if source[c])
            place = f"{source['contig']}:{source['position']} {source['ref']}>{source['alt']}"
            print(f"  {source['n']}\t{place}\t{copies}\t{source['term']:+.4g}\t{more}".rstrip())
    if len(found["sources"]) > MOST_LINES:
        print(f"  ... {len(found['sources']) - MOST_LINES:,} more in the file")


def as_json(done: Results, asked: Asked, most: int) -> dict[str, Any]:
    """Return the results as plain values."""
    table = done.totals.table().head(most).drop("by").rename({"group": "name"})
    return {
        "rows": done.rows, "contributions": done.contributions, "importance": table.to_dicts(),
        "group_by": asked.group_by, "interactions": [r for t in done.pairs for r in t.to_dicts()],
        "chains": done.chains, "responses": [r for t in done.responses for r in t.to_dicts()],
    }  # fmt: skip
