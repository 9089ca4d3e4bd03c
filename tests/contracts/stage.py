"""What every stage promises: a name, upstream stages that exist, and parameters that are plain values without a path.

A check takes the stage, all stages by the name of their file, and a few studies.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genomix.provenance import canonical_json
from genomix_pipelines.study import Study, load_study

ABOUT = '[study]\ntitle = "T"\nquestion = "Q"\noutcome = "O"\npopulation = "P"\nthreshold = 0.2\n'

STUDIES = {
    "task": """
[genotypes]
path = "g.vcf"
build = "GRCh38"
sample_info = "info.tsv"
ancestry_column = "group"
[[scores]]
name = "S"
path = "score.txt"
discovery_cohorts = "none"
[records]
path = "records"
availability = "rules.toml"
[task]
path = "task.yaml"
[link]
path = "link.csv"
[table]
path = "table.tsv"
columns = ["height"]
[features.demographics]
[features.table]
[features.ancestry_pcs]
[features.record_windows]
[features.polygenic_score]
[features.dosages]
""",
    "phenotypes": """
[genotypes]
path = "g.vcf"
[phenotype]
path = "table.tsv"
targets = ["height", "weight"]
[split]
design = "cross_validation"
keep_together = "kinship_clusters"
[features.dosages]
select = "list"
variants = ["1:100:A:G"]
""",
    "records": """
[records]
path = "records"
[task]
path = "task.yaml"
[split]
keep_together = "subjects"
[features.demographics]
[features.record_windows]
""",
    "table": """
[table]
path = "table.tsv"
id_column = "person"
columns = ["height"]
categorical = ["site"]
[outcome]
column = "ill"
positive = [1]
negative = [0]
[split]
keep_together = "subjects"
[features.table]
""",
}
"""Studies that between them want every stage and give every input."""


def make_studies(folder: Path) -> dict[str, Study]:
    """Write the studies and empty inputs into a folder and load them."""
    (folder / "records").mkdir(parents=True)
    for name in ("g.vcf", "info.tsv", "score.txt", "rules.toml", "task.yaml", "link.csv", "table.tsv"):
        (folder / name).write_text("x")
    found = {}
    for name, text in STUDIES.items():
        path = folder / f"{name}.toml"
        path.write_text(ABOUT + text)
        found[name] = load_study(path)
    return found


def nodes_of(stage: Any, studies: Mapping[str, Any]) -> Iterator[tuple[Any, str | None]]:
    """Yield every study that wants the stage, with each target for which it runs."""
    for study in studies.values():
        if stage.wanted(study):
            targets: Sequence[str | None] = tuple(study.targets) or (None,)
            for target in targets if stage.per_target else (None,):
                yield study, target


def check_named_as_its_file(file: str, stages: Mapping[str, Any]) -> None:
    """The name is the file's, and no other stage has it."""
    name = stages[file].name
    assert name == file, f"the stage in {file}.py is named {name!r}"
    twice = [f for f, s in stages.items() if s.name == name]
    assert len(twice) == 1, f"{' and '.join(twice)} name their stages {name!r}"


def check_needs(stage: Any, stages: Mapping[str, Any]) -> None:
    """Every upstream stage exists and is named once; following the needs never leads back."""
    names = {s.name: s for s in stages.values()} | {stage.name: stage}
    unknown = sorted(set(stage.needs) - set(names))
    assert not unknown, f"{stage.name} needs {unknown}, which are no stages"
    assert len(set(stage.needs)) == len(stage.needs), f"{stage.name} names a stage twice in its needs"
    reached, waiting = set[str](), list(stage.needs)
    while waiting:
        name = waiting.pop()
        assert name != stage.name, f"{stage.name} needs itself, through others or not"
        if name not in reached:
            reached.add(name)
            waiting += [n for n in names[name].needs if n in names]


def check_reads_only_what_it_needs(stage: Any) -> None:
    """Folders that the stage's file asks for by name are those of its needs."""
    tree = ast.parse(inspect.getsource(sys.modules[stage.run.__module__]))
    asked = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("folder", "folders", "has")
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }  # fmt: skip
    foreign = sorted(asked - set(stage.needs))
    assert not foreign, f"{stage.name} reads {foreign}, which it does not need"


def check_parameters(stage: Any, here: Mapping[str, Any], elsewhere: Mapping[str, Any]) -> None:
    """Parameters are JSON-able, hold no absolute path, and are the same for the same study in another folder."""
    told = []
    for studies in (here, elsewhere):
        told.append([_parameters(stage, study, target) for study, target in nodes_of(stage, studies)])
    assert told[0], f"{stage.name}: no study wants it: nothing was tested"
    assert told[0] == told[1], f"{stage.name}: parameters depend on where the study lies"


def _parameters(stage: Any, study: Any, target: str | None) -> bytes:
    found = stage.parameters(study, target)
    paths = [text for text in _texts(found) if text.startswith(("/", "~")) or ":\\" in text]
    assert not paths, f"{stage.name}: an absolute path among the parameters: {paths[0]}"
    try:
        text = canonical_json(found)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{stage.name}: parameters are not JSON: {error}") from error
    assert text == canonical_json(stage.parameters(study, target)), f"{stage.name}: parameters change from call to call"
    return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(key)
            yield from _texts(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _texts(part)


def check_files(stage: Any, studies: Mapping[str, Any]) -> None:
    """Input files are absolute paths under a role's name, so that the working folder does not matter."""
    for study, target in nodes_of(stage, studies):
        for role, path in stage.files(study, target).items():
            assert isinstance(role, str), f"{stage.name}: role {role!r} is no text"
            assert "/" not in role, f"{stage.name}: role {role!r} looks like a path"
            assert isinstance(path, Path), f"{stage.name}: {role} is no path"
            assert path.is_absolute(), f"{stage.name}: {role} depends on the working folder"
