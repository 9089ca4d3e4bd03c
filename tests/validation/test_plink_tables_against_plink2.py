"""Sample and variant tables of PLINK filesets, as we read them and as plink2 ``--make-pgen`` writes them again.

Last run with PLINK v2.00a3.5 (9 Aug 2022). Where we differ on purpose, the last tests say so.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import FormatError
from genomix.io.convert import convert_genotypes
from genomix.io.plink import open_store
from genomix.io.plink_tables import read_bim, read_fam, read_psam

pytestmark = [pytest.mark.external_tool]

BIM = "1 rs1 0 10 A G\n"
FAM = "f a 0 0 1 -9\n"
COLUMNS = "psam-cols=+fid,+sid,+parents,+sex,+phenos"

FAMS = {
    "families, parents, strange sex": "f1 a 0 0 1 -9\nf1 b 0 0 2 1\n0 c a b 0 2\nf2 d 0 0 x 2.5\n",
    "letters": "f1 a 0 0 M -9\nf1 b 0 0 F -9\nf1 c 0 0 m -9\nf1 d 0 0 f -9\n",
    "no families": "0 a 0 0 1 -9\n0 b 0 0 2 -9\n",
    "sex that is none": "f1 a 0 0 3 -9\nf1 b 0 0 -9 1\nf1 c 0 0 0 1\n",
    "tabs and blanks": "f1\ta\t0\t0\t1\t-9\nf2  b 0 0   2 1\n",
}
PSAMS = {
    "IID alone": "#IID\nA\nB\n",
    "sex as number and letter": "#IID SEX\nA 1\nB F\n",
    "families": "#FID IID SEX\nf A M\ng B 2\n",
    "SID": "#FID IID SID SEX\nf A s1 M\ng B 0 2\n",
    "everything": "#FID IID SID PAT MAT SEX PHENO1 grp\nf A s1 0 0 M 1.5 x\ng B 0 A 0 NA NA y\n",
    "no header: a .fam": "f1 A 0 0 1 -9\nf1 B 0 0 2 1\n",
    "comment lines": "## comment\n#IID\tSEX\nA\t0\nB\t-9\n",
    "sex in words is unknown": "#IID\tSEX\nA\tmale\nB\tU\n",
}


def fileset(folder: Path, tables: dict[str, str], n_samples: int, n_variants: int) -> None:
    row = bytes([0b10] * ((n_samples + 3) // 4))
    (folder / "x.bed").write_bytes(b"\x6c\x1b\x01" + row * n_variants)
    for suffix, text in tables.items():
        (folder / f"x.{suffix}").write_text(text)


def rewritten(plink2: str, folder: Path, table: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            plink2, "--bed", "x.bed", "--bim", "x.bim", f"--{table}", f"x.{table}", "--make-pgen", COLUMNS,
            "--out", "peer",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


def peer_table(path: Path) -> pl.DataFrame:
    """Every column as text, null where plink2 writes NA."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("##")).removeprefix("#")
    return pl.read_csv(text.encode(), separator="\t", infer_schema=False, null_values="NA")


@pytest.mark.parametrize("case", [*(("fam", k) for k in FAMS), *(("psam", k) for k in PSAMS)], ids=lambda c: str(c))
def test_samples_are_those_of_plink2(plink2: str, tmp_path: Path, case: tuple[str, str]) -> None:
    """IID is the identifier, FID is kept where there is one, sex is 1, 2 or unknown, parents and other columns stay."""
    kind, name = case
    text = (FAMS if kind == "fam" else PSAMS)[name]
    n = len([line for line in text.splitlines() if line and not line.startswith("#")])
    fileset(tmp_path, {"bim": BIM, kind: text}, n, 1)
    done = rewritten(plink2, tmp_path, kind)
    assert done.returncode == 0, done.stderr
    peer = peer_table(tmp_path / "peer.psam")
    own = (read_fam if kind == "fam" else read_psam)(tmp_path / f"x.{kind}")
    assert own["sample_id"].to_list() == peer["IID"].to_list()
    assert own["sex"].to_list() == peer["SEX"].cast(pl.Int8).fill_null(0).to_list()
    for column in ("FID", "SID", "PAT", "MAT"):
        found = own[column].fill_null("0").to_list() if column in own.columns else ["0"] * n
        assert found == peer[column].to_list(), column
    if kind == "psam" and "no header" not in name:
        for column in set(peer.columns) - {"FID", "IID", "SID", "PAT", "MAT", "SEX"}:
            assert own[column].to_list() == peer[column].to_list(), column


