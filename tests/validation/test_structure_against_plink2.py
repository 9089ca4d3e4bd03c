"""Thinning, kinship and components against plink2 on real genotypes, variant by variant and digit by digit.

Last run with PLINK v2.00a3.5 (9 Aug 2022). plink2 uses founders only for linkage, so founders are named here; it leaves
a variant without variance alone where no other lies within its window, which genomix removes like any other.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomix.io.plink import GenotypeStore, open_store
from genomix.variants.genotype_counts import autosomal_biallelic, count_genotypes
from genomix.variants.kinship import kinship_pairs
from genomix.variants.ld import prune_pairwise
from genomix.variants.pca import fit_pca_of_store, project_store

pytestmark = [pytest.mark.real_data, pytest.mark.external_tool]

PGS = "pgscatalog-utils/pgscatalog.calc/tests"


def call(plink2: str, *arguments: str) -> None:
    done = subprocess.run(
        [plink2, "--threads", "1", "--memory", "2000", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", infer_schema_length=None, null_values=["nan", "NA"])


@pytest.fixture(scope="module")
def filesets(real_data: Path, plink2: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """1000 Genomes, GEUVADIS and the mice as filesets that plink2 itself wrote, sorted, with one name per variant."""
    folder = tmp_path_factory.mktemp("filesets")
    sources = {
        "tiny": [
            "--vcf",
            f"{PGS}/data/vcf/tiny1000G.vcf.gz",
            "--psam",
            f"{PGS}/legacy/data/ref.psam",
            "--split-par",
            "hg38",
        ],
        "geuvadis": ["--vcf", "geuvadis-chr22-qtltools/genotypes.chr22.vcf.gz"],
        "mouse": ["--bfile", "gemma-mouse-hs1940/mouse_hs1940", "--sort-vars"],
    }
    found = {}
    for name, (flag, path, *rest) in sources.items():
        rest = [str(real_data / r) if r.endswith(".psam") else r for r in rest]
        names = ["--set-all-var-ids", "@:#:$r:$a", "--new-id-max-allele-len", "200"]
        call(plink2, flag, str(real_data / path), *rest, *names, "--make-pgen", "--out", str(folder / name))
        found[name] = folder / name
    psam = pl.read_csv(found["mouse"].with_suffix(".psam"), separator="\t", infer_schema=False)
    parentless = psam.select(pl.exclude("PAT", "MAT"))  # the mice's parents are no samples; nobody would be a founder
    parentless.write_csv(found["mouse"].with_suffix(".psam"), separator="\t")
    return found


def founders(store: GenotypeStore) -> np.ndarray:
    if "PAT" not in store.samples.columns:
        return np.arange(store.n_samples)
    return np.flatnonzero((store.samples["PAT"].cast(pl.String) == "0") & (store.samples["MAT"].cast(pl.String) == "0"))


@pytest.mark.parametrize(
    ("name", "window", "step", "r2"),
    [
        ("tiny", "500kb", 1, 0.1),
        ("tiny", "1000", 7, 0.01),
        ("mouse", "50", 5, 0.2),
        ("mouse", "50", 1, 0.5),
        ("mouse", "3000kb", 1, 0.5),
        ("geuvadis", "50kb", 1, 0.2),
        ("geuvadis", "100", 10, 0.8),
    ],
)
def test_thinning_keeps_the_same_variants(
    name: str, window: str, step: int, r2: float, filesets: dict[str, Path], plink2: str, tmp_path: Path
) -> None:
    store = open_store(filesets[name])
    rows = np.flatnonzero(autosomal_biallelic(store))
    if name == "geuvadis":
        rows = rows[:20_000]
    ids = store.variants["variant_id"][rows]
    (tmp_path / "extract.txt").write_text("\n".join(ids.to_list()) + "\n")
    in_bp = window.endswith("kb")
    kept = prune_pairwise(
        store, variants=rows, samples=founders(store), r2=r2, step=step,
        window_bp=int(window.removesuffix("kb")) * 1000 if in_bp else None,
        window_variants=None if in_bp else int(window),
    )  # fmt: skip
    call(
        plink2, "--pfile", str(filesets[name]), "--extract", str(tmp_path / "extract.txt"),
        "--indep-pairwise", window, *([] if in_bp else [str(step)]), str(r2), "--out", str(tmp_path / "peer"),
    )  # fmt: skip
    peer = set((tmp_path / "peer.prune.in").read_text().split())
    ours = set(ids.filter(kept).to_list())
    alt = count_genotypes(store, variants=rows, samples=founders(store))
    constant = ids.filter((alt.alt_count == 0) | (alt.alt_count == alt.allele_count))
    assert ours - peer == set()
    assert peer - ours <= set(constant.to_list())
    assert len(peer - ours) <= 1
    assert 0 < len(ours) < len(rows)


@pytest.mark.parametrize("name", ["tiny", "mouse", "geuvadis"])
def test_kinship_by_bits_is_plink2s(name: str, filesets: dict[str, Path], plink2: str, tmp_path: Path) -> None:
    store = open_store(filesets[name])
    samples = np.arange(min(store.n_samples, 700))
    names = ["FID", "sample_id"] if "FID" in store.samples.columns else ["sample_id"]
    store.samples[samples].select(names).write_csv(tmp_path / "keep.txt", separator="\t", include_header=False)
    call(
        plink2, "--pfile", str(filesets[name]), "--keep", str(tmp_path / "keep.txt"), "--max-alleles", "2",
        "--make-king-table", "--king-table-filter", "0.0442", "--out", str(tmp_path / "peer"),
    )  # fmt: skip
    peer = table(tmp_path / "peer.kin0")
    first = "IID1" if "IID1" in peer.columns else "#IID1"
    number = dict(zip(store.samples["sample_id"], range(store.n_samples), strict=True))
    expected = {
        tuple(sorted((number[str(a)], number[str(b)]))): k
        for a, b, k in peer.select(first, "IID2", "KINSHIP").iter_rows()
    }
    found = {(a, b): k for a, b, k in kinship_pairs(store, samples=samples).iter_rows()}
    assert found.keys() == expected.keys()
    assert len(found) > 10
    assert max(abs(found[pair] - expected[pair]) for pair in found) < 6e-7


@pytest.mark.parametrize("name", ["tiny", "mouse", "geuvadis"])
def test_streamed_components_are_plink2s(name: str, filesets: dict[str, Path], plink2: str, tmp_path: Path) -> None:
    store = open_store(filesets[name])
    samples = np.arange(0, store.n_samples, 4)
    names = ["FID", "sample_id"] if "FID" in store.samples.columns else ["sample_id"]
    store.samples[samples].select(names).write_csv(tmp_path / "keep.txt", separator="\t", include_header=False)
    rows = np.flatnonzero(autosomal_biallelic(store))
    call(
        plink2, "--pfile", str(filesets[name]), "--keep", str(tmp_path / "keep.txt"), "--autosome",
        "--max-alleles", "2", "--mac", "1", "--pca", "4",
        "--nonfounders", "--bad-freqs", "--out", str(tmp_path / "peer"),
    )  # fmt: skip
    vectors = table(tmp_path / "peer.eigenvec").select(pl.col("^PC.*$")).to_numpy()
    values = np.loadtxt(tmp_path / "peer.eigenval")
    for limit in (5000, 10):
        model = fit_pca_of_store(store, variants=rows, samples=samples, n_components=4, exact_limit=limit)
        np.testing.assert_allclose(model.eigenvalues, values, rtol=1e-5 if limit == 5000 else 2e-3)
        scores = project_store(model, store, variants=rows, samples=samples)
        for k in range(4 if limit == 5000 else 2):
            assert abs(np.corrcoef(scores[:, k], vectors[:, k])[0, 1]) > (0.9999 if limit == 5000 else 0.995)
