"""Any table as rows for a model: which column is what, labels, and features that a bundle can make again.

Columns whose every value is a number are numbers; other columns are texts, one column of 0 and 1 per level that enough
training people hold (:mod:`genomix.features.families.table_categories`). Nothing else is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.device import CPU
from genomix.errors import ConfigError, FormatError, LabelError
from genomix.features.assemble import load_families
from genomix.features.family import FeatureInputs, Learned
from genomix.features.matrix import FeatureBlock, join_blocks
from genomix.io.tables import numbers_of, read_table, read_text_columns
from genomix.models.model import Objective

KIND = "table"
MOST_LEVELS = 200
"""A text column of more different texts is refused unless it is listed: it may name people."""
FAMILIES = ("table", "table_categories")


@dataclass(frozen=True)
class TableRoles:
    """What the columns of a table are; everything that a bundle must know to read another table.

    ``positive`` and ``negative`` are the texts of a yes/no target; both None for a number.
    """

    target: str
    objective: Objective
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    subject_column: str | None = None
    positive: str | None = None
    negative: str | None = None
    missing: tuple[str, ...] = ()
    min_subjects: int = 20

    def as_json(self) -> dict[str, Any]:
        """Return the roles as JSON-able values, for a bundle's manifest."""
        return {"kind": KIND, **{k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}}


def roles_from(about: Mapping[str, Any]) -> TableRoles:
    """Return the roles that a bundle's manifest states."""
    known = TableRoles.__dataclass_fields__
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items() if k in known}
    return TableRoles(**given)


def find_roles(
    path: Path,
    target: str,
    *,
    objective: Objective | None = None,
    positive: str | None = None,
    subject_column: str | None = None,
    exclude: Sequence[str] = (),
    categorical: Sequence[str] = (),
    missing: Sequence[str] = (),
    min_subjects: int = 20,
) -> TableRoles:
    """Look at a table and say what each column is.

    Parameters
    ----------
    objective: None finds it: two values of the target are a yes/no outcome, numbers a regression.
    positive: which of two texts means yes; needed unless they are 0 and 1 (or false and true).
    exclude: columns that are no features. categorical: columns of numbers that are categories, or texts of any number.

    Raises
    ------
    ConfigError: a column that is not there, or a target that fits no objective. FormatError: a broken table, or a text
        column of too many different texts.
    """
    names = read_table(path, as_text=True).columns
    used = [target, *([subject_column] if subject_column else []), *exclude, *categorical]
    texts = read_text_columns(path, list(dict.fromkeys([*used, *names])), missing=missing)
    left_out = {target, *([subject_column] if subject_column else []), *exclude}
    if clash := sorted(left_out & set(categorical)):
        raise ConfigError(f"{clash[0]!r} is no feature and cannot be categorical too")
    found, yes, no = _target(texts[target], objective, positive, path)
    numeric, levels = [], []
    for name in (n for n in names if n not in left_out):
        if name not in categorical and _is_number(texts[name]):
            numeric.append(name)
            continue
        if name not in categorical:
            _refuse_almost_numbers(texts[name], path)
        if name not in categorical and (n := texts[name].n_unique()) > MOST_LEVELS:
            raise FormatError(
                f"column {name!r} holds {n:,} different texts", where=str(path),
                hint=f"leave it out (--exclude {name}), or list it (--categorical {name}) if these are categories",
            )  # fmt: skip
        levels.append(name)
    if not numeric and not levels:
        raise ConfigError("no column is left as a feature", where=str(path))
    return TableRoles(
        target, found, tuple(numeric), tuple(levels), subject_column, yes, no, tuple(missing), min_subjects
    )  # fmt: skip


