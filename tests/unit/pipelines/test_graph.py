"""The plan: order, who reads whom, and what a HASH covers."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genomix.errors import InputNotFoundError
from genomix.provenance import sha256_tree
from genomix_pipelines import graph
from genomix_pipelines.graph import FileHashes, Node, descendants, plan, stamp
from genomix_pipelines.stage import Stage, StageContext
from tests.toy_study import ABSENT, COUNT, READ, STAGES, SUM, ToyStudy, make_study


@pytest.fixture
def study(tmp_path: Path) -> ToyStudy:
    return make_study(tmp_path / "in")


def planned(study: Any, stages: Any = STAGES, device_kind: str = "cpu") -> dict[str, Node]:
    return {node.name: node for node in plan(study, stages, device_kind=device_kind)}


def test_nodes_follow_what_they_need_and_unwanted_stages_are_left_out(study: ToyStudy) -> None:
    assert list(planned(study)) == ["read", "count[a]", "count[e]", "sum"]


def test_the_plan_does_not_depend_on_the_order_in_which_stages_are_given(study: ToyStudy) -> None:
    forward = [(n.name, n.hash) for n in plan(study, STAGES, device_kind="cpu")]
    backward = [(n.name, n.hash) for n in plan(study, reversed(STAGES), device_kind="cpu")]
    by_name = [(n.name, n.hash) for n in plan(study, {s.name: s for s in STAGES}, device_kind="cpu")]
    assert forward == backward == by_name


def test_a_shared_stage_reads_all_targets_and_a_target_s_stage_its_own(study: ToyStudy) -> None:
    again = Stage("again", SUM.run, needs=("count", "read"), per_target=True)
    nodes = planned(study, (*STAGES, again))
    assert set(nodes["sum"].upstream["count"]) == {"a", "e"}
    assert set(nodes["again[a]"].upstream["count"]) == {"a"}
    assert nodes["again[a]"].upstream["read"] == {None: nodes["read"].hash}
    assert nodes["again[e]"].needs == (("count", "e"), ("read", None))


def test_a_study_without_named_targets_runs_each_target_stage_once(tmp_path: Path) -> None:
    nodes = planned(make_study(tmp_path / "in", targets=()))
    assert list(nodes) == ["read", "count", "sum"]
    assert nodes["sum"].upstream["count"] == {None: nodes["count"].hash}


def test_the_hash_covers_contents_not_places(study: ToyStudy, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    shutil.copytree(study.folder, elsewhere)
    os.utime(elsewhere / "words.txt", (1, 1))
    before, moved = planned(study), planned(replace(study, folder=elsewhere))
    assert {n: node.hash for n, node in before.items()} == {n: node.hash for n, node in moved.items()}


@pytest.mark.parametrize("name", ["words.txt", "notes/one.txt"])
def test_one_changed_byte_of_an_input_changes_it_and_all_that_follows(study: ToyStudy, name: str) -> None:
    before = planned(study)
    path = study.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    after = planned(study)
    assert all(before[n].hash != after[n].hash for n in before)


def test_a_renamed_file_in_an_input_folder_changes_the_hash(study: ToyStudy) -> None:
    before = planned(study)["read"].hash
    (study.notes / "one.txt").rename(study.notes / "two.txt")
    assert planned(study)["read"].hash != before


@pytest.mark.parametrize(
    "change",
    [{"parameters": lambda *_: {"extra": 1}}, {"run": lambda context: shutil.rmtree(context.out) or {}}],
    ids=["parameters", "source"],
)
def test_a_change_of_one_stage_reaches_its_readers_only(
    study: ToyStudy, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graph.source_hash
    monkeypatch.setattr(
        graph, "source_hash", lambda run: real(READ.run) if run in (READ.run, COUNT.run, SUM.run) else "x"
    )
    before = planned(study)
    after = planned(study, (READ, replace(COUNT, **change), SUM, ABSENT))
    assert {n for n in before if before[n].hash != after[n].hash} == {"count[a]", "count[e]", "sum"}


def test_the_hash_covers_the_seed_the_device_and_the_versions(study: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(study)
    assert planned(replace(study, seed=2))["read"].hash != before["read"].hash
    assert planned(study, device_kind="cuda")["read"].hash != before["read"].hash
    monkeypatch.setattr(graph, "package_versions", lambda names: dict.fromkeys(names, "9.9"))
    assert planned(study)["read"].hash != before["read"].hash


def test_targets_never_share_a_hash(study: ToyStudy) -> None:
    nodes = planned(study)
    assert nodes["count[a]"].hash != nodes["count[e]"].hash


def test_a_missing_input_is_named_with_its_stage_and_role(study: ToyStudy) -> None:
    study.words.unlink()
    with pytest.raises(InputNotFoundError, match=r"words.txt does not exist \(stage read reads it as its words\)"):
        planned(study)


def test_needs_that_form_a_circle_are_named(study: ToyStudy) -> None:
    def nothing(_context: StageContext) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="circle: one, two"):
        planned(study, (Stage("one", nothing, needs=("two",)), Stage("two", nothing, needs=("one",))))


def test_two_stages_of_one_name_are_refused(study: ToyStudy) -> None:
    with pytest.raises(ValueError, match="two stages are named read"):
        planned(study, (READ, READ))


def test_descendants_are_the_stage_and_all_its_readers(study: ToyStudy) -> None:
    nodes = plan(study, STAGES, device_kind="cpu")
    assert descendants(nodes, "count") == {("count", "a"), ("count", "e"), ("sum", None)}
    assert descendants(nodes, "sum") == {("sum", None)}


def test_each_file_is_read_once_per_run(study: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = graph.sha256_file
    monkeypatch.setattr(graph, "sha256_file", lambda path: read.append(path) or real(path))
    hashes = FileHashes()
    first = hashes.tree(study.folder)
    assert first == hashes.tree(study.folder) == sha256_tree(study.folder)
    assert sorted(read) == sorted([study.words, study.notes / "one.txt"])
    study.words.write_text("something of another length")
    assert hashes.tree(study.folder) != first


def test_the_stamp_sees_a_touched_file(study: ToyStudy) -> None:
    before = stamp(study.folder)
    assert stamp(study.folder) == before
    os.utime(study.words, (5, 5))
    assert stamp(study.folder) != before
