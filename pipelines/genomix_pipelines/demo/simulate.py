"""Write the demo's inputs: real genotypes beside SIMULATED records, score weights, link, task and their truth.

The model in full: ``docs/explanation/demo-model.md``.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genomix.errors import FormatError, OutputError
from genomix.io.meds import write_meds
from genomix.provenance import TEMPORARY_PREFIX, atomic_path, sha256_file, sha256_tree, write_bytes, write_json
from genomix.schemas.people import LINK
from genomix_pipelines.demo import bundled
from genomix_pipelines.demo.effects import (
    CAUSAL,
    OUTCOME,
    PROXIES,
    SCORE,
    TRAPS,
    feature_kinds,
    true_effects,
)  # fmt: skip
from genomix_pipelines.demo.genotype_text import read_snvs, subset_vcf
from genomix_pipelines.demo.people import People, simulate_people
from genomix_pipelines.demo.records import simulate_records
from genomix_pipelines.demo.score import score_file, simulate_score, standardise_within


@dataclass(frozen=True)
class DemoTruth:
    """What was simulated, for tests and for the reader; no part of a study reads it.

    Parameters
    ----------
    people: one row per person of this form, with latent values, probability and outcome.
    effects: ``{symbol: log odds per unit}`` as used (after scaling).
    intercept: of the outcome's model.
    weights: rows of the score file.
    content: what ``truth.json`` holds.
    """

    people: pl.DataFrame
    effects: dict[str, float]
    intercept: float
    weights: pl.DataFrame
    content: dict[str, Any]


def simulate_demo(
    out: Path,
    *,
    seed: int,
    n_subjects: int | None = None,
    score_effect: float = 1.0,
    effects: float = 1.0,
    genotypes: Path | None = None,
) -> DemoTruth:
    """Write the demo's inputs into ``out`` and return their truth; equal arguments give equal bytes.

    Latent values and outcomes are drawn for all people and then cut to the small form, so a person has the same truth
    in both forms of one seed.

    Parameters
    ----------
    out: folder; made where it is absent. Written: genotypes.vcf.gz, sample_info.tsv, link.csv, score_weights.tsv,
        task.yaml, records/ (MEDS), truth.json.
    seed: 0 or larger.
    n_subjects: None for all 3,202 people, or 1 to 300 for whole kin groups of the small form.
    score_effect: multiplies the score's true effect; 0 makes it worthless.
    effects: multiplies every true effect; 0 makes the null study, in which nothing predicts.
    genotypes: another VCF of the same people in the bundled file's form.

    Raises
    ------
    ConfigError: when ``n_subjects`` is outside the small form's size.
    FormatError: when ``genotypes`` holds other samples or has another form.
    OutputError: when ``out`` cannot be written, or holds records of other parameters.
    """
    vcf = bundled.genotypes_path() if genotypes is None else genotypes
    wanted = bundled.choose_samples(n_subjects)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    samples = bundled.read_people()
    snvs = read_snvs(vcf)
    if snvs.samples != samples["sample_id"].to_list():
        raise FormatError("the samples are not those of the bundled genotypes, in their order", where=str(vcf))
    score = simulate_score(snvs, seed=streams[0])
    strengths = true_effects(scale_score=score_effect, scale_all=effects)
    z_score = standardise_within(score.raw, samples["superpopulation"].to_list())
    everyone = simulate_people(samples, z_score, effects=strengths, seed=streams[1])
    people = everyone.table.filter(pl.col("sample_id").is_in(wanted))
    records = simulate_records(people, seed=streams[2])
    parameters = {"seed": seed, "score_effect": score_effect, "effects": effects, "n_subjects": n_subjects}
    content = _truth(everyone, people, strengths) | {"parameters": parameters, "genotypes_sha256": sha256_file(vcf)}

    _write_records(records, out / "records")
    _write_genotypes(vcf, out / "genotypes.vcf.gz", None if n_subjects is None else wanted)
    info = people.select("sample_id", "sex", "superpopulation", "population")
    write_bytes(out / "sample_info.tsv", info.write_csv(separator="\t").encode())
    link = LINK.validate(people.select("sample_id", "subject_id")).sort("subject_id")
    write_bytes(out / "link.csv", link.write_csv().encode())
    write_bytes(out / "score_weights.tsv", score_file(score.weights))
    write_bytes(out / "task.yaml", bundled.task_path().read_bytes())
    write_json(out / "truth.json", content)
    return DemoTruth(people, strengths, everyone.intercept, score.weights, content)


def _write_genotypes(vcf: Path, target: Path, samples: list[str] | None) -> None:
    if samples is not None:
        write_bytes(target, subset_vcf(vcf, samples))
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(vcf, temporary)


def _write_records(events: pl.DataFrame, folder: Path) -> None:
    """Write a MEDS dataset; a folder that is there already must hold the same bytes."""
    name = "SIMULATED records of the genomix demo"
    if not folder.exists():
        write_meds(events, folder, descriptions=_codes(events), dataset_name=name)
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=TEMPORARY_PREFIX) as scratch:
        write_meds(events, Path(scratch) / "records", descriptions=_codes(events), dataset_name=name)
        if sha256_tree(Path(scratch) / "records") != sha256_tree(folder):
            raise OutputError(
                "the folder holds records of other parameters", where=str(folder), hint="choose another output folder"
            )


def _codes(events: pl.DataFrame) -> pl.DataFrame:
    codes = events["code"].unique().sort()
    return pl.DataFrame({"code": codes, "description": [f"SIMULATED {describe_code(code)}" for code in codes]})


def describe_code(code: str) -> str:
    """Return a code in a clinician's words.

    >>> describe_code("LAB//c_reactive_protein"), describe_code("MEDS_BIRTH")
    ('laboratory result: c reactive protein', 'birth')
    """
    fixed = {
        "MEDS_BIRTH": "birth", "MEDS_DEATH": "death", "GENDER//F": "sex: female", "GENDER//M": "sex: male",
        OUTCOME: "diagnosis: coronary artery disease", "LAB//glycated_haemoglobin": "laboratory result: HbA1c",
        "LAB//hdl_cholesterol": "laboratory result: HDL cholesterol",
        "LAB//non_hdl_cholesterol": "laboratory result: non-HDL cholesterol",
    }  # fmt: skip
    words = {"LAB": "laboratory result", "DRUG": "dispensed drug"}
    if code in fixed:
        return fixed[code]
    kind, _, name = code.partition("//")
    return f"{words.get(kind, kind.lower())}: {name.removeprefix('SIMULATED_').replace('_', ' ')}"


def _truth(everyone: People, people: pl.DataFrame, strengths: dict[str, float]) -> dict[str, Any]:
    """Return what ``truth.json`` says; it holds no row of any person."""
    through = {name: f"follows {cause}" for name, cause in PROXIES.items()} | TRAPS
    log_odds = {e.name: strengths[e.symbol] for e in CAUSAL}
    return {
        "warning": "SIMULATED: the demo's answer key; a study must not read it",
        "intercept": everyone.intercept,
        "score": SCORE,
        "n_people": people.height,
        "n_with_outcome": int(people["disease"].sum()),
        "features": {
            name: {"kind": kind, "log_odds": log_odds.get(name, 0.0)}
            | ({"note": through[name]} if name in through else {})
            for name, kind in sorted(feature_kinds().items())
        },
        "sources": {e.name: {"per": e.per, "published": e.published, "source": e.source} for e in CAUSAL},
    }
