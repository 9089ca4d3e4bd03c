"""What a user gets wrong on a real study: one line with cause and way out, a fixed code, earlier outputs whole."""

from __future__ import annotations

import json
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from genomix.errors import EXIT_CODES
from genomix.io.bgzf import EOF_BLOCK, inflated_chunks
from genomix_cli.app import main
from genomix_pipelines.check import check_study
from genomix_pipelines.demo.genotype_text import bgzip
from genomix_pipelines.lock import OutputLock
from genomix_pipelines.study import load_study
from tests import faults
from tests.cli import studies
from tests.cli.studies import Demo, Study, intact, refused

Spoil = Callable[[Study], object]


@pytest.fixture
def study(demo: Demo, tmp_path: Path) -> Study:
    """A copy of the finished small demo."""
    return demo.copy(tmp_path)


def blocks(path: Path) -> list[int]:
    """Return where each BGZF block of a file begins."""
    data, starts, place = path.read_bytes(), [], 0
    while place < len(data):
        starts.append(place)
        (size,) = struct.unpack_from("<H", data, place + 16)
        place += size + 1
    return starts


def cut(study: Study, *, middle: bool) -> None:
    """End the genotypes after their second last block, or in the middle of it."""
    path = study.inputs / "genotypes.vcf.gz"
    data, starts = path.read_bytes(), blocks(path)
    assert len(starts) > 3
    assert data[starts[-1] :] == EOF_BLOCK
    path.write_bytes(data[: (starts[-3] + starts[-2]) // 2 if middle else starts[-2]])


def rewrite_genotypes(study: Study, change: Callable[[str], str]) -> None:
    """Change the genotypes' text."""
    path = study.inputs / "genotypes.vcf.gz"
    text = b"".join(inflated_chunks(path)).decode()
    assert change(text) != text
    path.write_bytes(bgzip(change(text).encode()))


def rename_samples(study: Study, file: str, change: Callable[[str], str]) -> None:
    """Change the sample of every row of a table."""
    path = study.inputs / file
    head, *rows = path.read_text().splitlines()
    assert head.startswith("sample_id")
    path.write_text("\n".join([head, *(change(row) for row in rows)]) + "\n")


def first_row(study: Study, file: str, change: Callable[[str], str]) -> None:
    """Change the first row of a table."""
    path = study.inputs / file
    head, row, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, change(row), *rest]) + "\n")


def twin_in_header(text: str) -> str:
    """Name the second sample like the first, in lower case."""
    head, first, second = re.search(r"(\tFORMAT\t)(\w+)\t(\w+)", text).groups()  # type: ignore[union-attr]
    return text.replace(f"{head}{first}\t{second}", f"{head}{first}\t{first.lower()}", 1)


def halve(study: Study, file: str) -> None:
    """Keep the first half of a file."""
    path = study.inputs / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(study: Study, file: str) -> None:
    """Remove an input."""
    path = study.inputs / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def one_class(study: Study) -> None:
    """Ask for an outcome that nobody has."""
    study.edit('regex: "^DIAGNOSIS//SIMULATED_CAD$"', 'regex: "^DIAGNOSIS//NOBODY$"', file="task.yaml")


def stages_of(hashes: dict[str, str]) -> dict[str, str]:
    """Return the stages' part of an output: a run that succeeds replaces the report beside them."""
    return {name: digest for name, digest in hashes.items() if name.startswith("stages/")}


