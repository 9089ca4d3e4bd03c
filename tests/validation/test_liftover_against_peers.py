"""Liftover against the positions that the PGS Catalog gives for the same rsIDs in two builds, and against peers.

Ensembl looked those positions up by rsID, so they owe nothing to any chain file. The peers (PyPI ``liftover`` and
``pyliftover``) are compared where they are installed; last run with liftover 1.5.0 and pyliftover 0.4.1.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.chain import Chain
from genomix.io.contigs import normalise_contig
from genomix.io.liftover import SHARED, lift_records, read_chain

pytestmark = pytest.mark.real_data

CORE = "pgscatalog-utils/pgscatalog.core/tests/data"
FORWARD, BACK = "hg19ToHg38.over.chain.gz", "hg38ToHg19.over.chain.gz"


@pytest.fixture(scope="module")
def chains(real_data: Path) -> dict[str, Chain]:
    return {name: read_chain(real_data / CORE / "chain" / name) for name in (FORWARD, BACK)}


def scoring(path: Path, *columns: str) -> pl.DataFrame:
    """Columns of a scoring file as text, rows without any of them left out."""
    found = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False)
    return found.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in columns))


def as_records(frame: pl.DataFrame, contig: str, position: str) -> pl.DataFrame:
    return frame.select(
        pl.col(contig).alias("contig"),
        pl.col(position).cast(pl.Int64).alias("position"),
        ref=pl.lit("A"),
        alt=pl.lit("G"),
    )


def agreement(records: pl.DataFrame, chain: Chain, contigs: pl.Series, positions: pl.Series) -> tuple[int, int]:
    """Records that came to the stated place, and records in all."""
    done = lift_records(records, chain)
    same = (
        (done.reason == "")
        & (done.records["contig"] == contigs)
        & (done.records["position"] == positions.cast(pl.Int64))
    )
    return int(same.sum()), records.height


def test_rsids_come_to_their_position_in_the_other_build(real_data: Path, chains: dict[str, Chain]) -> None:
    score = scoring(real_data / CORE / "OPGS017309_hmPOS_GRCh38.txt.gz", "chr_name", "chr_position", "hm_chr", "hm_pos")
    score = score.filter(pl.col("hm_source") == "ENSEMBL")
    forth = agreement(as_records(score, "chr_name", "chr_position"), chains[FORWARD], score["hm_chr"], score["hm_pos"])
    back = agreement(as_records(score, "hm_chr", "hm_pos"), chains[BACK], score["chr_name"], score["chr_position"])
    assert score.height > 600
    assert forth == (score.height, score.height)
    assert back == (score.height, score.height)


@pytest.mark.parametrize("name", ["PGS000001", "PGS000002"])
def test_scores_harmonised_to_both_builds_agree(real_data: Path, chains: dict[str, Chain], name: str) -> None:
    columns = ("hm_rsID", "hm_chr", "hm_pos")
    old, new = (scoring(real_data / CORE / f"{name}_hmPOS_GRCh{b}.txt.gz", *columns) for b in (37, 38))
    both = old.join(new, on="hm_rsID", suffix="_new")
    assert both.height >= 75
    same, n = agreement(as_records(both, "hm_chr", "hm_pos"), chains[FORWARD], both["hm_chr_new"], both["hm_pos_new"])
    assert same == n


def test_there_and_back_is_where_it_was(chains: dict[str, Chain]) -> None:
    records = random_places(chains[FORWARD], 100_000, seed=1)
    there = lift_records(records, chains[FORWARD])
    kept = pl.Series(there.reason == "")
    back = lift_records(there.records.filter(kept), chains[BACK])
    returned = pl.Series(back.reason == "")
    same = (back.records["contig"] == records.filter(kept)["contig"]) & (
        back.records["position"] == records.filter(kept)["position"]
    )
    primary = back.records["contig"].is_in([str(i) for i in range(1, 23)])
    lifted = returned & primary & records.filter(kept)["contig"].is_in([str(i) for i in range(1, 23)])
    # the two files come from two nets, which choose between copies differently in few places
    assert same.filter(lifted).mean() > 0.995  # type: ignore[operator]  # a mean of booleans is a number
    assert (back.records["ref"].filter(lifted & same) == "A").all()


def random_places(chain: Chain, n: int, *, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = {name: size for name, size in chain.source_sizes.items() if name != "MT"}
    share = np.array(list(sizes.values())) / sum(sizes.values())
    names = rng.choice(list(sizes), n, p=share)
    places = (rng.random(n) * np.array([sizes[name] for name in names])).astype(np.int64) + 1
    return pl.DataFrame({"contig": names, "position": places}).with_columns(ref=pl.lit("A"), alt=pl.lit("G"))


@pytest.mark.external_tool
@pytest.mark.parametrize("peer", ["liftover", "pyliftover"])
@pytest.mark.parametrize("name", [FORWARD, BACK])
def test_random_places_go_where_a_peer_sends_them(
    real_data: Path, chains: dict[str, Chain], peer: str, name: str
) -> None:
    module = pytest.importorskip(peer)
    path = real_data / CORE / "chain" / name
    with gzip.open(path, "rt") as lines:
        written = {normalise_contig(f[2]): f[2] for f in (line.split() for line in lines if line.startswith("chain"))}
    records = random_places(chains[name], 20_000, seed=3)
    done = lift_records(records, chains[name])
    other = module.ChainFile(str(path), one_based=True) if peer == "liftover" else module.LiftOver(str(path))
    for i, (contig, position, *_) in enumerate(records.iter_rows()):
        if peer == "liftover":
            hits = [(c, p, s) for c, p, s in other[written[contig]][position]]
        else:
            hits = [(c, p + 1, s) for c, p, s, _ in other.convert_coordinate(written[contig], position - 1) or []]
        theirs = [(normalise_contig(c), p, s == "-") for c, p, s in hits]
        ours = [(*done.records.row(i)[:2], bool(done.reverse[i]))] if done.reason[i] == "" else []
        assert ours == theirs or (len(theirs) > 1 and done.reason[i] == SHARED)
