"""Hashes depend on content only; what is written is whole or not there; a failure to write says what to try."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomix import provenance
from genomix.errors import FormatError, InputNotFoundError, IntegrityError, OutputError
from genomix.provenance import (
    atomic_directory,
    atomic_path,
    canonical_json,
    hash_json,
    no_room,
    output_errors,
    package_versions,
    python_version,
    read_json,
    sha256_file,
    sha256_tree,
    write_bytes,
    write_json,
    write_manifest,
)
from tests.faults import environment

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def leftovers(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if ".tmp-" in p.name]


@given(JSON)
def test_canonical_json_says_the_same_and_ignores_the_order_of_keys(value: object) -> None:
    assert json.loads(canonical_json(value)) == value

    def turned(inner: object) -> object:
        if isinstance(inner, dict):
            return {k: turned(v) for k, v in reversed(inner.items())}
        return [turned(v) for v in inner] if isinstance(inner, list) else inner

    assert hash_json(turned(value)) == hash_json(value)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": float("nan")})


def test_a_file_s_hash_is_sha256_also_past_one_block(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) + b"more"
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    for look in (sha256_file, sha256_tree, read_json):
        with pytest.raises(InputNotFoundError):
            look(tmp_path / "none")


def _tree(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return sha256_tree(folder)


def test_a_folder_s_hash_sees_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    files = {"a.txt": "1", "b/c.txt": "2"}
    plain = _tree(tmp_path / "one", files)
    assert _tree(tmp_path / "two", dict(reversed(files.items()))) == plain
    assert _tree(tmp_path / "three", {**files, ".tmp-x": "y", ".tmp-d/z": "y"}) == plain
    assert _tree(tmp_path / "four", {"a.txt": "2", "b/c.txt": "1"}) != plain
    assert _tree(tmp_path / "five", {"a.txt": "1", "b/d.txt": "2"}) != plain
    assert _tree(tmp_path / "six", {"a.txt": "1", "bc.txt": "2"}) != plain


def test_versions_name_what_is_absent() -> None:
    import numpy

    assert package_versions(("numpy", "no-such-package")) == {"numpy": numpy.__version__, "no-such-package": "absent"}
    assert sys.version.startswith(python_version())


def _write_half(writing: AbstractContextManager[Path], error: BaseException) -> None:
    with writing as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
        raise error


def test_an_interrupted_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"b": 1, "a": "é"})
    assert target.read_bytes() == '{\n "a": "é",\n "b": 1\n}\n'.encode()
    with pytest.raises(KeyboardInterrupt):
        _write_half(atomic_path(target), KeyboardInterrupt())
    assert read_json(target) == {"a": "é", "b": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        _write_half(atomic_directory(tmp_path / "x" / "y"), FormatError("bad"))
    assert list((tmp_path / "x").iterdir()) == []


def test_a_complete_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "old").write_text("old")
    with pytest.raises(OSError, match="not empty"), atomic_directory(tmp_path / "y") as temporary:
        (temporary / "new").write_text("new")
    assert [p.name for p in (tmp_path / "y").iterdir()] == ["old"]
    assert leftovers(tmp_path) == []


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_device_is_written_to_and_never_replaced() -> None:
    write_bytes(Path("/dev/null"), b"x")
    with pytest.raises(OutputError, match="No space left on device"):
        write_bytes(Path("/dev/full"), b"x")
    for path in ("/dev/null", "/dev/full"):
        assert stat.S_ISCHR(Path(path).stat().st_mode)


def test_standard_output_may_be_a_target() -> None:
    code = (
        "from pathlib import Path; from genomix.provenance import write_json; write_json(Path('/dev/stdout'), {'a': 1})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"a": 1}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (lambda f: f / "file" / "x", "File exists"),
        (lambda f: f / "file" / "x" / "y", "Not a directory"),
        (lambda f: f / "folder", "Is a directory"),
        (lambda f: f / ("n" * 300), "File name too long"),
    ],
)
def test_an_impossible_target_is_an_output_error_with_a_hint(
    tmp_path: Path, place: Callable[[Path], Path], words: str
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=words) as caught:
        write_bytes(place(tmp_path), b"x")
    assert caught.value.hint
    assert (tmp_path / "file").read_text() == "kept"
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_recognised_by_number_and_by_native_writers_words(tmp_path: Path) -> None:
    assert no_room(OSError(errno.ENOSPC, "No space left on device")) == errno.ENOSPC
    assert no_room(OSError("No space left on device (os error 28)")) == errno.ENOSPC
    assert no_room(RuntimeError("write failed: No space left on device")) == errno.ENOSPC
    assert no_room(OSError("File too large (os error 27)")) == errno.EFBIG
    assert no_room(RuntimeError("write failed: Disk quota exceeded")) == errno.EDQUOT
    assert no_room(OSError(errno.ENOENT, "No such file")) is None
    assert no_room(ValueError("other")) is None
    with pytest.raises(OutputError), atomic_path(tmp_path / "x"):
        raise RuntimeError("write failed: No space left on device")


def test_a_real_full_disk_is_recognised_in_what_polars_raises() -> None:
    import polars as pl

    frame = pl.DataFrame({"a": range(100_000)})
    with pytest.raises(OutputError, match="No space left"), output_errors(Path("/dev/full")):
        frame.write_csv("/dev/full")


def test_an_unreadable_input_is_not_called_an_output(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "input.txt"))
    with pytest.raises(OutputError), output_errors(tmp_path / "out" / "x"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out"))


def test_other_failures_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "x"):
        raise ZeroDivisionError


def test_damaged_json_is_an_integrity_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"a": \xff')
    with pytest.raises(IntegrityError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_a_manifest_lists_every_other_file_nested_manifests_too(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / ".tmp-x").write_text("x")
    write_manifest(tmp_path, {"seed": 1})
    write_manifest(tmp_path, {"seed": 1})
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["seed"] == 1
    assert manifest["files"] == {
        "a.txt": hashlib.sha256(b"a").hexdigest(), "bundle/manifest.json": hashlib.sha256(b"{}").hexdigest(),
    }  # fmt: skip


def test_json_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from genomix.provenance import read_json, write_json; "
        "write_json(Path(sys.argv[1]), {'a': chr(233)}); print(ascii(read_json(Path(sys.argv[1]))))"
    )
    env = {**environment(), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "x.json")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == r"{'a': '\xe9'}"
    assert provenance.is_temporary(Path("a/.tmp-b/c"))
