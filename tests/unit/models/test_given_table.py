"""What a table's columns are taken for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genomix.errors import ConfigError, FormatError, GenomixError, LabelError
from genomix.models.given_table import features_of, find_roles, read_rows, roles_from, unseen_levels

TEXT = """id,age,sex,stage,site,y
a,50,F,1,x,yes
a,60,M,2,y,no
b,?,F,1.0,x,yes
c,40,,3,?,no
"""


def written(folder: Path, text: str = TEXT) -> Path:
    path = folder / "t.csv"
    path.write_text(text)
    return path


def test_numbers_texts_and_targets(tmp_path: Path) -> None:
    path = written(tmp_path)
    roles = find_roles(path, "y", subject_column="id", exclude=["site"], categorical=["stage"], missing=["?"])
    assert (roles.objective, roles.positive, roles.negative) == ("binary", "yes", "no")
    assert (roles.numeric, roles.categorical) == (("age",), ("sex", "stage"))
    assert roles_from(roles.as_json()) == roles
    rows, lacking = read_rows(path, roles, labelled=True)
    assert lacking == []
    assert rows["subject_id"].to_list() == [0, 0, 1, 2]
    assert rows["label"].to_list() == [1, 0, 1, 0]
    assert rows["column age"].to_list() == [50, 60, None, 40]
    assert rows["column stage"].to_list() == ["1", "2", "1", "3"]  # 1.0 is the same category as 1


def test_features_of_other_rows_by_what_was_learned(tmp_path: Path) -> None:
    path = written(tmp_path)
    roles = find_roles(path, "y", subject_column="id", exclude=["site"], categorical=["stage"], missing=["?"])
    learned = {
        "table_categories": {
            "sex": {"levels": ["F", "M"], "other": False, "missing": False},
            "stage": {"levels": ["1", "2"], "other": True, "missing": False},
        }
    }
    rows, lacking = read_rows(written(tmp_path, "stage,id\n2.0,z\n9,z\n"), roles, labelled=False, allow_missing=True)
    assert lacking == ["age", "sex"]
    assert unseen_levels(rows, roles, learned) == {"stage": 1}
    block = features_of(rows, roles, learned)
    names = block.columns["name"].to_list()
    assert names[0] == "table:age"
    assert np.isnan(block.values[:, :3]).all()
    assert block.values[:, 3:].tolist() == [[0, 1, 0], [0, 0, 1]]
    with pytest.raises(ConfigError, match="no column 'age'"):
        read_rows(tmp_path / "t.csv", roles, labelled=False)


@pytest.mark.parametrize(
    ("text", "options", "kind", "words"),
    [
        (TEXT, {"target": "z"}, ConfigError, "no column 'z'"),
        (TEXT, {"target": "site"}, ConfigError, "has 3"),
        (TEXT, {"target": "sex"}, ConfigError, "which value of 'sex' means yes"),
        (TEXT, {"target": "sex", "positive": "X"}, ConfigError, "which value of 'sex'"),
        (TEXT, {"target": "sex", "objective": "regression"}, ConfigError, "is not a number"),
        (TEXT, {}, FormatError, "column 'age' holds numbers but in 1 rows, the first is row 3"),
        (TEXT, {"categorical": ["y"]}, ConfigError, "'y' is no feature"),
        ("y\n1\n0\n", {}, ConfigError, "no column is left"),
        ("y,n\n" + "".join(f"{i % 2},a{i}\n" for i in range(300)), {}, FormatError, "300 different texts"),
    ],
)
def test_refusals(tmp_path: Path, text: str, options: dict[str, Any], kind: type[GenomixError], words: str) -> None:
    with pytest.raises(kind, match=words):
        find_roles(written(tmp_path, text), **{"target": "y", **options})


def test_quantities_and_numbers_as_answers(tmp_path: Path) -> None:
    path = written(tmp_path, "y,x\n1.5,1\n2,2\n,3\n7,4\n")
    roles = find_roles(path, "y")
    assert roles.objective == "regression"
    assert read_rows(path, roles, labelled=True)[0]["label"].to_list() == [1.5, 2, None, 7]
    path = written(tmp_path, "y,x\n1,1\n0,2\n1,3\n")
    assert find_roles(path, "y").positive == "1"
    assert find_roles(path, "y", objective="regression").positive is None


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    roles = find_roles(written(tmp_path), "y", subject_column="id", missing=["?"])
    with pytest.raises(LabelError, match="1 rows have another 'y'"):
        read_rows(written(tmp_path, TEXT + "d,1,F,1,x,maybe\n"), roles, labelled=True)
    with pytest.raises(FormatError, match="row 5 has no person"):
        read_rows(written(tmp_path, TEXT + ",1,F,1,x,no\n"), roles, labelled=True)
    with pytest.raises(FormatError, match="'age' is not a number in row 5"):
        read_rows(written(tmp_path, TEXT + "d,old,F,1,x,no\n"), roles, labelled=True)
