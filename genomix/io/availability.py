"""When a record could first be known: rules by code prefix or source table, reviewable and replaceable by a study.

A record has a time (when it happened) and an available time (when a prediction may use it). The shipped rules rest on
what the stamps of MIMIC-IV (demo release as MEDS, 100 people, 916,166 events) really are:

* ``DIAGNOSIS//ICD`` (4,506) and ``DRG`` (454): every stamp equals a discharge of the person. The stamp is the
  discharge, so availability is right as stamped; the rule still says ``discharge``, because other sources stamp the
  same codes at admission.
* ``PROCEDURE//ICD`` (722) and ``HCPCS`` (58): every stamp is midnight, 779 of 780 on a day within an admission. They
  are dates, and they are coded for billing: available from the discharge of that admission, never before the end of
  their day. As stamped they would be known up to a whole stay too early.
* Outpatient measurements (blood pressure, weight, height, body mass index; 2,838): every stamp is midnight. No rule
  names them; they are found by the share of midnights (below).
* ``MEDS_DEATH`` (31): 16 stamps are midnight (dates from a register), 15 carry a time (deaths in hospital), and three
  of those are later than a discharge that is stamped 00:00 of the same day. Midnights count from the end of the day.
* ``MEDS_BIRTH``: 1 January of a year; the day is not known.
* ``LAB``, ``INFUSION``, ``MEDICATION``, ``TRANSFER_TO`` and the rest: 0 to 5.5 % midnights, as a clock gives them.
  Laboratory results carry the time of the specimen, not of the result (MIMIC has ``storetime``; this release lost it):
  a result may be known hours after its stamp. No rule here can mend that.

Codes without a rule are grouped by their first ``//`` part; where at least ``midnight_share`` of a group's stamps are
midnight, its midnights are dates. That is a property of the source, so it is read from the whole file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from genomix.errors import ConfigError, InputNotFoundError

ACTIONS = ("as_stamped", "end_of_day", "end_of_day_if_midnight", "discharge")
_DAY_END = pl.duration(days=1) - pl.duration(microseconds=1)


@dataclass(frozen=True)
class AvailabilityRule:
    """One line of the table: records whose code starts with ``prefix`` (and, if given, come from ``table``).

    ``available`` is ``as_stamped``; ``end_of_day``: the stamp is a date; ``end_of_day_if_midnight``: a midnight stamp
    is a date; ``discharge``: from the discharge of the admission that the record falls into.
    """

    prefix: str
    available: str
    why: str
    table: str | None = None


@dataclass(frozen=True)
class AvailabilityRules:
    """The rules of a study: the most specific rule wins (one with a table first, then the longer prefix).

    ``admission`` and ``discharge`` are the code prefixes that begin and end a hospital stay. ``unit_patterns`` are
    regular expressions whose group is the unit inside a code, for sources without a unit column.
    """

    rules: tuple[AvailabilityRule, ...]
    admission: str = "HOSPITAL_ADMISSION"
    discharge: str = "HOSPITAL_DISCHARGE"
    midnight_share: float = 0.99
    unit_patterns: tuple[str, ...] = (
        "^LAB//.*?//(.+)$",
        "^SUBJECT_FLUID_OUTPUT//.*?//(.+)$",
        "^SUBJECT_WEIGHT_AT_INFUSION//(.+)$",
    )


_BILLING = "coded for billing after the stay"
DEFAULT_RULES = AvailabilityRules(
    (
        AvailabilityRule("DIAGNOSIS//ICD", "discharge", _BILLING),
        AvailabilityRule("PROCEDURE//ICD", "discharge", _BILLING),
        AvailabilityRule("DRG//", "discharge", _BILLING),
        AvailabilityRule("HCPCS//", "discharge", _BILLING),
        AvailabilityRule("MEDS_DEATH", "end_of_day_if_midnight", "registers of deaths hold dates"),
        AvailabilityRule("MEDS_BIRTH", "end_of_day_if_midnight", "a date, often of the year alone"),
    )
)


class Available(NamedTuple):
    """Events with ``time_precision`` and ``available_time``, and how many events each rule decided."""

    events: pl.DataFrame
    applied: pl.DataFrame


def read_rules(path: Path) -> AvailabilityRules:
    """Read a study's rules from TOML: ``[[rule]]`` tables (prefix, available, why, table) before the shipped ones.

    Top-level keys ``admission``, ``discharge``, ``midnight_share``, ``unit_patterns`` replace the defaults;
    ``shipped = false`` leaves the shipped rules out.

    Raises
    ------
    ConfigError: an unknown key or action, or a broken TOML file.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    return rules_from(content, where=str(path))


