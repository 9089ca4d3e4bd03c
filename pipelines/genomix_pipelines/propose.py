"""Propose a commented study file from the data files of a folder: ``genomix init``."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from genomix.errors import InputNotFoundError
from genomix_pipelines.study import fileset_files

GENOTYPE_SUFFIXES = (".vcf.gz", ".vcf.bgz", ".vcf", ".bcf", ".pgen", ".bed")


@dataclass
class Found:
    """What a folder holds, by the part it can play in a study; every list in name order."""

    genotypes: list[Path] = field(default_factory=list)
    records: list[tuple[Path, str]] = field(default_factory=list)
    tasks: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    scores: list[Path] = field(default_factory=list)
    sample_info: list[Path] = field(default_factory=list)
    phenotypes: list[tuple[Path, str, list[str]]] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)


def propose_study(folder: Path) -> str:
    """Return the text of a study file for the data in ``folder``: what was found is filled in, the rest is commented.

    Raises
    ------
    InputNotFoundError: when the folder does not exist or holds no genotypes and no health records.
    """
    if not folder.is_dir():
        raise InputNotFoundError("no such folder", where=str(folder))
    found = look(folder)
    if not found.genotypes and not found.records:
        raise InputNotFoundError(
            "neither genotypes nor health records were found",
            where=str(folder),
            hint="genotypes are "
            + ", ".join(GENOTYPE_SUFFIXES)
            + "; records are a folder of MEDS, OMOP, FHIR, MIMIC or "
            "eICU, or tables with a mapping.toml (genomix init --mapping proposes one); a study of one table is "
            "written by hand: docs/how-to/study-one-table.md",
        )
    parts = [
        _about(),
        _genotypes(found, folder),
        _scores(found, folder),
        _records(found, folder),
        _outcome(found, folder),
    ]
    parts += [_link(found, folder), _split(found), _features(found), _ending(found, folder)]
    return "\n".join(part for part in parts if part)


def look(folder: Path) -> Found:
    """Sort a folder's files (two levels deep) by the part that they can play."""
    found = Found()
    paths = sorted(p for p in (*folder.glob("*"), *folder.glob("*/*")) if not p.name.startswith("."))
    for path in (folder, *(p for p in paths if p.is_dir())):
        if not any(path.is_relative_to(r) for r, _ in found.records) and (name := _record_format(path)) is not None:
            found.records.append((path, name))
    for path in (p for p in paths if p.is_file()):
        table_of_records = any(path.is_relative_to(r) for r, _ in found.records)
        if not table_of_records or path.name.lower().endswith((*GENOTYPE_SUFFIXES, ".yaml", ".yml")):
            _sort_file(path, found)
    return found


def _record_format(folder: Path) -> str | None:
    """Return the name of the one format of records that a folder has, None for none."""
    from genomix.io.record_format import RecordFormat
    from genomix.registry import members

    known: dict[str, RecordFormat] = members("genomix.io", "RECORD_FORMAT")
    fitting = [name for name, kind in known.items() if kind.recognises(folder)]
    return fitting[0] if len(fitting) == 1 else None


def _sort_file(path: Path, found: Found) -> None:
    name = path.name.lower()
    if name.endswith(GENOTYPE_SUFFIXES):
        if not name.endswith(".bed") or len(fileset_files(path)) == 3:
            found.genotypes.append(path)
        return
    if name.endswith((".yaml", ".yml")) and "predicates" in path.read_text(errors="replace"):
        found.tasks.append(path)
        return
    if not name.endswith((".csv", ".tsv", ".txt", ".psam", ".txt.gz", ".tsv.gz", ".csv.gz", ".pheno")):
        return
    header = _header(path)
    columns = {c.lower(): c for c in header}
    if {"sample_id", "subject_id"} <= columns.keys():
        found.links.append(path)
    elif "effect_allele" in columns and ("effect_weight" in columns or "weight" in columns):
        found.scores.append(path)
    elif "sex" in columns and ({"sample_id", "iid", "#iid"} & columns.keys()):
        found.sample_info.append(path)
    elif id_column := next((columns[c] for c in ("sample_id", "iid", "#iid") if c in columns), None):
        found.phenotypes.append((path, id_column, [c for c in header if c not in (id_column, "FID", "#FID")]))
    else:
        found.other.append(path)


