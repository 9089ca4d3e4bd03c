"""``genomix doctor``: does everything that genomix needs work on this machine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_EXAMPLE = """Examples:

\b
  genomix doctor
  genomix doctor --json > doctor.json
"""

NEEDED = {
    "numpy": "import numpy as np; assert (np.ones((4, 4)) @ np.ones((4, 4))).sum() == 64",
    "scipy": "from scipy import linalg; assert abs(linalg.det([[2.0, 0.0], [0.0, 3.0]]) - 6) < 1e-9",
    "polars": "import polars as pl; assert pl.LazyFrame({'a': [1, 2]}).select(pl.col('a').sum()).collect().item() == 3",
    "pyarrow": "import pyarrow as pa, pyarrow.parquet as pq, io; sink = io.BytesIO(); "
    "pq.write_table(pa.table({'a': [1, 2]}), sink); assert pq.read_table(sink).num_rows == 2",
    "orjson": "import orjson; assert orjson.loads(orjson.dumps({'a': [1, 2.5]})) == {'a': [1, 2.5]}",
    "threadpoolctl": "import threadpoolctl; assert threadpoolctl.threadpool_info() is not None",
    "scikit-learn": "from sklearn.linear_model import Ridge; "
    "assert Ridge().fit([[0.0], [1.0]], [0.0, 1.0]).n_features_in_ == 1",
    "xgboost": "import numpy as np, xgboost as xgb; X = np.arange(8.0).reshape(8, 1); "
    "b = xgb.train({'nthread': 1}, xgb.DMatrix(X, X[:, 0]), 1); assert b.predict(xgb.DMatrix(X)).shape == (8,)",
    "shap": "import numpy as np, shap, xgboost as xgb; X = np.arange(8.0).reshape(8, 1); "
    "b = xgb.train({'nthread': 1}, xgb.DMatrix(X, X[:, 0]), 1); "
    "assert shap.TreeExplainer(b).shap_values(X).shape == (8, 1)",
    "cyvcf2": "import cyvcf2, os, tempfile; f = os.path.join(tempfile.mkdtemp(dir=SCRATCH), 'a.vcf'); "
    r"open(f, 'w').write('##fileformat=VCFv4.2\n##contig=<ID=1>\n"
    r"##FORMAT=<ID=GT,Number=1,Type=String,Description=\"g\">\n"
    r"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\n'); "
    "assert [v.genotype.array()[0, 1] for v in cyvcf2.VCF(f)] == [1]",
    "pgenlib": "import numpy as np, os, pgenlib, tempfile; "
    "f = os.path.join(tempfile.mkdtemp(dir=SCRATCH), 'a.pgen').encode(); "
    "w = pgenlib.PgenWriter(f, 3, variant_ct=1, nonref_flags=False); w.append_biallelic(np.array([0, 1, 2], np.int8)); "
    "w.close(); a = np.empty(3, np.int8); pgenlib.PgenReader(f).read(0, a); assert a.tolist() == [0, 1, 2]",
    "numba": "from numba import njit; assert njit(lambda a: a + 1)(1) == 2",
    "deflate": "import deflate, zlib; assert deflate.gzip_decompress(deflate.gzip_compress(b'abc'), 3) == b'abc'",
    "matplotlib": "import io, matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; plt.plot([0, 1]); "
    "s = io.StringIO(); plt.savefig(s, format='svg'); assert '<svg' in s.getvalue()",
    "jinja2": "import jinja2; assert jinja2.Template('{{ a }}').render(a=1) == '1'",
    "pydantic": "import pydantic; assert pydantic.TypeAdapter(int).validate_python('3') == 3",
    "pyyaml": "import yaml; assert yaml.safe_load('a: 1') == {'a': 1}",
    "typer": "import typer; assert typer.Typer() is not None",
    "rich": "import rich.progress; assert rich.progress.Progress is not None",
}
"""One small real operation per package that genomix cannot do without."""

EXTRAS = {
    "sequence": ("torch", "safetensors", "onnxruntime", "tangermeme", "memelite"),
    "gpu": ("cudf-cu13", "cudf-polars-cu13", "cuml-cu13", "cupy-cuda13x"),
    "pdf": ("weasyprint",),
    "tuning": ("optuna",),
    "hpc": ("snakemake", "snakemake-executor-plugin-slurm", "dask", "distributed", "dask-jobqueue"),
    "privacy": ("crypt4gh", "cryptography"),
}
"""Packages that each extra brings; none is needed for the demo or a study of tables."""

TOOLS = {"plink2": ("plink2", "--version"), "bcftools": ("bcftools", "--version")}
"""Programs that genomix is compared with; it never needs them."""

# The checks run in one process, so that what packages do to each other shows too; a package that kills the process is
# named by the line that is missing, and the rest is checked in a new process.
_CHECKER = r"""
import json, os, sys, tempfile, warnings
warnings.simplefilter("ignore")
with tempfile.TemporaryDirectory() as SCRATCH:
    for name, code in json.loads(sys.stdin.read()):
        try:
            exec(code, {"SCRATCH": SCRATCH})
        except BaseException as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            problem = ""
        os.write(int(sys.argv[1]), (json.dumps([name, problem]) + "\n").encode())
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EXAMPLE, short_help="Check that everything works on this machine.")(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a machine.")] = False) -> None:
    """Check the machine: the device and why, packages (each does one small thing), tools, threads, memory, disk.

    The exit code is not 0 when something that genomix needs is broken; extras and tools may be absent.
    """
    from genomix.errors import MissingDependencyError
    from genomix_cli.console import print_json

    findings = examine()
    if as_json:
        print_json(findings)
    else:
        for line in _lines(findings):
            print(line)
    broken = [name for name, package in findings["packages"].items() if package["problem"]]
    if broken:
        raise MissingDependencyError(
            f"broken or missing: {', '.join(broken)}", hint="install genomix again in a fresh environment"
        )


def examine() -> dict[str, Any]:
    """Return everything that the doctor finds, as plain values."""
    import os
    import platform
    from dataclasses import asdict

    import genomix
    from genomix.device import resolve_device
    from genomix.provenance import package_versions, python_version

    versions = package_versions(tuple(NEEDED))
    problems = check_packages(NEEDED)
    return {
        "genomix": genomix.__version__,
        "python": python_version(),
        "platform": platform.platform(),
        "device": asdict(resolve_device("auto")),
        "packages": {name: {"version": versions[name], "problem": problems[name]} for name in NEEDED},
        "extras": {extra: _extra(packages) for extra, packages in EXTRAS.items()},
        "tools": {name: _tool(command) for name, command in TOOLS.items()},
        "threads": {"cores": os.cpu_count(), "usable": len(os.sched_getaffinity(0))},
        "memory_bytes": _memory(),
        "free_disk_bytes": {"here": _free("."), "temporary files": _free(None)},
        "environment": {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set")},
    }


def check_packages(checks: Mapping[str, str]) -> dict[str, str]:
    """Run each package's small operation in a subprocess and return its problem by name, empty when it works."""
    waiting = list(checks.items())
    problems: dict[str, str] = {}
    while waiting:
        answered, ending = _answers(waiting)
        problems |= answered
        waiting = [(name, code) for name, code in waiting if name not in answered]
        if waiting:
            problems[waiting.pop(0)[0]] = f"it ended the process: {ending}"
    return {name: problems[name] for name in checks}


def _answers(checks: Sequence[tuple[str, str]]) -> tuple[dict[str, str], str]:
    import json
    import os
    import subprocess
    import sys

    readable, writable = os.pipe()
    with os.fdopen(readable) as answers:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHECKER, str(writable)],
                input=json.dumps(list(checks)).encode(), pass_fds=(writable,), timeout=300, check=False,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            ending = f"code {done.returncode}"
        except subprocess.TimeoutExpired:
            ending = "no answer within 300 s"
        finally:
            os.close(writable)
        return dict(json.loads(line) for line in answers), ending


def _extra(packages: tuple[str, ...]) -> dict[str, Any]:
    from genomix.provenance import package_versions

    versions = package_versions(packages)
    return {"installed": all(v != "absent" for v in versions.values()), "versions": versions}


def _tool(command: tuple[str, ...]) -> str:
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "absent"
    return (done.stdout.splitlines() or ["silent"])[0].strip()


def _memory() -> int | None:
    """Return the memory that this process may use, in bytes: the machine's, or its control group's if less."""
    import os
    from contextlib import suppress
    from pathlib import Path

    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is not a number
            found = min(found, int(Path(limit).read_text()))
    return found


def _free(folder: str | None) -> int:
    import shutil
    import tempfile

    return shutil.disk_usage(folder if folder is not None else tempfile.gettempdir()).free


def _lines(findings: Mapping[str, Any]) -> Iterator[str]:
    device = findings["device"]
    yield f"device: {device['kind']} ({device['name']}): {device['reason']}"
    yield f"genomix {findings['genomix']}, Python {findings['python']}, {findings['platform']}"
    for name, package in findings["packages"].items():
        yield f"  {name:14} {package['version']:12} {package['problem'] or 'works'}"
    for extra, found in findings["extras"].items():
        missing = [name for name, version in found["versions"].items() if version == "absent"]
        yield f"  extra {extra:8} {'installed' if found['installed'] else 'not installed: ' + ', '.join(missing)}"
    for name, version in findings["tools"].items():
        yield f"  tool {name:9} {version}"
    yield f"threads: {findings['threads']['usable']} usable of {findings['threads']['cores']} cores"
    yield f"memory: {findings['memory_bytes'] / 2**30:.1f} GiB"
    for place, free in findings["free_disk_bytes"].items():
        yield f"free disk ({place}): {free / 2**30:.1f} GiB"
    for name, value in findings["environment"].items():
        yield f"{name}: {value}"