def rules_from(content: Mapping[str, Any], *, where: str = "availability rules") -> AvailabilityRules:
    """Return the rules that a mapping states, as :func:`read_rules` does for a file."""
    allowed = ("rule", "shipped", "admission", "discharge", "midnight_share", "unit_patterns")
    _no_unknown(content, allowed, where)
    own = tuple(_rule(table, f"{where}: rule {i}") for i, table in enumerate(content.get("rule", ()), start=1))
    share = float(content.get("midnight_share", DEFAULT_RULES.midnight_share))
    if not 0.5 <= share <= 1:
        raise ConfigError(f"midnight_share is {share:g}", where=where, hint="a share from 0.5 to 1")
    shipped = DEFAULT_RULES.rules if content.get("shipped", True) else ()
    replaced = {(r.table, r.prefix) for r in own}
    return AvailabilityRules(
        own + tuple(r for r in shipped if (r.table, r.prefix) not in replaced),
        str(content.get("admission", DEFAULT_RULES.admission)),
        str(content.get("discharge", DEFAULT_RULES.discharge)),
        share,
        tuple(str(p) for p in content.get("unit_patterns", DEFAULT_RULES.unit_patterns)),
    )


def _rule(table: Mapping[str, Any], where: str) -> AvailabilityRule:
    _no_unknown(table, ("prefix", "available", "why", "table"), where)
    if table.get("available") not in ACTIONS:
        raise ConfigError(f"available is {table.get('available')!r}", where=where, hint="one of: " + ", ".join(ACTIONS))
    source = table.get("table")
    prefix = str(table.get("prefix", ""))
    if not prefix and source is None:
        raise ConfigError("a rule needs a prefix or a table", where=where, hint='prefix = "PROCEDURE//"')
    return AvailabilityRule(
        prefix, str(table["available"]), str(table.get("why", "")), str(source) if source is not None else None
    )


def _no_unknown(content: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(str(k) for k in content if k not in allowed)
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}", where=where, hint="one of: " + ", ".join(allowed))


def add_availability(
    events: pl.DataFrame, rules: AvailabilityRules = DEFAULT_RULES, *, midnights: pl.DataFrame | None = None
) -> Available:
    """Add ``time_precision`` and ``available_time`` to events; what the source states itself is kept.

    Parameters
    ----------
    events: columns subject_id, time (Datetime us), code; optionally table, is_date (the source column held dates),
        time_precision and available_time (kept where not null). All events of a person are here or none.
    midnights: :func:`count_midnights` of the whole source, where ``events`` are a part of it.
    """
    frame = events.with_columns(*(v.alias(n) for n, v in _ABSENT.items() if n not in events.columns))
    frame = _with_action(frame, rules, count_midnights(frame, rules) if midnights is None else midnights)
    midnight = pl.col("time") == pl.col("time").dt.truncate("1d")
    is_day = (
        pl.when(pl.col("time_precision").is_not_null())
        .then(pl.col("time_precision") == "day")
        .otherwise(
            pl.col("is_date")
            | (pl.col("_action") == "end_of_day")
            | (pl.col("_action").is_in(["end_of_day_if_midnight", "discharge"]) & midnight)
        )
    )
    frame = frame.with_columns(is_day.fill_null(False).alias("_is_day"))
    end = pl.when("_is_day").then(pl.col("time").dt.truncate("1d") + _DAY_END).otherwise(pl.col("time"))
    frame = _with_discharge(frame.with_columns(end.alias("_end")), rules)
    precision = (
        pl.when(pl.col("time").is_null()).then(pl.lit("static")).when("_is_day").then(pl.lit("day"))
    ).otherwise(pl.lit("second"))
    found = pl.max_horizontal("_end", "_discharge")
    given = pl.col("available_time").is_not_null()
    frame = frame.with_columns(
        precision.alias("time_precision"),
        pl.coalesce("available_time", found).alias("available_time"),
        pl.when(given).then(pl.lit("stated by the source")).otherwise("_rule").alias("_rule"),
    )
    kept = [c for c in frame.columns if not c.startswith("_") and c not in ("is_date", "table")]
    return Available(frame.select(kept), _applied(frame))