BAD_INPUTS: dict[str, tuple[Spoil, int, list[str]]] = {
    "no link file": (lambda s: remove(s, "link.csv"), 3, ["link.path = 'link.csv' does not exist"]),
    "no genotypes": (lambda s: remove(s, "genotypes.vcf.gz"), 3, ["genotypes.path = 'genotypes.vcf.gz'"]),
    "no records": (lambda s: remove(s, "records"), 3, ["records.path = 'records' does not exist"]),
    "a call that is not one": (
        lambda s: rewrite_genotypes(s, lambda t: t.replace("\t0|1", "\t0|x", 1)), 4, ["genotypes.vcf.gz"],
    ),
    "records that are not Parquet": (
        lambda s: (s.inputs / "records/data/0.parquet").write_text("subject_id,time,code"), 4, ["0.parquet"],
    ),
    "a link without subjects": (
        lambda s: s.edit("sample_id,subject_id", "sample_id,person", file="link.csv"), 4, ["no column 'subject_id'"],
    ),
    "genotypes cut between blocks": (lambda s: cut(s, middle=False), 5, ["end-of-file block", "genotypes.vcf.gz"]),
    "genotypes cut within a block": (lambda s: cut(s, middle=True), 5, ["end-of-file block", "genotypes.vcf.gz"]),
    "records cut short": (lambda s: halve(s, "records/data/0.parquet"), 5, ["convert_records", "it was cut"]),
    "a link to nobody": (
        lambda s: rename_samples(s, "link.csv", lambda row: f"other_{row}"), 6, ["none of the 300 linked", "link.csv"],
    ),
    "a sample table of others": (
        lambda s: rename_samples(s, "sample_info.tsv", lambda row: f"other_{row}"), 6, ["sample_info.tsv"],
    ),
    "a linked sample in lower case": (
        lambda s: first_row(s, "link.csv", str.lower), 6, ["by case or white space only", "sample no. 1"],
    ),
    "a linked sample with a space": (
        lambda s: first_row(s, "link.csv", lambda row: f" {row}"), 6, ["by case or white space only", "sample no. 1"],
    ),
    "two samples that differ by case": (
        lambda s: rewrite_genotypes(s, twin_in_header), 6, ["same identifier up to case", "sample no. 2"],
    ),
    "a label with one class": (one_class, 7, ["one class", "has not the outcome"]),
    "an unknown key": (lambda s: s.edit("held_out =", "heldout ="), 8, ["split.heldout", "'held_out'"]),
    "a missing key": (lambda s: s.edit("title =", "# title ="), 8, ["'study.title' is missing", "question, outcome"]),
    "an impossible value": (
        lambda s: s.set("split", "tuning", "1.5"), 8, ["split.tuning", "less than 1", "its default, 0.15"],
    ),
    "a study file that is not TOML": (lambda s: s.edit("[genotypes]", "[genotypes"), 8, ["not TOML", "line"]),
    "an unknown key of the task": (
        lambda s: s.edit("censoring: drop", "censorship: drop", file="task.yaml"), 8, ["censorship", "task.yaml"],
    ),
}  # fmt: skip


IN_PROCESSES_OF_THEIR_OWN = {
    "no link file", "a call that is not one", "genotypes cut between blocks", "genotypes cut within a block",
    "a link to nobody", "a linked sample in lower case", "a label with one class", "an unknown key",
}  # fmt: skip
"""One or two for each exit code; the others call the same ``main`` here, which takes a tenth of the time."""


