"""When a record could first be known, as small tables that teach the rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import ConfigError
from genomix.io.availability import DEFAULT_RULES, add_availability, hospital_stays, read_rules, rules_from
from genomix.io.record_format import to_events


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def events(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"subject_id": [1] * len(rows), "time": [at(t) for t, _ in rows], "code": [c for _, c in rows]},
        schema_overrides={"time": pl.Datetime("us")},
    )


def available(frame: pl.DataFrame, **rules: object) -> dict[str, tuple[str, str]]:
    chosen = rules_from(rules) if rules else DEFAULT_RULES
    found = add_availability(frame, chosen).events
    return {c: (p, str(a)) for c, p, a in found.select("code", "time_precision", "available_time").iter_rows()}


STAY = (("2020-01-01 08:00", "HOSPITAL_ADMISSION//X"), ("2020-01-05 15:30", "HOSPITAL_DISCHARGE//HOME"))


def test_billing_codes_wait_for_the_discharge_of_their_stay() -> None:
    found = available(
        events(
            *STAY,
            ("2020-01-03 00:00", "PROCEDURE//ICD//9//1"),  # a date within the stay
            ("2020-01-01 00:00", "PROCEDURE//ICD//9//2"),  # the day of admission, stamped before it
            ("2020-01-05 15:30", "DIAGNOSIS//ICD//9//3"),  # stamped at discharge: as stamped
            ("2020-01-01 08:00", "DIAGNOSIS//ICD//9//4"),  # stamped at admission
            ("2019-06-01 00:00", "PROCEDURE//ICD//9//5"),  # in no stay: the end of its day
            ("2020-06-01 10:00", "DIAGNOSIS//ICD//9//6"),  # in no stay, with a time: as stamped
        )
    )
    assert found["PROCEDURE//ICD//9//1"] == ("day", "2020-01-05 15:30:00")
    assert found["PROCEDURE//ICD//9//2"] == ("day", "2020-01-05 15:30:00")
    assert found["DIAGNOSIS//ICD//9//3"] == ("second", "2020-01-05 15:30:00")
    assert found["DIAGNOSIS//ICD//9//4"] == ("second", "2020-01-05 15:30:00")
    assert found["PROCEDURE//ICD//9//5"] == ("day", "2019-06-01 23:59:59.999999")
    assert found["DIAGNOSIS//ICD//9//6"] == ("second", "2020-06-01 10:00:00")


def test_a_date_on_the_day_of_discharge_is_known_at_the_end_of_that_day() -> None:
    found = available(events(*STAY, ("2020-01-05 00:00", "HCPCS//x")))
    assert found["HCPCS//x"] == ("day", "2020-01-05 23:59:59.999999")


def test_a_date_that_two_stays_share_counts_from_the_later_discharge() -> None:
    second = (("2020-01-05 20:00", "HOSPITAL_ADMISSION//Y"), ("2020-01-09 10:00", "HOSPITAL_DISCHARGE//HOME"))
    found = available(events(*STAY, *second, ("2020-01-05 00:00", "PROCEDURE//ICD//9//1")))
    assert found["PROCEDURE//ICD//9//1"] == ("day", "2020-01-09 10:00:00")


def test_stays_end_where_the_next_begins() -> None:
    frame = events(
        ("2020-01-01 08:00", "HOSPITAL_ADMISSION//X"), ("2020-01-02 08:00", "HOSPITAL_DISCHARGE//X"),
        ("2020-01-02 08:00", "HOSPITAL_ADMISSION//Y"), ("2020-01-03 08:00", "HOSPITAL_DISCHARGE//Y"),
        ("2020-02-03 08:00", "HOSPITAL_DISCHARGE//Z"),  # no admission
    )  # fmt: skip
    assert hospital_stays(frame).select("admitted", "discharged").rows() == [
        (at("2020-01-01 08:00"), at("2020-01-02 08:00")),
        (at("2020-01-02 08:00"), at("2020-01-03 08:00")),
    ]


def test_midnight_death_is_a_date_and_a_timed_death_is_not() -> None:
    assert available(events(("2020-01-03 00:00", "MEDS_DEATH")))["MEDS_DEATH"][0] == "day"
    assert available(events(("2020-01-03 00:01", "MEDS_DEATH")))["MEDS_DEATH"] == ("second", "2020-01-03 00:01:00")


def test_groups_of_midnights_are_dates_and_a_stray_midnight_is_not() -> None:
    clock = [(f"2020-01-{d:02d} 0{d % 10}:30", "LAB//1") for d in range(1, 20)]
    found = available(events(*clock, ("2020-02-01 00:00", "LAB//2"), ("2020-02-01 00:00", "BMI")))
    assert found["LAB//2"] == ("second", "2020-02-01 00:00:00")
    assert found["BMI"] == ("day", "2020-02-01 23:59:59.999999")


def test_static_facts_have_no_time() -> None:
    frame = events(("2020-01-01 00:01", "A")).with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias("time"))
    assert available(frame)["A"] == ("static", "None")


def test_what_the_source_states_is_kept() -> None:
    frame = events(("2020-01-03 00:00", "PROCEDURE//ICD//1")).with_columns(
        pl.lit(at("2020-03-01 00:00")).cast(pl.Datetime("us")).alias("available_time"),
        pl.lit("day").alias("time_precision"),
    )
    assert available(frame)["PROCEDURE//ICD//1"] == ("day", "2020-03-01 00:00:00")


def test_a_study_overrides_by_prefix_and_by_table(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\nprefix = "DIAGNOSIS//ICD"\navailable = "as_stamped"\nwhy = "problem list"\n'
        '[[rule]]\ntable = "registry"\navailable = "end_of_day"\n'
    )
    frame = events(*STAY, ("2020-01-02 09:00", "DIAGNOSIS//ICD//1"), ("2020-01-02 09:00", "LAB//1")).with_columns(
        pl.Series("table", [None, None, None, "registry"])
    )
    result = add_availability(frame, read_rules(path))
    found = dict(result.events.select("code", "available_time").iter_rows())
    assert found["DIAGNOSIS//ICD//1"] == at("2020-01-02 09:00")
    assert found["LAB//1"] == at("2020-01-02 23:59:59.999999")
    assert "DIAGNOSIS//ICD*: as_stamped (problem list)" in result.applied["rule"].to_list()
    assert result.applied["events"].sum() == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rules": []}, "unknown key 'rules'"),
        ({"rule": [{"prefix": "A", "available": "later"}]}, "available is 'later'"),
        ({"rule": [{"prefix": "A", "available": "discharge", "code": "x"}]}, "unknown key 'code'"),
        ({"rule": [{"available": "discharge"}]}, "needs a prefix or a table"),
        ({"midnight_share": 0.1}, "midnight_share"),
    ],
)
def test_bad_rules_say_what_is_wrong(content: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rules_from(content)


def test_bad_unit_pattern() -> None:
    frame = events(("2020-01-01 10:00", "A"))
    with pytest.raises(ConfigError, match="unit_patterns"):
        to_events(frame, source_format="t", availability=rules_from({"unit_patterns": ["("]}))