def _refuse_almost_numbers(texts: pl.Series, path: Path) -> None:
    """Raise where most values of a column are numbers: the others are mistakes, or say that nothing is known."""
    number = texts.cast(pl.Float64, strict=False).is_finite().fill_null(value=False)
    wrong = texts.is_not_null() & ~number
    if number.sum() > wrong.sum() > 0:
        raise FormatError(
            f"column {texts.name!r} holds numbers but in {int(wrong.sum()):,} rows, the first is row "
            f"{int(wrong.arg_max() or 0) + 1}", where=str(path),
            hint=f"say what stands for nothing (--missing), or that these are categories (--categorical {texts.name})",
        )  # fmt: skip


def _is_number(texts: pl.Series) -> bool:
    numbers = texts.cast(pl.Float64, strict=False)
    return bool((texts.is_null() | numbers.is_finite()).fill_null(value=False).all()) and texts.is_not_null().any()


def _target(
    texts: pl.Series, objective: Objective | None, positive: str | None, path: Path
) -> tuple[Objective, str | None, str | None]:
    values = texts.drop_nulls().unique().sort().to_list()
    number = _is_number(texts)
    if objective == "regression" or (objective is None and number and len(values) > 2 and positive is None):
        if not number:
            raise ConfigError(f"target {texts.name!r} is not a number in every row", where=str(path))
        return "regression", None, None
    if len(values) != 2:
        shown = ", ".join(repr(v) for v in values[:5]) + (" ..." if len(values) > 5 else "")
        raise ConfigError(
            f"a yes/no target has two values, {texts.name!r} has {len(values)}: {shown}", where=str(path),
            hint="--objective regression for a quantity; leave rows with other values out",
        )  # fmt: skip
    if positive is None:
        positive = next((v for v in values if v.lower() in ("1", "true", "yes", "1.0")), None)
    if positive is None or positive not in values:
        raise ConfigError(
            f"which value of {texts.name!r} means yes is not clear: {values[0]!r} or {values[1]!r}", where=str(path),
            hint=f"--positive {values[1]}",
        )  # fmt: skip
    return "binary", positive, next(v for v in values if v != positive)


def read_rows(
    path: Path, roles: TableRoles, *, labelled: bool, allow_missing: bool = False
) -> tuple[pl.DataFrame, list[str]]:
    """Return a table's rows as features need them, and which feature columns it lacks.

    Parameters
    ----------
    labelled: whether the target must be there. allow_missing: whether feature columns may be absent (then empty).

    Returns
    -------
    row, subject_id (people numbered from 0), subject (their text; the row's number without a subject column), label
    (Float64, null where the table has none), then the feature columns, typed.

    Raises
    ------
    ConfigError: an absent column. FormatError: a number that is none, or a row without a person. LabelError: a value of
        the target that the roles do not know.
    """
    return table_rows(_texts(path, roles, labelled, allow_missing), roles, path)


def _texts(path: Path, roles: TableRoles, labelled: bool, allow_missing: bool) -> pl.DataFrame:
    names = read_table(path, as_text=True).columns
    wanted = [*([roles.target] if labelled or roles.target in names else []), *roles.numeric, *roles.categorical]
    wanted += [roles.subject_column] if roles.subject_column else []
    if allow_missing:
        features = {*roles.numeric, *roles.categorical}
        wanted = [n for n in wanted if n in names or n not in features]
    return read_text_columns(path, list(dict.fromkeys(wanted)), missing=roles.missing)


