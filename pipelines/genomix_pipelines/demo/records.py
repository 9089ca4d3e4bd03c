"""SIMULATED health records: what a hospital would have written down about the latent people.

Visits, measurements and results carry date and time; diagnoses and dispensed drugs the date alone (midnight, known at
the end of that day). Results of C-reactive protein are known at noon of the next day.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix_pipelines.demo.effects import OUTCOME
from genomix_pipelines.demo.event_list import BY_DAY, STATIC, EventList, unit_number
from genomix_pipelines.demo.people import CONDITIONS, DAY, DAYS_PER_YEAR, NEVER

Array = npt.NDArray[Any]
MINUTE = 60_000_000
NON_HDL_MEAN, NON_HDL_SD, NON_HDL_WITHIN = 160.0, 43.0, 20.0
HDL_MEAN, HDL_SD, HDL_WITHIN = 50.0, 15.0, 6.0
CRP_MEDIAN, CRP_LN_SD = 1.7, math.log(3)
CRP_RELIABILITY = 0.57
"""Share of one reading's variance that is the long-term level (regression dilution ratio, doi:10.1136/bmj.d548)."""

MG_DL_PER_MMOL_L = 38.67
SHARE_OTHER_LABORATORY = 0.15
SHARE_WITHOUT_UNIT = 0.04
DISPENSED_PER_YEAR = 1.1


class Quantity(NamedTuple):
    """A measured quantity without effect: normal around ``mean``; shares of visits that measure it."""

    unit: str
    mean: float
    between_sd: float
    within_sd: float
    decimals: int
    before: float
    after: float


NULL_QUANTITIES = {
    "LAB//alanine_aminotransferase": Quantity("U/L", 30, 6, 4, 0, 0.20, 0.10),
    "LAB//creatinine": Quantity("umol/L", 78, 13, 6, 0, 0.40, 0.20),
    "LAB//haemoglobin": Quantity("g/L", 140, 11, 5, 0, 0.40, 0.20),
    "LAB//sodium": Quantity("mmol/L", 140, 1.6, 1.6, 0, 0.30, 0.10),
    "LAB//thyrotropin": Quantity("m[IU]/L", 2.2, 0.35, 0.25, 2, 0.12, 0.05),
    "MEASUREMENT//body_mass_index": Quantity("kg/m2", 27, 3.5, 0.6, 1, 0.30, 0.15),
    "MEASUREMENT//systolic_pressure": Quantity("mm[Hg]", 131, 13, 9, 0, 0.70, 0.30),
}


class Visits(NamedTuple):
    """Visits: row of the person, time in microseconds, whether it lies before the index visit's day."""

    person: Array
    time: Array
    before: Array

    def sample(self, seed: np.random.Generator, before: Array | float, after: Array | float) -> Visits:
        """Return the visits at which something is measured, given its share among earlier and later visits."""
        chance = np.where(self.before, before, after)
        return self.take(seed.random(self.person.size) < chance)

    def take(self, rows: Array) -> Visits:
        """Return some of the visits."""
        return Visits(*(column[rows] for column in self))


def simulate_records(people: pl.DataFrame, *, seed: np.random.Generator) -> pl.DataFrame:
    """Return the events (schema EVENTS) of these people, sorted by subject and time; equal seeds give equal rows."""
    person = {name: people[name].to_numpy() for name in people.columns if people.schema[name] != pl.String}
    events = EventList()
    _add_static(events, person)
    visits = _add_visits(events, person, seed)
    _add_lipids(events, person, visits, seed)
    _add_crp(events, person, visits, seed)
    _add_glycated_haemoglobin(events, person, visits, seed)
    for code, quantity in NULL_QUANTITIES.items():
        _add_quantity(events, code, quantity, person, visits, seed)
    _add_index_pressure(events, person, seed)
    _add_smoking(events, person, visits, seed)
    _add_conditions(events, person, seed)
    _add_drugs(events, person, seed)
    _add_outcome(events, person, seed)
    _add_traps(events, person, seed)
    return events.frame(people)