_ABSENT: dict[str, pl.Expr] = {
    "table": pl.lit(None, dtype=pl.String),
    "is_date": pl.lit(False),
    "time_precision": pl.lit(None, dtype=pl.String),
    "available_time": pl.lit(None, dtype=pl.Datetime("us")),
}


def count_midnights(events: pl.DataFrame, rules: AvailabilityRules) -> pl.DataFrame:
    """Return how many stamps are midnight, by table and first part of the code, among codes that no rule names.

    Columns group, table, stamps, midnights; counts of the parts of a source add up.
    """
    frame = events.with_columns(*(v.alias(n) for n, v in _ABSENT.items() if n not in events.columns))
    unnamed = _with_rule_number(frame, rules).filter(pl.col("_number").is_null() & pl.col("time").is_not_null())
    midnight = pl.col("time") == pl.col("time").dt.truncate("1d")
    return (
        unnamed.group_by(pl.col("_group").alias("group"), "table")
        .agg(pl.len().cast(pl.Int64).alias("stamps"), midnight.sum().cast(pl.Int64).alias("midnights"))
        .sort("group", "table")
    )


def _ordered(rules: AvailabilityRules) -> list[AvailabilityRule]:
    return sorted(rules.rules, key=lambda r: (r.table is None, -len(r.prefix), r.prefix, r.table or ""))


def _with_rule_number(frame: pl.DataFrame, rules: AvailabilityRules) -> pl.DataFrame:
    """Add _number, the place of the rule that decides (null without), and _group, the first part of the code."""
    number = pl.lit(None, dtype=pl.Int32)
    for i, rule in reversed(list(enumerate(_ordered(rules)))):
        match = pl.col("code").str.starts_with(rule.prefix)
        if rule.table is not None:
            match &= pl.col("table").eq_missing(pl.lit(rule.table))
        number = pl.when(match).then(pl.lit(i, dtype=pl.Int32)).otherwise(number)
    pairs = frame.select("code", "table").unique().with_columns(
        number.alias("_number"), pl.col("code").str.extract("^(.*?)(?://|$)").alias("_group")
    )  # fmt: skip
    return frame.join(pairs, on=["code", "table"], how="left", nulls_equal=True, maintain_order="left")


def _with_action(frame: pl.DataFrame, rules: AvailabilityRules, midnights: pl.DataFrame) -> pl.DataFrame:
    """Add _action and _rule: by the most specific rule, else by the share of midnights of the code's first part."""
    ordered = _ordered(rules)
    frame = _with_rule_number(frame, rules)
    groups = midnights.select(
        pl.col("group").alias("_group"), "table",
        (pl.col("midnights") >= rules.midnight_share * pl.col("stamps")).alias("_dates"),
    )  # fmt: skip
    frame = frame.join(groups, on=["_group", "table"], how="left", nulls_equal=True, maintain_order="left")
    table = pl.DataFrame(
        {
            "_number": pl.Series(range(len(ordered)), dtype=pl.Int32),
            "_by_rule": pl.Series([r.available for r in ordered], dtype=pl.String),
            "_name": pl.Series([_name(r) for r in ordered], dtype=pl.String),
        }
    )
    frame = frame.join(table, on="_number", how="left", maintain_order="left")
    detected = pl.when(pl.col("_dates").fill_null(False)).then(pl.lit("end_of_day_if_midnight"))
    detected_name = pl.when(pl.col("_dates").fill_null(False)).then(
        pl.lit("no rule; (nearly) all stamps of the code's first part are midnight: dates")
    )
    return frame.with_columns(
        pl.coalesce("_by_rule", detected.otherwise(pl.lit("as_stamped"))).alias("_action"),
        pl.coalesce("_name", detected_name.otherwise(pl.lit("no rule: as stamped"))).alias("_rule"),
    )