def table_rows(texts: pl.DataFrame, roles: TableRoles, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return rows as :func:`read_rows` does, from the texts of its columns."""
    lacking = [n for n in (*roles.numeric, *roles.categorical) if n not in texts.columns]
    texts = texts.with_columns(pl.lit(None, dtype=pl.String).alias(n) for n in lacking)
    row = pl.Series("row", np.arange(texts.height), dtype=pl.Int64)
    subject = row.cast(pl.String) if roles.subject_column is None else texts[roles.subject_column]
    if subject.null_count():
        at = int(subject.is_null().arg_max() or 0) + 1
        raise FormatError(f"row {at} has no person in {roles.subject_column!r}", where=str(path))
    label = _labels(texts[roles.target], roles, path) if roles.target in texts.columns else pl.Series(
        [None] * texts.height, dtype=pl.Float64
    )  # fmt: skip
    frame = pl.DataFrame({"row": row, "subject": subject}).with_columns(
        pl.col("subject").rank("dense").cast(pl.Int64).alias("subject_id") - 1, label.alias("label"),
        *(numbers_of(texts[n], path).alias(_feature(n)) for n in roles.numeric),
        *(_level(texts[n]).alias(_feature(n)) for n in roles.categorical),
    )  # fmt: skip
    return frame, lacking


def _feature(name: str) -> str:
    """Return the name of a feature column beside row, subject, subject_id and label."""
    return f"column {name}"


def _level(texts: pl.Series) -> pl.Series:
    """Write numbers one way: one table says 4, another 4.0, and both mean the same category."""
    number = texts.cast(pl.Float64, strict=False)
    whole = number.is_finite() & (number == number.round()) & (number.abs() < 2**53)
    frame = pl.DataFrame({"text": texts, "number": number, "whole": whole.fill_null(value=False)})
    plain = pl.col("number").cast(pl.Int64, strict=False).cast(pl.String)
    return frame.select(pl.when("whole").then(plain).otherwise("text")).to_series()


def unseen_levels(rows: pl.DataFrame, roles: TableRoles, learned: Mapping[str, Learned]) -> dict[str, int]:
    """Return for each column of categories how many rows have one that training did not keep, where there are any."""
    known = learned.get("table_categories", {})
    found: dict[str, int] = {}
    for name in roles.categorical:
        values = rows[_feature(name)]
        n = int((values.is_not_null() & ~values.is_in(known[name]["levels"]).fill_null(value=False)).sum())
        found |= {name: n} if n else {}
    return found


def _labels(texts: pl.Series, roles: TableRoles, path: Path) -> pl.Series:
    if roles.objective == "regression":
        return numbers_of(texts, path)
    known = {roles.positive: 1.0, roles.negative: 0.0}
    found = texts.replace_strict(known, default=None, return_dtype=pl.Float64)
    wrong = texts.filter(found.is_null() & texts.is_not_null())
    if len(wrong):
        raise LabelError(
            f"{len(wrong):,} rows have another {roles.target!r} than {roles.positive!r} and {roles.negative!r}",
            where=str(path), hint="leave these rows out, or empty the cell",
        )  # fmt: skip
    return found


def inputs_of(rows: pl.DataFrame, roles: TableRoles) -> tuple[FeatureInputs, dict[str, dict[str, Any]]]:
    """Return what the table's families read, and their options."""
    features = [*roles.numeric, *roles.categorical]
    table = rows.select(
        "subject_id", pl.col("row").alias("source_row"), *(pl.col(_feature(n)).alias(n) for n in features)
    )
    index = rows.select(
        "row", "subject_id", pl.lit(None, dtype=pl.Datetime("us")).alias("prediction_time"),
        pl.col("subject_id").alias("kin_group"), pl.col("row").alias("source_row"),
    )  # fmt: skip
    options: dict[str, dict[str, Any]] = {}
    if roles.numeric:
        options["table"] = {"columns": list(roles.numeric)}
    if roles.categorical:
        options["table_categories"] = {
            "columns": [{"column": n} for n in roles.categorical], "min_subjects": roles.min_subjects
        }  # fmt: skip
    return FeatureInputs(index, CPU, table=table), options


def features_of(rows: pl.DataFrame, roles: TableRoles, learned: Mapping[str, Learned]) -> FeatureBlock:
    """Return the features of rows by what a bundle learned."""
    inputs, options = inputs_of(rows, roles)
    blocks = []
    for name, family in load_families(list(options)).items():
        block = family.compute(inputs, options[name])
        if family.learns:
            block = family.apply(block, inputs, options[name], dict(learned.get(name, {})))
        blocks.append(block)
    return join_blocks(blocks, rows.height)