def _add_static(events: EventList, person: dict[str, Array]) -> None:
    everyone = np.arange(person["sex"].size)
    events.add("MEDS_BIRTH", everyone, person["birth_day"], precision=BY_DAY)
    for code, sex in (("GENDER//M", 1), ("GENDER//F", 2)):
        rows = everyone[person["sex"] == sex]
        events.add(code, rows, np.zeros(rows.size, dtype=np.int64), precision=STATIC)
    dying = np.flatnonzero(person["death_day"] == person["end_day"])
    events.add("MEDS_DEATH", dying, _day(person, dying, person["death_day"][dying]), precision=BY_DAY)


def _day(person: dict[str, Array], rows: Array, day: Array) -> Array:
    """Return the midnight of a day that is counted from the index visit's day."""
    return np.asarray(person["index_day"][rows] + day.astype(np.int64) * DAY)


def _office_hours(n: int, seed: np.random.Generator) -> Array:
    return np.asarray(seed.integers(8 * 60, 17 * 60, n) * MINUTE)


def _add_visits(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> Visits:
    """Draw visits at irregular times before and after the index visit, and the last one that closes the record."""
    n = person["sex"].size
    earlier = np.repeat(np.arange(n), 3 + seed.poisson(4.0, n))
    earlier_day = -1 - np.floor(seed.random(earlier.size) * (person["history_days"][earlier] - 1))
    later = np.repeat(np.arange(n), 3 + seed.poisson(1.5, n))
    later_day = 14 + np.floor(seed.random(later.size) * (person["end_day"][later] - 14))
    last = np.arange(n)
    rows = np.concatenate([earlier, later, last])
    day = np.concatenate([earlier_day, later_day, person["end_day"]])
    time = _day(person, rows, day) + _office_hours(rows.size, seed)
    events.add("VISIT//outpatient", rows, time)
    events.add("VISIT//index_checkup", last, person["index_time"])
    same_day = np.flatnonzero(seed.random(n) < 0.6)
    result_time = person["index_time"][same_day] + seed.integers(120, 360, same_day.size) * MINUTE
    events.add("VISIT//results", same_day, result_time)
    before = np.concatenate([day < 0, np.zeros(same_day.size, dtype=bool)])
    return Visits(np.concatenate([rows, same_day]), np.concatenate([time, result_time]), before)


def _add_lipids(events: EventList, person: dict[str, Array], visits: Visits, seed: np.random.Generator) -> None:
    """Non-HDL and HDL cholesterol of one panel; ordered more often for older people."""
    chance = 0.45 + 0.005 * (person["age_years"][visits.person] - 55)
    panel = visits.sample(seed, chance, chance * 0.5)
    for code, mean, sd, within, symbol in (
        ("LAB//non_hdl_cholesterol", NON_HDL_MEAN, NON_HDL_SD, NON_HDL_WITHIN, "z_non_hdl"),
        ("LAB//hdl_cholesterol", HDL_MEAN, HDL_SD, HDL_WITHIN, "z_hdl"),
    ):
        level = mean + sd * person[symbol][panel.person] + within * seed.standard_normal(panel.person.size)
        second = _second_laboratory(person, panel, seed)
        mg_dl = np.maximum(level, 15.0)
        value = np.where(second, np.round(mg_dl / MG_DL_PER_MMOL_L, 2), np.round(mg_dl))
        unit = _units("mg/dL", "mmol/L", second, seed)
        events.add(code, panel.person, panel.time, value=value, unit=unit)


def _add_crp(events: EventList, person: dict[str, Array], visits: Visits, seed: np.random.Generator) -> None:
    """C-reactive protein; ordered more often where it is high, so that its absence is not at random."""
    z = person["z_crp"][visits.person]
    taken = visits.sample(seed, np.clip(0.50 + 0.06 * z, 0.2, 0.8), np.clip(0.20 + 0.06 * z, 0.05, 0.4))
    within = CRP_LN_SD * math.sqrt(1 / CRP_RELIABILITY - 1)
    ln_level = math.log(CRP_MEDIAN) + CRP_LN_SD * person["z_crp"][taken.person]
    mg_l = np.maximum(np.exp(ln_level + within * seed.standard_normal(taken.person.size)), 0.1)
    second = _second_laboratory(person, taken, seed)
    value = np.where(second, np.round(mg_l / 10, 2), np.round(mg_l, 1))
    noon_of_next_day = taken.time - taken.time % DAY + DAY + DAY // 2
    events.add(
        "LAB//c_reactive_protein", taken.person, taken.time,
        value=value, unit=_units("mg/L", "mg/dL", second, seed), available=noon_of_next_day,
    )  # fmt: skip


def _second_laboratory(person: dict[str, Array], visits: Visits, seed: np.random.Generator) -> Array:
    """Say which results come from the laboratory with other units: a person's own, with exceptions."""
    return np.asarray(
        person["second_laboratory"][visits.person] ^ (seed.random(visits.person.size) < SHARE_OTHER_LABORATORY)
    )


def _units(first: str, second: str, is_second: Array, seed: np.random.Generator) -> Array:
    """Return unit numbers; some results of the first laboratory come without their unit."""
    lost = seed.random(is_second.size) < SHARE_WITHOUT_UNIT
    return np.where(is_second, unit_number(second), np.where(lost, unit_number(None), unit_number(first)))


def _add_glycated_haemoglobin(
    events: EventList, person: dict[str, Array], visits: Visits, seed: np.random.Generator
) -> None:
    has = person["diabetes"] == 1
    level = np.where(has, 7.3, 5.4) + np.where(has, 0.8, 0.25) * seed.standard_normal(has.size)
    chance = np.where(has, 0.6, 0.12)[visits.person]
    taken = visits.sample(seed, chance, chance * 0.5)
    value = np.round(np.maximum(level[taken.person] + 0.2 * seed.standard_normal(taken.person.size), 4.0), 1)
    events.add("LAB//glycated_haemoglobin", taken.person, taken.time, value=value, unit=unit_number("%"))


def _add_quantity(
    events: EventList, code: str, q: Quantity, person: dict[str, Array], visits: Visits, seed: np.random.Generator
) -> None:
    level = q.mean + q.between_sd * seed.standard_normal(person["sex"].size)
    taken = visits.sample(seed, q.before, q.after)
    value = np.round(level[taken.person] + q.within_sd * seed.standard_normal(taken.person.size), q.decimals)
    events.add(code, taken.person, taken.time, value=value, unit=unit_number(q.unit))


def _add_index_pressure(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> None:
    """Measure blood pressure at the very prediction time: known, because prediction time is inclusive."""
    rows = np.flatnonzero(seed.random(person["sex"].size) < 0.9)
    value = np.round(131 + 16 * seed.standard_normal(rows.size))
    unit = unit_number("mm[Hg]")
    events.add("MEASUREMENT//systolic_pressure", rows, person["index_time"][rows], value=value, unit=unit)


def _add_smoking(events: EventList, person: dict[str, Array], visits: Visits, seed: np.random.Generator) -> None:
    asked = visits.sample(seed, 0.3, 0.1)
    smoker = person["smoker"][asked.person] == 1
    for code, rows in (("OBSERVATION//current_smoker", smoker), ("OBSERVATION//not_smoking", ~smoker)):
        answer = asked.take(rows)
        events.add(code, answer.person, answer.time)


def _add_conditions(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> None:
    """Code every condition once before the index visit's day and again at random; a few begin later."""
    present = {"DIAGNOSIS//type_2_diabetes": person["diabetes"] == 1} | {name: person[name] for name in CONDITIONS}
    for code, has in present.items():
        rows = np.flatnonzero(has)
        first = -1 - np.floor(seed.random(rows.size) * (person["history_days"][rows] - 1))
        again = np.repeat(np.arange(rows.size), seed.poisson(1.2, rows.size))
        again_day = first[again] + np.floor(seed.random(again.size) * (person["end_day"][rows[again]] - first[again]))
        later = np.flatnonzero(~has & (seed.random(has.size) < 0.03))
        later_day = np.floor(1 + seed.random(later.size) * person["end_day"][later])
        everyone = np.concatenate([rows, rows[again], later])
        day = np.concatenate([first, again_day, later_day])
        events.add(code, everyone, _day(person, everyone, day), precision=BY_DAY)


def _add_drugs(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> None:
    """Dispense drugs that follow a condition, a cholesterol level or nothing; none has an effect of its own."""
    use = {
        "DRUG//amlodipine": 0.5 * person["DIAGNOSIS//essential_hypertension"],
        "DRUG//ibuprofen": 0.2 * np.ones(person["sex"].size),
        "DRUG//levothyroxine": 0.85 * person["DIAGNOSIS//hypothyroidism"],
        "DRUG//metformin": 0.7 * (person["diabetes"] == 1),
        "DRUG//omeprazole": 0.18 * np.ones(person["sex"].size),
        "DRUG//salbutamol": 0.8 * person["DIAGNOSIS//asthma"],
        "DRUG//statin": 1 / (1 + np.exp(1.6 - 0.9 * person["z_non_hdl"])),
    }
    for code, chance in use.items():
        users = np.flatnonzero(seed.random(chance.size) < chance)
        span = person["history_days"][users] + person["end_day"][users]
        rows = np.repeat(np.arange(users.size), seed.poisson(DISPENSED_PER_YEAR * span / DAYS_PER_YEAR))
        day = np.floor(seed.random(rows.size) * span[rows]) - person["history_days"][users[rows]]
        events.add(code, users[rows], _day(person, users[rows], day), precision=BY_DAY)


def _add_outcome(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> None:
    """Code the outcome on its date, with its laboratory value and the drug that follows; and disease before index."""
    rows = np.flatnonzero(person["disease_day"] < NEVER)
    day = person["disease_day"][rows]
    events.add(OUTCOME, rows, _day(person, rows, day), precision=BY_DAY)
    troponin = np.round(np.exp(5 + seed.standard_normal(rows.size)))
    time = _day(person, rows, day) + _office_hours(rows.size, seed)
    events.add("LAB//troponin", rows, time, value=troponin, unit=unit_number("ng/L"))
    events.add("DRUG//acetylsalicylic_acid", rows, _day(person, rows, day + 1), precision=BY_DAY)
    prior = np.flatnonzero(person["prior_disease"])
    prior_day = -1 - np.floor(seed.random(prior.size) * (person["history_days"][prior] - 1))
    events.add(OUTCOME, prior, _day(person, prior, prior_day), precision=BY_DAY)


def _add_traps(events: EventList, person: dict[str, Array], seed: np.random.Generator) -> None:
    """Plant what a leak would find: records of the prediction day that follow the outcome but were not yet known."""
    disease = person["disease"].astype(bool)
    pain = np.flatnonzero(seed.random(disease.size) < np.where(disease, 0.6, 0.05))
    events.add("DIAGNOSIS//SIMULATED_chest_pain", pain, person["index_day"][pain], precision=BY_DAY)
    tested = np.flatnonzero(seed.random(disease.size) < 0.4)
    value = np.round(seed.standard_normal(tested.size) + 2 * disease[tested], 2)
    time = person["index_time"][tested] + seed.integers(60, 300, tested.size) * MINUTE
    events.add("LAB//SIMULATED_stress_test", tested, time, value=value, unit=unit_number("{score}"))