def test_variants_are_those_of_plink2(plink2: str, tmp_path: Path) -> None:
    """The first allele is ALT, 0 is a missing allele, centimorgans stay behind, a negative position drops a variant."""
    text = (
        "1 rs1 0 10 A G\n1 rs2 1.5 20 0 C\n1 rs3 0 30 C 0\n1 . 0 40 0 0\n1\trs5\t0\t-50\tA\tG\n"
        "1 rs6 0 60 1 2\n1 rs7 0 70 D I\n23 rs8 0 5000000 A AT\n26 rs9 0 7 A G\n"
    )
    fileset(tmp_path, {"bim": text, "fam": FAM}, 1, 9)
    done = rewritten(plink2, tmp_path, "fam")
    assert done.returncode == 0, done.stderr
    peer = peer_table(tmp_path / "peer.pvar")
    own = read_bim(tmp_path / "x.bim").filter(pl.col("position") >= 0)
    named = own.with_columns(pl.col("contig").replace({"23": "X", "26": "MT"}), pl.col("position").cast(pl.String))
    assert (
        named.select("contig", "position", "variant_id", "ref", "alt").rows()
        == peer.select("CHROM", "POS", "ID", "REF", "ALT").rows()
    )
    report = convert_genotypes(tmp_path / "x", tmp_path / "own")
    assert report.n_records_read == 9
    assert sum(report.records_left_out.values()) == 4  # two without ALT, one without REF, one with a negative position
    assert open_store(tmp_path / "own").variants["variant_id"].to_list() == ["rs1", "rs6", "rs7", "rs8", "rs9"]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("fam", "f1 P_7 0 0 1 -9\nf2 P_7 0 0 2 1\n", "different families have the same IID.*told apart by IID alone"),
        ("psam", "#FID IID SID\nf P_7 s1\ng P_7 s2\n", "different families have the same IID"),
        ("psam", "#IID SID\nP_7 s1\nP_7 s2\n", "two samples have the same identifier"),
    ],
)
def test_the_same_iid_twice_is_refused_where_plink2_takes_it(
    plink2: str, tmp_path: Path, kind: str, text: str, message: str
) -> None:
    """plink2 tells samples apart by FID, IID and SID; we by IID, so the error names both and what to try."""
    fileset(tmp_path, {"bim": BIM, kind: text}, 2, 1)
    assert rewritten(plink2, tmp_path, kind).returncode == 0
    with pytest.raises(FormatError, match=message) as caught:
        (read_fam if kind == "fam" else read_psam)(tmp_path / f"x.{kind}")
    assert "P_7" not in str(caught.value)
    shown = caught.value.render(show_identifiers=True)
    assert shown.count("P_7") == 2
    assert "--update-ids" in shown
    assert f"x.{kind}" in shown


@pytest.mark.parametrize(
    ("tables", "ours"),
    [
        ({"bim": BIM, "fam": "f1 a 0 0 1\n"}, "taken"),
        ({"bim": BIM, "fam": "a 0 0 1\n"}, "fewer than five columns"),
        ({"bim": "1 rs1 10 A G\n", "fam": FAM}, "5 columns, not six"),
    ],
)
def test_other_differences(plink2: str, tmp_path: Path, tables: dict[str, str], ours: str) -> None:
    """A .fam of five columns: we take it, plink2 does not; a .bim without centimorgans the other way round."""
    fileset(tmp_path, tables, 1, 1)
    assert (rewritten(plink2, tmp_path, "fam").returncode == 0) == (ours.startswith("5 columns"))
    if ours == "taken":
        assert read_fam(tmp_path / "x.fam")["sample_id"].to_list() == ["a"]
        return
    with pytest.raises(FormatError, match=ours):
        convert_genotypes(tmp_path / "x", tmp_path / "own")