def _name(rule: AvailabilityRule) -> str:
    where = f"{rule.prefix}*" + (f" of table {rule.table}" if rule.table is not None else "")
    return f"{where}: {rule.available}" + (f" ({rule.why})" if rule.why else "")


def _with_discharge(frame: pl.DataFrame, rules: AvailabilityRules) -> pl.DataFrame:
    """Add _discharge: the end of the latest stay that began before a ``discharge`` record's own end.

    A stay that ended before the record lies in the past and delays nothing: the later of the two ends counts.
    """
    wanted = frame["_action"] == "discharge"
    stays = hospital_stays(frame, rules)
    if not wanted.any() or not stays.height:
        return frame.with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias("_discharge"))
    keyed = frame.with_row_index("_at")
    inside = (
        keyed.filter(wanted & pl.col("_end").is_not_null())
        .select("_at", "subject_id", "time", "_end")
        .sort("_end", "_at")
        .join_asof(
            stays.sort("admitted"), left_on="_end", right_on="admitted", by="subject_id", strategy="backward",
            check_sortedness=False,
        )
        .join(_ends_of_discharges(frame, rules), on=["subject_id", "discharged"], how="left")
        .select("_at", pl.coalesce("_left", "discharged").alias("_discharge"))
    )  # fmt: skip
    return keyed.join(inside, on="_at", how="left", maintain_order="left").drop("_at")


def _ends_of_discharges(frame: pl.DataFrame, rules: AvailabilityRules) -> pl.DataFrame:
    """Return subject_id, discharged and _left, when a discharge is itself known: a date at the end of its day."""
    return (
        frame.filter(pl.col("code").str.starts_with(rules.discharge) & pl.col("time").is_not_null())
        .group_by("subject_id", pl.col("time").alias("discharged"))
        .agg(pl.col("_end").max().alias("_left"))
    )


def hospital_stays(events: pl.DataFrame, rules: AvailabilityRules = DEFAULT_RULES) -> pl.DataFrame:
    """Return one row per discharge: subject_id, admitted, discharged.

    A stay begins at the earliest admission since the discharge before it; a discharge without one makes no stay.
    """
    dated = events.filter(pl.col("time").is_not_null())
    admissions = dated.filter(pl.col("code").str.starts_with(rules.admission)).select(
        "subject_id", pl.col("time").alias("admitted")
    )
    discharges = (
        dated.filter(pl.col("code").str.starts_with(rules.discharge))
        .select("subject_id", pl.col("time").alias("discharged"))
        .unique()
        .sort("subject_id", "discharged")
        .with_columns(pl.col("discharged").shift(1).over("subject_id").alias("_before"))
    )
    since = pl.col("_before").is_null() | (pl.col("admitted") >= pl.col("_before"))
    return (
        discharges.join(admissions, on="subject_id")
        .filter(since & (pl.col("admitted") <= pl.col("discharged")))
        .group_by("subject_id", "discharged")
        .agg(pl.col("admitted").min())
        .select("subject_id", "admitted", "discharged")
        .sort("subject_id", "discharged")
    )


def _applied(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.filter(pl.col("time").is_not_null())
        .group_by(pl.col("_rule").alias("rule"))
        .agg(
            pl.len().cast(pl.Int64).alias("events"),
            pl.col("_is_day").sum().cast(pl.Int64).alias("date_only"),
            (pl.col("available_time") > pl.col("time")).sum().cast(pl.Int64).alias("later_than_stamp"),
        )
        .sort("rule")
    )
