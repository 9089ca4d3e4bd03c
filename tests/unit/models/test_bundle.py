"""Model bundles: they round-trip, and no damaged byte is ever parsed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import FormatError, InputNotFoundError, IntegrityError, OutputError
from genomix.features.matrix import FeatureBlock
from genomix.models import bundle as bundle_module
from genomix.models.bundle import read_bundle, write_bundle
from genomix.models.model import Part, model_named
from genomix.provenance import sha256_file
from genomix.schemas.features import COLUMNS


def dictionary(names: list[str]) -> pl.DataFrame:
    filled = {"family": "table", "rung": "records", "group": "g", "source": "table", "sentence": "what it is"}
    data = {c.name: [filled.get(c.name)] * len(names) for c in COLUMNS.columns} | {"name": names}
    return pl.DataFrame(data, schema={c.name: c.dtype for c in COLUMNS.columns})


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)).astype(np.float32)
    X[::7, 1] = np.nan
    return X, (rng.random(120) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(float)


@pytest.fixture(scope="module", params=["boosted", "linear"])
def written(request, data, tmp_path_factory) -> tuple[Path, str, np.ndarray]:
    X, y = data
    fitted = model_named(request.param).fit(
        Part(X[:80], y[:80]), tuning=Part(X[80:], y[80:]), objective="binary", seed=0, device=CPU
    )
    folder = tmp_path_factory.mktemp("b") / "bundle"
    digest = write_bundle(
        folder, fitted, columns=dictionary(["a", "b", "c"]), learned={"codes": {"vocabulary": ["x"]}},
        metrics={"auroc": 0.7}, about={"target": "t", "seed": 0},
    )  # fmt: skip
    return folder, digest, fitted.predict(X)


def test_round_trip(written, data) -> None:
    folder, digest, expected = written
    found = read_bundle(folder, expect_sha256=digest)
    assert digest == sha256_file(folder / "manifest.json")
    assert np.array_equal(found.fitted.predict(data[0]), expected)
    assert found.learned == {"codes": {"vocabulary": ["x"]}}
    assert found.metrics == {"auroc": 0.7}
    assert found.manifest["about"] == {"target": "t", "seed": 0}
    assert found.columns["name"].to_list() == ["a", "b", "c"]


def test_columns_are_found_by_name_in_any_order(written, data) -> None:
    folder, _, expected = written
    X = data[0]
    shuffled = FeatureBlock(np.column_stack([X[:, 2], X[:, 0] * 9, X[:, 0], X[:, 1]]), dictionary(["c", "z", "a", "b"]))
    found = read_bundle(folder)
    assert np.array_equal(found.predict(shuffled), expected)
    with pytest.raises(FormatError, match="needs column 'b'"):
        found.predict(FeatureBlock(X[:, :2], dictionary(["c", "a"])))


def test_the_same_fit_gives_the_same_bytes(written, data, tmp_path) -> None:
    folder, digest, _ = written
    found = read_bundle(folder)
    again = write_bundle(
        tmp_path / "again", found.fitted, columns=found.columns, learned=found.learned, metrics=found.metrics,
        about=found.manifest["about"],
    )  # fmt: skip
    assert again == digest


def test_one_flipped_bit_in_any_file_is_seen_before_anything_is_parsed(written, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(written[0], folder)

    def parsed(*_: object) -> None:
        pytest.fail("a damaged bundle was parsed")

    monkeypatch.setattr(bundle_module, "model_named", parsed)
    monkeypatch.setattr(bundle_module.pl, "read_parquet", parsed)
    rng = np.random.default_rng(1)
    names = sorted(p.name for p in folder.iterdir())
    assert len(names) == 6
    for name in names:
        sound = (folder / name).read_bytes()
        # Every byte of the manifest, which has no hash of its own; 60 places of the others.
        places = range(len(sound)) if name == "manifest.json" else rng.integers(0, len(sound), 60).tolist()
        for place in places:
            bit = 1 << int(rng.integers(0, 8))
            (folder / name).write_bytes(sound[:place] + bytes([sound[place] ^ bit]) + sound[place + 1 :])
            with pytest.raises(IntegrityError) as caught:
                read_bundle(folder)
            assert name in str(caught.value) or name == "manifest.json"
        (folder / name).write_bytes(sound)


def test_missing_added_and_cut_files_are_named(written, tmp_path) -> None:
    for number, name in enumerate(p.name for p in sorted(written[0].iterdir())):
        folder = tmp_path / str(number)
        shutil.copytree(written[0], folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
        with pytest.raises(IntegrityError, match=name):
            read_bundle(folder)
        (folder / name).unlink()
        with pytest.raises(InputNotFoundError if name == "manifest.json" else IntegrityError):
            read_bundle(folder)
    shutil.copytree(written[0], tmp_path / "more")
    (tmp_path / "more" / "extra.pkl").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"extra\.pkl is not in the manifest"):
        read_bundle(tmp_path / "more")


def test_another_authors_bundle_is_refused_by_its_pin(written) -> None:
    with pytest.raises(IntegrityError, match="not the one that was expected"):
        read_bundle(written[0], expect_sha256="0" * 64)


def test_a_manifest_of_another_kind_is_refused(written, tmp_path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(written[0], folder)
    (folder / "manifest.json").write_text(json.dumps({"files": {}}, indent=1) + "\n")
    with pytest.raises(IntegrityError):
        read_bundle(folder)


def test_nothing_in_it_names_a_person_a_path_or_a_pickle(written, tmp_path) -> None:
    for path in written[0].iterdir():
        data = path.read_bytes()
        assert not data.startswith(b"\x80\x04"), path.name
        for word in (str(tmp_path.parent).encode(), str(Path.home()).encode() + b"/", b"pickle"):
            assert word not in data, path.name


def test_a_complete_bundle_is_never_changed(written) -> None:
    found = read_bundle(written[0])
    before = sha256_file(written[0] / "manifest.json")
    with pytest.raises((OutputError, OSError)):
        write_bundle(written[0], found.fitted, columns=found.columns)
    assert sha256_file(written[0] / "manifest.json") == before


def test_a_dictionary_of_the_wrong_length_is_refused(written, tmp_path) -> None:
    with pytest.raises(FormatError, match="3 columns, the dictionary 2"):
        write_bundle(tmp_path / "x", read_bundle(written[0]).fitted, columns=dictionary(["a", "b"]))
