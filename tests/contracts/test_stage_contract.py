"""Every registered stage keeps the contract, and each check catches a stage that breaks it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomix.registry import members
from genomix_pipelines.graph import plan
from genomix_pipelines.stage import Stage, StageContext
from tests.contracts.registered import by_file
from tests.contracts.stage import (
    check_files,
    check_named_as_its_file,
    check_needs,
    check_parameters,
    check_reads_only_what_it_needs,
    make_studies,
)

STAGES = by_file("genomix_pipelines.stages", "STAGE")
Studies = dict[str, Any]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return make_studies(tmp_path_factory.mktemp("here") / "a")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return make_studies(tmp_path_factory.mktemp("elsewhere") / "other place")


@pytest.mark.parametrize("file", STAGES)
def test_every_stage_keeps_the_contract(file: str, here: Studies, elsewhere: Studies) -> None:
    check_named_as_its_file(file, STAGES)
    check_needs(STAGES[file], STAGES)
    check_reads_only_what_it_needs(STAGES[file])
    check_files(STAGES[file], here)
    check_parameters(STAGES[file], here, elsewhere)


def test_all_stages_make_a_plan_of_every_study(here: Studies, elsewhere: Studies) -> None:
    for name in here:
        first, second = (plan(studies[name], STAGES.values(), device_kind="cpu") for studies in (here, elsewhere))
        assert [(n.name, n.hash) for n in first] == [(n.name, n.hash) for n in second]
        assert first[-1].stage.name == "report"


def _run(context: StageContext) -> dict[str, Any]:
    return {"read": str(context.folder("features"))}


LONE = Stage("lone", _run)
_CALLS = itertools.count()


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (replace(LONE, needs=("split", "weather")), r"needs \['weather'\], which are no stages"),
        (replace(LONE, needs=("split", "split")), "names a stage twice"),
        (replace(LONE, needs=("lone",)), "needs itself"),
        (replace(STAGES["split"], needs=("report",)), "needs itself"),
    ],
)
def test_wrong_needs_are_caught(stage: Stage, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_needs(stage, STAGES)


def test_a_stage_that_reads_what_it_does_not_need_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"lone reads \['features'\], which it does not need"):
        check_reads_only_what_it_needs(LONE)
    check_reads_only_what_it_needs(replace(LONE, needs=("features",)))


def test_a_name_that_is_not_the_files_or_not_unique_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"in other\.py is named 'lone'"):
        check_named_as_its_file("other", {"other": LONE})
    with pytest.raises(AssertionError, match="other and lone name their stages"):
        check_named_as_its_file("lone", {"other": LONE, "lone": LONE})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (lambda study, _: {"path": study.records.path}, "an absolute path among the parameters"),
        (lambda study, _: {"nested": [{"path": str(study.records.path)}]}, "an absolute path among the parameters"),
        (lambda study, _: {str(study.records.path): 1}, "an absolute path among the parameters"),
        (lambda *_: {"share": np.float32(0.5)}, "parameters are not JSON"),
        (lambda *_: {"share": float("nan")}, "parameters are not JSON"),
        (lambda study, _: {"place": study.records.path.parent.name}, "depend on where the study lies"),
        (lambda *_: {"call": next(_CALLS)}, "change from call to call"),
    ],
)
def test_wrong_parameters_are_caught(parameters: Any, message: str, here: Studies, elsewhere: Studies) -> None:
    stage = replace(LONE, parameters=parameters, wanted=lambda study: study.records is not None)
    with pytest.raises(AssertionError, match=message):
        check_parameters(stage, here, elsewhere)


def test_a_stage_that_nobody_wants_is_caught(here: Studies, elsewhere: Studies) -> None:
    with pytest.raises(AssertionError, match="no study wants it"):
        check_parameters(replace(LONE, wanted=lambda _: False), here, elsewhere)


def test_a_relative_input_is_caught(here: Studies) -> None:
    with pytest.raises(AssertionError, match="words depends on the working folder"):
        check_files(replace(LONE, files=lambda *_: {"words": Path("words.txt")}), here)


def test_the_registry_knows_every_stage() -> None:
    assert members("genomix_pipelines.stages", "STAGE") == {stage.name: stage for stage in STAGES.values()}
