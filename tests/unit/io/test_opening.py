"""A fileset is taken as it lies, everything else through a temporary fileset that is gone afterwards."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genomix.io.load_options import LoadOptions
from genomix.io.opening import opened_store
from tests.genotype_store import random_calls, store_of


def test_a_fileset_is_taken_as_it_lies(tmp_path: Path) -> None:
    store = store_of(tmp_path, random_calls(5, 3, seed=1))
    info = pl.DataFrame({"sample_id": ["s1"], "sex": [2], "label": ["x"]})
    with opened_store(store.prefix, LoadOptions(sex=info, threads=2)) as opened:
        assert opened.report is None
        assert opened.store.prefix == store.prefix
        assert opened.store.samples["sex"].to_list() == [0, 2, 0]
        assert opened.store.samples["label"].to_list() == [None, "x", None]


def test_other_input_is_converted_and_removed(tmp_path: Path) -> None:
    store = store_of(tmp_path, random_calls(5, 3, seed=1))
    with opened_store(tmp_path / "calls.vcf") as opened:
        assert opened.report is not None
        assert opened.store.read_calls().tolist() == store.read_calls().tolist()
        prefix = opened.store.prefix
    assert not prefix.parent.exists()
    with opened_store(store.prefix, LoadOptions(samples=("s2",))) as opened:
        assert opened.store.samples["sample_id"].to_list() == ["s2"]