def called(study: Study, capsys: pytest.CaptureFixture[str]) -> subprocess.CompletedProcess[str]:
    """Run the study by calling the command's function."""
    arguments = study.command()[len(studies.COMMAND) :]
    capsys.readouterr()
    return subprocess.CompletedProcess(arguments, main(arguments), *capsys.readouterr())


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input(name: str, study: Study, demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, code, words = BAD_INPUTS[name]
    before = faults.final_hashes(study.out)
    spoil(study)
    done = study.run() if name in IN_PROCESSES_OF_THEIR_OWN else called(study, capsys)
    refused(done, code, words, demo)
    assert done.stdout == ""
    intact(before, study.out)


def test_a_person_is_named_only_when_asked(study: Study, demo: Demo) -> None:
    first_row(study, "link.csv", str.lower)
    done = study.run("--show-identifiers")
    assert done.returncode == 6
    assert len(demo.named_in(done.stderr)) == 1


@pytest.mark.parametrize("place", ["study/study.toml", "study/study.toml/deeper"])
def test_an_output_under_a_file(place: str, study: Study, demo: Demo) -> None:
    file = study.file.read_bytes()
    done = studies.genomix("run", study.file, "--device", "cpu", "--out", study.inputs.parent / place)
    refused(done, 9, ["cannot write"], demo)
    assert study.file.read_bytes() == file


def test_an_output_within_an_input_folder(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.inputs)
    done = studies.genomix("run", study.file, "--device", "cpu", "--out", study.inputs / "records" / "out")
    refused(done, 8, ["inside an input folder", "records of stage convert_records"], demo)
    assert faults.final_hashes(study.inputs) == before


def test_output_that_goes_to_a_full_device(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    refused(studies.genomix("init", study.inputs, "-o", "/dev/full"), 9, ["cannot write full: No space left"], demo)
    with Path("/dev/full").open("w") as full:
        done = study.run("--json", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    done.stdout = ""
    refused(done, 9, ["No space left on device"], demo)
    intact(before, study.out)


_FULL_DISK = """
set -e
mount -t tmpfs -o size=$ROOM tmpfs "$DISK"
cp -r "$EARLIER"/. "$DISK"
"$@" > "$SEEN/full.out" 2> "$SEEN/full.err" && exit 99 || echo $? > "$SEEN/full.code"
cp -r "$DISK" "$SEEN/full"
mount -o remount,size=256m "$DISK"
"$@" > "$SEEN/roomy.out" 2> "$SEEN/roomy.err"
cp -r "$DISK" "$SEEN/roomy"
"""


def test_a_disk_that_fills_up_and_then_has_room(study: Study, demo: Demo, tmp_path: Path) -> None:
    unshare = next((c for c in (["unshare", "-Urm"], ["unshare", "-m"]) if _mounts(c, tmp_path)), None)
    if unshare is None:
        pytest.skip("a file system of a chosen size cannot be mounted here (unshare -Urm)")
    study.set("report", "beeswarm_rows", "50")
    before = faults.final_hashes(study.out)
    disk, seen = tmp_path / "disk", tmp_path / "seen"
    disk.mkdir(), seen.mkdir()
    used = sum(-(-p.stat().st_size // 4096) * 4096 for p in study.out.rglob("*") if p.is_file())
    variables = {"DISK": disk, "SEEN": seen, "EARLIER": study.out, "ROOM": used + 60_000}
    on_disk = Study(study.inputs, disk)
    subprocess.run(
        [*unshare, "sh", "-c", _FULL_DISK, "sh", sys.executable, *on_disk.command()],
        env=studies.environment(**{k: str(v) for k, v in variables.items()}), check=True,
    )  # fmt: skip
    full, roomy = (subprocess.CompletedProcess([], 0, *_read(seen, name)) for name in ("full", "roomy"))
    full.returncode = int((seen / "full.code").read_text())
    refused(full, 9, ["cannot write", "No space left on device", "free space"], demo)
    intact(before, seen / "full")
    assert roomy.stdout == f"{disk / 'report.html'}\n"
    manifests = [json.loads(p.read_bytes()) for p in (seen / "roomy" / "stages" / "explain").glob("*/manifest.json")]
    assert sorted(m["parameters"]["beeswarm_rows"] for m in manifests) == [50, 1000]
    intact(stages_of(before), seen / "roomy")


def _mounts(unshare: list[str], folder: Path) -> bool:
    return studies.can(*unshare, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))


def _read(folder: Path, name: str) -> tuple[str, str]:
    return (folder / f"{name}.out").read_text(), (folder / f"{name}.err").read_text()


@pytest.mark.parametrize(
    ("most_bytes", "words"),
    [(20_000, "File too large"), (76_800, "cannot write a temporary file")],
    ids=["text", "reader"],
)
def test_a_file_larger_than_the_system_allows(
    most_bytes: int, words: str, study: Study, demo: Demo, tmp_path: Path
) -> None:
    out = tmp_path / "new"
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    done = Study(study.inputs, out).run(preexec_fn=limit)
    refused(done, 9, ["stage convert_genotypes", words, "another"], demo)
    intact({}, out)
    assert list(out.glob("stages/*/*")) == []


def test_a_locked_output_folder(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    with OutputLock(study.out, command="an earlier run"):
        done = study.run()
        refused(done, 10, ["another run owns this output folder", "an earlier run"], demo)
        assert faults.final_hashes(study.out) == before
    intact(before, study.out)


def test_a_second_demo_does_not_touch_the_inputs_of_the_first(demo: Demo, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    shutil.copytree(demo.out, out)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted((out / "inputs").rglob("*"))}
    with OutputLock(out, command="an earlier run"):
        done = studies.python(studies.demo_command(out))
        refused(done, 10, ["another run owns this output folder"], demo)
        assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted((out / "inputs").rglob("*"))} == before


def test_a_demo_of_another_seed_in_the_same_folder(demo: Demo, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    shutil.copytree(demo.out, out)
    done = studies.python(studies.demo_command(out, "--seed", "2"))
    refused(done, 9, ["records of other parameters", "choose another output folder"], demo)
    assert faults.final_hashes(out) == demo.wanted


def test_a_gpu_that_is_not_there(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    done = studies.genomix(
        "run", study.file, "--out", study.out, "--device", "cuda", env=studies.environment(CUDA_VISIBLE_DEVICES="")
    )
    refused(done, 11, ["--device cuda cannot be used", "--device cpu"], demo)
    intact(before, study.out)


def plant_leak(study: Study) -> None:
    """Give the model a column that is the outcome."""
    labels = pl.read_parquet(next((study.out / "stages" / "cohort").glob("*")) / "labels.parquet")
    table = labels.select("subject_id", pl.col("value").alias("follow_up_code")).unique("subject_id").sort("subject_id")
    table.write_csv(study.inputs / "notes.csv")
    for key, value in (("path", '"notes.csv"'), ("id_column", '"subject_id"'), ("columns", '["follow_up_code"]')):
        study.set("table", key, value)
    study.edit("[features.demographics]", "[features.table]\n[features.demographics]")
    study.set("model", "max_rounds", "20")
    study.set("model", "resamples", "100")


def test_a_planted_leak(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    plant_leak(study)
    strict = study.run("--strict")
    refused(strict, 12, ["leakage certificate failed: columns_that_encode", "report.html"], demo)
    assert "follow_up_code" in (study.out / "report.html").read_text()
    lenient = study.run("--json")
    assert set(studies.statuses(lenient).values()) == {"reused"}
    assert "warning: leakage certificate: columns_that_encode failed" in lenient.stderr
    intact(stages_of(before), study.out)


def test_a_damaged_stage_is_refused_until_it_is_deleted(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.out)
    path = next((study.out / "stages" / "split").glob("*/index.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    spoilt = faults.final_hashes(study.out)
    words = ["a finished stage was damaged", "index.parquet is not what its manifest states", str(path.parent)]
    refused(study.run(), 13, words, demo)
    assert faults.final_hashes(study.out) == spoilt
    shutil.rmtree(path.parent)
    again = studies.statuses(study.run("--json"))
    assert {name for name, status in again.items() if status == "done"} == {"split"}
    assert faults.final_hashes(study.out) == before


def test_a_stage_without_its_manifest_is_damaged(study: Study, demo: Demo) -> None:
    next((study.out / "stages" / "model").glob("*/manifest.json")).unlink()
    spoilt = faults.final_hashes(study.out)
    refused(study.run(), 13, ["manifest.json is missing or unreadable"], demo)
    assert faults.final_hashes(study.out) == spoilt


def test_check_names_every_mistake_at_once(study: Study, demo: Demo) -> None:
    before = faults.final_hashes(study.inputs)
    study.set("genotypes", "ancestry_column", '"continent"')
    halve(study, "records/data/0.parquet")
    first_row(study, "link.csv", str.lower)
    study.edit("#genome_build=GRCh38", "#genome_build=GRCh37", file="score_weights.tsv")
    spoilt = faults.final_hashes(study.inputs)
    assert len({k for k in spoilt if spoilt[k] != before[k]}) == 4
    done = studies.genomix("check", study.file, "--json")
    found = [(e["code"], e["what"]) for e in json.loads(done.stdout)["errors"]]
    assert done.returncode == found[0][0]
    for code, words in ((8, "ancestry_column = 'continent'"), (4, "GRCh37"), (5, "0.parquet"), (6, "white space only")):
        assert any(e[0] == code and words in e[1] for e in found), (words, found)
    assert len(found) == 4
    assert not demo.named_in(done.stdout + done.stderr)
    assert faults.final_hashes(study.inputs) == spoilt


def test_check_names_what_it_finds_only_when_it_reads_the_labels(study: Study, demo: Demo) -> None:
    one_class(study)
    cut(study, middle=True)
    done = studies.genomix("check", study.file, "--json")
    found = {e["code"]: e["what"] for e in json.loads(done.stdout)["errors"]}
    assert set(found) == {5, 7}
    assert "one class" in found[7]
    assert "end-of-file block" in found[5]


CHECKED = {
    "a sample twice in the table": (
        lambda s: first_row(s, "sample_info.tsv", lambda row: f"{row}\n{row}"), 6, "names a sample twice",
    ),
    "too few people with genotypes": (
        lambda s: (s.inputs / "link.csv").write_text("\n".join((s.inputs / "link.csv").read_text().split()[:4])),
        7, "one class",
    ),
    "an unknown aggregation": (
        lambda s: s.set("features.record_windows", "numeric", '["median"]'), 8, "'median' is unknown",
    ),
    "a pattern that is none": (lambda s: s.set("features.record_windows", "include", '["("]'), 8, "pattern '('"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKED)
def test_check_refuses_what_a_run_would_refuse_only_later(name: str, study: Study, demo: Demo) -> None:
    spoil, code, words = CHECKED[name]
    spoil(study)
    report = check_study(load_study(study.file))
    assert [(e.exit_code, words in str(e)) for e in report.errors] == [(code, True)]
    assert not demo.named_in(" ".join(map(str, report.errors)))


def test_warnings_under_strict_are_15(study: Study, demo: Demo) -> None:
    done = studies.genomix("check", study.file, "--strict")
    refused(done, 15, ["2 warning(s) under --strict"], demo)
    assert "warning: 271 people are fewer than" in done.stderr


def test_the_guide_has_a_row_for_every_exit_code() -> None:
    text = (faults.ROOT / "docs" / "how-to" / "recover-from-errors.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE)
    assert sorted(int(code) for row in rows for code in row.split(",")) == sorted(EXIT_CODES)
