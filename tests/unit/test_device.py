"""The device is resolved once, with a reason, and never falls back in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genomix import device
from genomix.device import CPU, CudaProbe, probe_cuda, resolve_device
from genomix.errors import ConfigError, DeviceError
from tests.faults import environment

WORKING = CudaProbe(1, "A GPU", "")
NO_DRIVER = CudaProbe(0, "", "no CUDA driver library (libcuda.so.1)")


def test_cpu_is_never_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "probe_cuda", lambda: pytest.fail("probed"))
    assert resolve_device("cpu") is CPU


def test_auto_takes_a_working_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "missing_gpu_packages", list)
    chosen = resolve_device("auto", probe=WORKING)
    assert (chosen.kind, chosen.name, chosen.xgboost, chosen.torch) == ("cuda", "A GPU", "cuda", "cuda")
    assert "1 CUDA device" in chosen.reason


@pytest.mark.parametrize(
    ("probe", "missing", "reason"),
    [(NO_DRIVER, [], "no CUDA driver library"), (WORKING, ["cuml"], "GPU packages are missing: cuml")],
)
def test_auto_takes_the_cpu_with_the_reason_and_cuda_is_an_error(
    probe: CudaProbe, missing: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "missing_gpu_packages", lambda: missing)
    chosen = resolve_device("auto", probe=probe)
    assert chosen.kind == "cpu"
    assert reason in chosen.reason
    with pytest.raises(DeviceError, match=reason):
        resolve_device("cuda", probe=probe)


def test_an_unknown_word_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="--device auto, cpu or cuda"):
        resolve_device("gpu")


def test_the_cpu_computes_with_numpy_in_memory() -> None:
    assert CPU.xp.__name__ == "numpy"
    assert CPU.engine == "in-memory"
    assert (CPU.xgboost, CPU.torch) == ("cpu", "cpu")


def test_the_real_probe_answers_with_a_device_or_a_reason() -> None:
    found = probe_cuda()
    assert (found.count > 0) == (found.reason == "")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", "the CUDA probe died with code -11"),
        ("print('no JSON')", "the CUDA probe died with code 0"),
        ("import time; time.sleep(60)", "the CUDA probe did not answer within 1 s"),
    ],
)
def test_a_probe_that_dies_or_hangs_is_a_reason(code: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PROBE", code)
    assert probe_cuda(timeout_seconds=1.0) == CudaProbe(0, "", reason)


_FAKE_DRIVER = """
import ctypes, sys, types
class Cuda:
    def cuInit(self, flags): return 0
    def cuDeviceGetCount(self, pointer): pointer._obj.value = 2; return 0
    def cuDeviceGetName(self, name, size, number): name.value = b"A GPU"; return 0
ctypes.CDLL = lambda name: Cuda()
"""


@pytest.mark.parametrize(
    ("cupy", "expected"),
    [
        ("sys.modules['cupy'] = None", (0, "A GPU", "a GPU is there but the package cupy is missing")),
        (
            "cupy = types.ModuleType('cupy'); cupy.arange = lambda n: 1 / 0; sys.modules['cupy'] = cupy",
            (0, "A GPU", "the GPU is there but a first operation failed: ZeroDivisionError"),
        ),
        (
            "cupy = types.ModuleType('cupy'); sys.modules['cupy'] = cupy\n"
            "cupy.arange = lambda n: types.SimpleNamespace(sum=lambda: n * (n - 1) // 2)",
            (2, "A GPU", ""),
        ),
    ],
    ids=["cupy missing", "operation fails", "works"],
)
def test_the_probe_wants_a_driver_a_device_and_one_real_operation(
    cupy: str, expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_PROBE", _FAKE_DRIVER + cupy + "\n" + device._PROBE)
    assert probe_cuda() == CudaProbe(*expected)


@pytest.mark.parametrize(
    ("device_used", "expected"),
    [
        ("cuda:0", (2, "A GPU", "")),
        ("cpu", (0, "A GPU", "the GPU is there but a first operation failed: AssertionError")),
    ],
    ids=["stays on the GPU", "falls back"],
)
def test_a_command_of_trees_alone_wants_one_tree_on_the_gpu(
    device_used: str, expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.dumps({"learner": {"generic_param": {"device": device_used}}})
    xgboost = (
        "sys.modules['cupy'] = None; sys.modules['numpy'] = types.SimpleNamespace(eye=lambda n: n)\n"
        f"grown = types.SimpleNamespace(save_config=lambda: {told!r})\n"
        "sys.modules['xgboost'] = types.SimpleNamespace(train=lambda *a: grown, DMatrix=lambda *a: a)\n"
    )
    monkeypatch.setattr(device, "_PROBE", _FAKE_DRIVER + xgboost + device._PROBE)
    assert probe_cuda(needs="xgboost") == CudaProbe(*expected)
    monkeypatch.setattr(device, "missing_gpu_packages", lambda: ["cudf"])
    kind = resolve_device("auto", probe=CudaProbe(*expected), needs="xgboost").kind
    assert kind == ("cuda" if expected[0] else "cpu")
    assert resolve_device("auto", probe=CudaProbe(*expected)).kind == "cpu"


def test_the_probe_does_not_import_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert "died" not in probe_cuda().reason


def test_asking_for_a_device_does_not_load_cuda_here() -> None:
    code = "import genomix.device as d, sys; d.resolve_device('auto'); print(*{'cupy', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
