"""View definitions of a site, their mistakes, and the paths inside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomix.errors import ConfigError
from genomix.io.fhir import FhirFormat
from genomix.io.fhir_paths import Context, compile_path
from genomix.io.fhir_views import read_views
from tests.unit.io.fhir_resources import ALICE, LOINC, at, concept, observation, quantity, read

OWN = """
[systems]
"http://own.org/labs" = "OWN"

[[view]]
resource = "Observation"
subject = "subject"
time = ["effectiveDateTime"]

[[view.event]]
prefix = "LAB"
code = ["code"]
value = ["value.ofType(Quantity).value"]
unit = ["valueQuantity.unit"]
when = [{ path = "category.coding.where(system = 'http://cat').code", in = ["laboratory"] }]

[[view]]
resource = "Goal"
subject = "subject"

[[view.event]]
foreach = "target"
code = ["measure"]
time = ["dueDate", "%resource.startDate"]
fallback = "none"
"""


def test_a_site_replaces_and_adds_views(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    lab = {"category": [{"coding": [{"system": "http://cat", "code": "laboratory"}]}]}
    own = {"code": concept("http://own.org/labs", "K"), "valueQuantity": quantity(4)}
    targets = [
        {"measure": concept(LOINC, "1"), "dueDate": "2020-01-02"},
        {"measure": concept(LOINC, "2")},
        {"measure": {"text": "in words"}},
    ]
    resources = [
        observation(**lab, **own),
        observation(**own),
        {"resourceType": "Goal", "subject": ALICE, "startDate": "2020-01-01", "target": targets},
        {"resourceType": "Patient", "id": "alice", "gender": "female"},
    ]
    source = tmp_path / "a.ndjson"
    source.write_text("\n".join(json.dumps(r) for r in resources))
    found = read(source, FhirFormat(read_views(file)).scan(source))
    assert found.values("time", "code", "numeric_value", "unit") == [
        (at("2020-01-02"), "LOINC//1", None, None),
        (at("2020-01-01"), "LOINC//2", None, None),
        (at("2020-03-01 12:00"), "LAB//OWN//K", 4, "mg per dL"),
        (None, "GENDER//female", None, None),
    ]
    assert found.dropped == [("Observation", "nothing in the row is an event", None, None)]
    file.write_text("shipped = false\n" + OWN)
    assert set(read_views(file).views) == {"Observation", "Goal"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[systems]", "other = 1\n[systems]", "'other'"),
        ('subject = "subject"\ntime', 'subjects = "subject"\ntime', "'subjects'"),
        ("prefix =", "prefixed =", "'prefixed'"),
        ('in = ["lab', 'is = ["lab', "'is'"),
        ('code = ["code"]', 'code = ["code..coding"]', "code:"),
        ('"value.ofType(Quantity).value"', '"value.sum()"', "value:"),
        ("where(system = 'http://cat')", "where(system > 'x')", "path:"),
        ('fallback = "none"', 'fallback = "display"', "fallback"),
        ('time = ["effectiveDateTime"]', "", "time is missing"),
        ('resource = "Goal"', 'resource = "Observation"', "two views"),
        ("[systems]", "[systems", "TOML"),
    ],
)
def test_mistakes_in_views_name_file_and_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in OWN
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_views(file)
    assert words in caught.value.what
    assert "own.toml" in str(caught.value.where)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", [1, 2]),
        ("a[1].b", [2]),
        ("a.first().b", [1]),
        ("a.where(c = 'x').b", [2]),
        ("a.where(d = true).b", [1]),
        ("extension('u').valueCode", ["v"]),
        ("value[x]", [5]),
        ("value.ofType(integer)", [5]),
        ("%resource.root", ["r"]),
        ("a.absent.b", []),
    ],
)
def test_paths(path: str, expected: list[Any]) -> None:
    node = {"a": [{"b": 1, "d": True}, {"b": 2, "c": "x"}], "extension": [{"url": "u", "valueCode": "v"}]}
    node |= {"valueInteger": 5, "_valueString": {}}
    assert compile_path(path).all(node, Context(root={"root": "r"})) == expected
