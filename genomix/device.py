"""The only place that asks "is there a GPU?".

CUDA is probed in a subprocess (a broken driver can kill the interpreter that asks): the driver library is opened,
``cuInit`` and the device count are called, then one tiny real operation runs. The choice is made once, at the start of
a command, and carried as a :class:`Device`; nothing falls back silently later.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

from genomix.errors import ConfigError, DeviceError

DeviceKind = Literal["cpu", "cuda"]

_PROBE = r"""
import ctypes, json
answer = {"count": 0, "reason": "", "name": ""}
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    answer["reason"] = "no CUDA driver library (libcuda.so.1)"
else:
    code = cuda.cuInit(0)
    count = ctypes.c_int()
    if code != 0:
        answer["reason"] = f"cuInit failed with code {code}"
    elif cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        answer["reason"] = "the CUDA driver reports no device"
    else:
        name = ctypes.create_string_buffer(128)
        cuda.cuDeviceGetName(name, 128, 0)
        answer["name"] = name.value.decode(errors="replace")
        try:
            FIRST_OPERATION
        except ModuleNotFoundError as error:
            answer["reason"] = f"a GPU is there but the package {error.name} is missing"
        except Exception as error:
            answer["reason"] = f"the GPU is there but a first operation failed: {type(error).__name__}"
        else:
            answer["count"] = count.value
print(json.dumps(answer))
"""


_CUPY = "import cupy; assert int(cupy.arange(4).sum()) == 6"
_XGBOOST = """import xgboost, numpy
            grown = xgboost.train({"device": "cuda", "verbosity": 0, "max_depth": 1, "min_child_weight": 0},
                                  xgboost.DMatrix(numpy.eye(4), [0, 0, 0, 1]), 1)
            assert json.loads(grown.save_config())["learner"]["generic_param"]["device"].startswith("cuda")"""

Needs = Literal["all", "xgboost"]
"""What a command computes with on a GPU: every package of the ``gpu`` extra, or XGBoost alone."""


@dataclass(frozen=True)
class CudaProbe:
    """What the probe found: usable device count, the first device's name, and why not if not."""

    count: int
    name: str
    reason: str


@dataclass(frozen=True)
class Device:
    """Where a command computes, and why.

    ``kind`` is ``"cpu"`` or ``"cuda"``; ``reason`` is the sentence that is printed and kept in ``run.json``.
    """

    kind: DeviceKind
    name: str
    reason: str

    @property
    def xgboost(self) -> str:
        """The value for XGBoost's ``device`` parameter."""
        return self.kind

    @property
    def torch(self) -> str:
        """The name for ``torch.device``."""
        return self.kind

    @property
    def xp(self) -> Any:
        """The array module: NumPy on the CPU, CuPy on CUDA."""
        if self.kind == "cuda":
            import cupy

            return cupy
        import numpy

        return numpy

    @property
    def engine(self) -> Any:
        """The value for Polars' ``collect(engine=...)``: the in-memory engine, or cudf-polars on CUDA.

        The CPU uses the in-memory engine where row order matters to the last bit; a caller that streams says so.
        """
        if self.kind == "cuda":
            import polars

            return polars.GPUEngine(raise_on_fail=True)
        return "in-memory"


CPU = Device("cpu", "CPU", "--device cpu was asked for")


def probe_cuda(timeout_seconds: float = 60.0, *, needs: Needs = "all") -> CudaProbe:
    """Probe CUDA in a subprocess; never raises, never touches CUDA in this process.

    needs: the first operation is CuPy's, or with ``"xgboost"`` one tree of XGBoost, which must stay on the device.
    """
    code = _PROBE.replace("FIRST_OPERATION", _XGBOOST if needs == "xgboost" else _CUPY)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return CudaProbe(0, "", f"the CUDA probe did not answer within {timeout_seconds:.0f} s")
    except (json.JSONDecodeError, IndexError):
        return CudaProbe(0, "", f"the CUDA probe died with code {done.returncode}")
    return CudaProbe(int(found["count"]), str(found["name"]), str(found["reason"]))


def resolve_device(request: str = "auto", *, probe: CudaProbe | None = None, needs: Needs = "all") -> Device:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to a :class:`Device`, once, at the start of a command.

    needs: what the command computes with on a GPU; with ``"xgboost"`` a driver and XGBoost are enough.

    Raises
    ------
    ConfigError: for any other word.
    DeviceError: when ``cuda`` was asked for and cannot be used, with what is missing.
    """
    if request not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device {request!r}", hint="--device auto, cpu or cuda")
    if request == "cpu":
        return CPU
    probe = probe_cuda(needs=needs) if probe is None else probe
    missing = missing_gpu_packages() if probe.count and needs == "all" else []
    problem = probe.reason or (f"GPU packages are missing: {', '.join(missing)}" if missing else "")
    if not problem:
        return Device("cuda", probe.name, f"{probe.count} CUDA device(s) found and working")
    if request == "cuda":
        raise DeviceError(
            f"--device cuda cannot be used: {problem}",
            hint="install an NVIDIA driver and genomix[gpu] (Python 3.12 or later), or use --device cpu",
        )
    return Device("cpu", "CPU", f"--device auto chose the CPU: {problem}")


def missing_gpu_packages() -> list[str]:
    """Return the packages of the ``gpu`` extra that are not installed (looked up, not imported)."""
    return [name for name in ("cupy", "cudf", "cudf_polars", "cuml") if importlib.util.find_spec(name) is None]