def _header(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", errors="replace") as stream:
            for line in stream:
                if line.startswith("##") or (line.startswith("#") and "\t" not in line):
                    continue
                text = line.rstrip("\r\n")
                return text.split("\t" if "\t" in text else ",")
    except (OSError, EOFError):
        return []
    return []


def _quoted(path: Path, folder: Path) -> str:
    return '"' + path.relative_to(folder).as_posix().replace('"', '\\"') + '"'


def _choice(paths: list[Path], folder: Path) -> str:
    text = f"path = {_quoted(paths[0], folder)}"
    return text + "".join(f"\n# path = {_quoted(p, folder)}   # found too" for p in paths[1:])


def _about() -> str:
    return """# A genomix study. Lines that start with # are alternatives. Paths start at this file's folder.
# `genomix check` says what is wrong or missing before anything is trained.
[study]
title = "Write what the study is called"
question = "Write the question that the report must answer"
outcome = "write the outcome as a reader would say it"
population = "write who was studied"
seed = 1
# report_date = "2026-01-31"   # the report states no date unless you give one
# threshold = 0.2              # predicted risk from which you would act; adds net benefit at that threshold
# owner = "..."                # with intended_use, replaces the research-use banner
# intended_use = "..."
"""


def _genotypes(found: Found, folder: Path) -> str:
    if not found.genotypes:
        return "# [genotypes]   # none found here\n"
    info = f"sample_info = {_quoted(found.sample_info[0], folder)}   # sex, ancestry labels" if found.sample_info else (
        '# sample_info = "samples.tsv"   # columns sample_id, sex (1 male, 2 female, 0 unknown), any labels'
    )  # fmt: skip
    ancestry = ""
    if found.sample_info:
        labels = [c for c in _header(found.sample_info[0]) if "pop" in c.lower() or "ancestry" in c.lower()]
        ancestry = f'\nancestry_column = "{labels[0]}"' if labels else ""
    return f"""[genotypes]
{_choice(found.genotypes, folder)}
# build = "GRCh38"   # needed when the file does not state contig lengths
{info}{ancestry}

[genotypes.qc]
variant_call_rate = 0.95
minor_allele_frequency = 0.01
hwe_p = 1e-6
sample_call_rate = 0.95
"""


def _scores(found: Found, folder: Path) -> str:
    return "\n".join(
        f"""[[scores]]
name = "{path.name.split(".")[0]}"
path = {_quoted(path, folder)}
discovery_cohorts = "unknown"   # none | overlaps | unknown: was this score trained on the study's people?
"""
        for path in found.scores
    )


def _records(found: Found, folder: Path) -> str:
    if not found.records:
        return (
            "# [records]   # none found here; tables need a mapping: genomix init DIR --mapping -o DIR/mapping.toml\n"
        )
    paths, formats = [p for p, _ in found.records], [name for _, name in found.records]
    others = "".join(f"\n# format = {name!r}" for name in dict.fromkeys(formats) if name != formats[0])
    return f"""[records]
{_choice(paths, folder)}
format = "{formats[0]}"{others}
"""


def _outcome(found: Found, folder: Path) -> str:
    if found.records:
        path = (
            _choice(found.tasks, folder)
            if found.tasks
            else 'path = "task.yaml"   # write the cohort and label, or copy one: genomix ehr tasks NAME > task.yaml'
        )
        return f"[task]\n{path}\n"
    if found.phenotypes:
        table, id_column, columns = found.phenotypes[0]
        names = ", ".join(f'"{c}"' for c in columns[:1])
        more = f"   # the table also has: {', '.join(columns[1:9])}" if len(columns) > 1 else ""
        return f"""[phenotype]
path = {_quoted(table, folder)}
format = "table"
sample_column = "{id_column}"
targets = [{names}]{more}
objective = "regression"   # or "binary" for 0/1
"""
    return """# [phenotype]   # no phenotype table found here
# path = "phenotypes.tsv"
# sample_column = "sample_id"
# targets = ["trait"]
# objective = "regression"
"""


def _link(found: Found, folder: Path) -> str:
    if found.links:
        return f"[link]\n{_choice(found.links, folder)}\n"
    if found.genotypes and found.records:
        return """# [link]   # needed unless each sample is named by its subject_id
# path = "link.csv"   # columns sample_id, subject_id
"""
    return ""


def _split(found: Found) -> str:
    keep = "kin_groups" if found.genotypes else "subjects"
    return f"""[split]
design = "holdout"             # or "cross_validation" (few people: use this one), "by_time", "by_site"
keep_together = "{keep}"   # kin_groups | kinship_clusters | families | subjects
kinship = 0.177                # KING coefficient above which relatives stay together
held_out = 0.3
tuning = 0.15
"""


def _features(found: Found) -> str:
    parts = ["[features.demographics]\n"]
    if found.genotypes:
        parts.append("[features.ancestry_pcs]\nn_components = 5\n")
    if found.records:
        parts.append("""[features.record_windows]
windows = ["30d", "365d", "full"]
numeric = ["last", "mean"]
counts = ["count"]
min_subjects = 20
""")
    if found.scores:
        parts.append("[features.polygenic_score]\n")
    if found.genotypes and not found.scores:
        parts.append("# [features.dosages]   # genotypes themselves as features\n# prune_r2 = 0.8\n")
    return "\n".join(parts)


def _ending(found: Found, folder: Path) -> str:
    text = "[report]\nexamples = 0   # opt in to a separate file with this many pseudonymised people\n"
    if found.other:
        text += "\n# Not used: " + ", ".join(_quoted(p, folder) for p in found.other[:10]) + "\n"
    return text
