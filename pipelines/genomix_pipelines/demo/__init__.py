"""The demo study: real genotypes, SIMULATED health records and outcome; ``genomix demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genomix.device import Device
from genomix.errors import ConfigError
from genomix_pipelines.demo import bundled
from genomix_pipelines.demo.simulate import simulate_demo
from genomix_pipelines.execute import Outcome, execute
from genomix_pipelines.lock import refuse_if_owned
from genomix_pipelines.study import load_study

SMALL_SUBJECTS = 300
SIZES = ("full", "small")


def write_inputs(out: Path, *, seed: int, size: str = "full", score_effect: float = 1.0, effects: float = 1.0) -> Path:
    """Write the demo's inputs into ``out/inputs`` and return the study file; equal parameters give equal bytes.

    Raises
    ------
    OutputError: when the folder holds the inputs of other parameters.
    """
    if size not in SIZES:
        raise ConfigError(f"unknown size {size!r}", hint="full or small")
    folder = out / "inputs"
    n_subjects = SMALL_SUBJECTS if size == "small" else None
    simulate_demo(folder, seed=seed, n_subjects=n_subjects, score_effect=score_effect, effects=effects)
    return write_study_file(folder, seed=seed, size=size)


def write_study_file(folder: Path, *, seed: int, size: str) -> Path:
    """Write ``study.toml`` beside the inputs."""
    from genomix.provenance import write_bytes

    text = (bundled.data_folder() / "study.toml").read_text().replace("@SEED@", str(seed))
    if size == "small":
        text = text.replace("min_subjects = 30", "min_subjects = 10")
    path = folder / "study.toml"
    if not path.exists() or path.read_text() != text:
        write_bytes(path, text.encode())
    return path


def run_demo(
    out: Path,
    *,
    seed: int,
    size: str = "full",
    device: Device,
    score_effect: float = 1.0,
    effects: float = 1.0,
    **options: Any,
) -> Outcome:
    """Simulate the inputs, then run the study like any other.

    Parameters
    ----------
    out: the output folder. seed: of the simulation, the split and the models. size: ``full`` (3,202 people) or
        ``small`` (about 300). score_effect, effects: scale the true effects; 0 plants none.
    options: passed to ``execute`` (jobs, observer, strict).
    """
    refuse_if_owned(out)  # replacing the inputs of a run that reads them would end it
    study = write_inputs(out, seed=seed, size=size, score_effect=score_effect, effects=effects)
    return execute(load_study(study), out, device=device, **options)
