"""Any genotype format into one PLINK 2 fileset, with every record and every call accounted for.

What the fileset cannot hold, and what becomes of it: a haploid call is doubled where one copy is legitimate (X outside
the pseudo-autosomal regions, Y, MT); half-calls and calls of higher ploidy become missing unless a policy says
otherwise; records whose ALT alleles have no sequence are left out; dosages of records with several ALTs are kept only
where such records are split. QUAL, FILTER and the chosen INFO keys travel in the
.pvar; FORMAT fields but GT, DS and GP do not.

The input is read once, block by block; finished calls wait in a :class:`~genomix.io.spool.Spool`, because a .pgen's
writer must know the number of records, and their records in a :class:`~genomix.io.pvar_body.PvarBody`. Memory is
bounded by the block size, and twelve bytes a record; records out of order take their whole table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError, OutputError
from genomix.io.call_policies import CALL_NOTES, CALL_OUTCOMES, Policies, finish_block
from genomix.io.contigs import UNKNOWN_BUILD, ploidy_classes, reconcile_build
from genomix.io.fileset_writer import FinishedRecords, write_fileset
from genomix.io.genotype_format import GenotypeBlock, GenotypeSource, fileset_prefix, find_format
from genomix.io.load_options import LoadOptions
from genomix.io.load_steps import LOST_DOSAGES, OUTSIDE_REGIONS, LoadSteps
from genomix.io.pgen_writer import MOST_ALTS
from genomix.io.plink import SUFFIXES
from genomix.io.pvar_body import PvarBody
from genomix.io.record_lines import RecordLines
from genomix.io.regions import Regions
from genomix.io.sample_tables import choose_samples, family_identifiers, merge_samples
from genomix.io.spool import Spool
from genomix.provenance import output_errors

Progress = Callable[[float, int], None]
"""Called with the share of the input that was read, and the records so far."""


@dataclass(frozen=True)
class ConversionReport:
    """Counts of everything that went in and what became of it.

    Parameters
    ----------
    format: name of the source's format.
    build: genome build of the output; build_from: ``declared``, ``file``, ``FASTA``, ``liftover`` or
        ``unknown``.
    n_samples: samples written; n_samples_read: samples of the source; n_sex_known: those with a recorded sex.
    n_records_read, n_records_written: records; n_records_added: records that splitting made of others. What was read
        and added is what was written and ``records_left_out``.
    n_variants_written: (record, countable ALT) pairs, the rows of the store.
    records_left_out: count by reason, e.g. no ALT, symbolic ALT only, REF unknown, outside the regions.
    records_noted: counts of records that were kept but have a property worth knowing, or were changed.
    calls: what became of every call of a written record, by outcome; the counts sum to records x samples.
    calls_noted: counts of calls that were kept but contradict the recorded sex.
    policies: the rules that were applied.
    absent_contigs: contigs of the regions asked for that neither the header nor any record names.
    sorted: True when the records were not in canonical order and had to be sorted.
    rejected: the records that a FASTA or a chain file turned away, with the reason of each.
    """

    format: str
    build: str
    build_from: str
    n_samples: int
    n_samples_read: int
    n_sex_known: int
    n_records_read: int
    n_records_added: int
    n_records_written: int
    n_variants_written: int
    records_left_out: dict[str, int]
    records_noted: dict[str, int]
    calls: dict[str, int]
    calls_noted: dict[str, int]
    policies: dict[str, str]
    absent_contigs: list[str]
    sorted: bool
    rejected: pl.DataFrame = field(repr=False, compare=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should not go unread, as sentences."""
        n_lost = sum(self.records_noted.get(note, 0) for note in LOST_DOSAGES)
        if not n_lost:
            return ()
        why = (
            "a .pgen holds dosages of records with one ALT only; splitting keeps them (--multi-allelic split, "
            'in a study multi_allelic = "split")'
        )
        if self.policies["multi_allelic"] == "split":
            why = "DS needs one value for each ALT, GP one for each genotype"
        return (f"DS or GP of {n_lost:,} record(s) with several ALTs could not be kept: {why}",)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values, without the list of rejected records."""
        values = asdict(self)
        del values["rejected"]
        return values

    def to_frame(self) -> pl.DataFrame:
        """Return the counts as a table: part, reason, count."""
        records = {"read": self.n_records_read, "added by splitting": self.n_records_added}
        parts = {
            "samples": {"read": self.n_samples_read, "written": self.n_samples},
            "records": {**records, "written": self.n_records_written},
            "records left out": self.records_left_out,
            "records noted": self.records_noted,
            "calls": self.calls,
            "calls noted": self.calls_noted,
        }
        rows = [(part, reason, count) for part, counts in parts.items() for reason, count in counts.items()]
        return pl.DataFrame(rows, schema={"part": pl.String, "reason": pl.String, "count": pl.Int64}, orient="row")


def convert_genotypes(
    source: Path, prefix: Path, options: LoadOptions | None = None, *, progress: Progress | None = None
) -> ConversionReport:
    """Convert any supported genotype input into ``prefix``.pgen/.pvar/.psam and account for everything.

    Parameters
    ----------
    source: the input file, a fileset's prefix, or ``-`` for a VCF or BCF on standard input.
    prefix: the output's prefix; the three files are replaced together, each atomically.
    options: what to load and how; None for the defaults.
    progress: called with (share of the input read, records so far).

    Raises
    ------
    FormatError: for a malformed input, a build that contradicts the contig lengths, a REF that contradicts the FASTA,
        a record of more ALTs than a .pgen holds, or nothing to write.
    ConfigError: for options that do not fit the input, a region that is neither a range nor a contig included.
    TruncatedInputError: for an input that was cut.
    """
    chosen = options or LoadOptions()
    kind = find_format(source)
    target = fileset_prefix(prefix, SUFFIXES)
    _check_options(chosen, kind.name)
    _prepare_folder(target)
    with (
        kind.open(source, chosen.opening()) as opened,
        Spool(target.parent) as spool,
        PvarBody(target.parent) as body,
    ):
        build = reconcile_build(chosen.build or opened.header.build, opened.header.contigs, where=str(source))
        if chosen.regions is not None:
            chosen = replace(chosen, regions=chosen.regions.resolved(opened.header.contigs))
        numbers, samples = _samples(opened, chosen, str(source))
        steps = LoadSteps(chosen, build, where=str(source), info_numbers=opened.header.info_numbers)
        out_build = steps.out_build
        calls: Counter[str] = Counter()
        finished = FinishedRecords(spool, body)
        _read(opened, steps, finished, _Reading(chosen, out_build, numbers, samples, str(source)), calls, progress)
        steps.finish()
        absent = _absent_contigs(opened, steps, chosen.regions)
        noted = {name: count for name, count in sorted(opened.notes.items()) if count}
        if not body.n_records:
            raise _nothing_left(steps, chosen.regions, absent, str(source))
        meta = opened.header.kept_meta(chosen.info_keys)
        written = write_fileset(
            target, finished, samples, build=out_build, meta=meta, ref_known=opened.header.ref_known
        )
    return ConversionReport(
        format=kind.name,
        build=out_build,
        build_from=_build_from(chosen, build, steps),
        n_samples=samples.height,
        n_samples_read=opened.header.samples.height,
        n_sex_known=int((samples["sex"] != 0).sum()),
        n_records_read=steps.n_read,
        n_records_added=steps.n_added,
        n_records_written=body.n_records,
        n_variants_written=body.n_variants,
        records_left_out=dict(sorted(steps.left_out.items())),
        records_noted={**written.notes, **{k: v for k, v in sorted(steps.noted.items()) if v}},
        calls={name: calls[name] for name in CALL_OUTCOMES if calls[name]},
        calls_noted={**{name: calls[name] for name in CALL_NOTES if calls[name]}, **noted},
        policies={**_policy_sentences(chosen, out_build), **opened.header.policies},
        absent_contigs=absent,
        sorted=written.was_sorted,
        rejected=steps.rejected(),
    )


_OF_BGEN = {"bgen_ref": "--bgen-ref", "sample_file": "--sample-file"}


def _check_options(options: LoadOptions, kind: str) -> None:
    """Refuse options that would be passed over in silence."""
    plain = LoadOptions()
    for name, option in _OF_BGEN.items():
        if kind != "bgen" and getattr(options, name) != getattr(plain, name):
            raise ConfigError(f"{option} is for BGEN files, this is {kind}", hint=f"leave out {option}")
    if options.dosage_field in ("DS", "GP") and kind in ("plink1", "plink2"):
        raise ConfigError(f"a {kind} fileset has no {options.dosage_field}", hint="leave out --dosage")
    if options.fasta is None and options.ref_mismatch != plain.ref_mismatch:
        raise ConfigError("--ref-mismatch needs the reference sequence", hint="give --fasta")
    if options.samples == ():
        raise ConfigError("no sample is asked for", hint="name some, or leave out --samples")


def _prepare_folder(target: Path) -> None:
    """Make the output's folder; a prefix must end with a name that a file can have."""
    if not target.name or target.is_dir() or str(target) in ("-", "."):
        raise OutputError(f"{str(target)!r} is no prefix for files", hint="a folder and a name, e.g. -o out/cohort")
    try:
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {target.parent.name}: {error.strerror}", where=str(target.parent), hint="choose another place"
        ) from error


def _build_from(options: LoadOptions, build: str, steps: LoadSteps) -> str:
    if options.chain is not None:
        return "liftover"
    if options.build:
        return "declared"
    return "file" if build != UNKNOWN_BUILD else "FASTA" if steps.build != UNKNOWN_BUILD else "unknown"


def _samples(
    opened: GenotypeSource, options: LoadOptions, where: str
) -> tuple[npt.NDArray[np.int64] | None, pl.DataFrame]:
    """Return the numbers of the samples to load (None for all), and their table."""
    samples = opened.header.samples
    if "FID" not in samples.columns:
        samples = family_identifiers(samples, double_id=options.double_id, delimiter=options.id_delimiter, where=where)
    numbers = choose_samples(samples, options.samples)
    return numbers, merge_samples(samples if numbers is None else samples[numbers], options.sex)


@dataclass(frozen=True)
class _Reading:
    """What reading needs beside the source."""

    options: LoadOptions
    build: str
    numbers: npt.NDArray[np.int64] | None
    samples: pl.DataFrame
    where: str


def _read(
    opened: GenotypeSource, steps: LoadSteps, finished: FinishedRecords, reading: _Reading, calls: Counter[str],
    progress: Progress | None,
) -> None:  # fmt: skip
    """Bring every block into its final form and spool it."""
    sex, ids = reading.samples["sex"].to_numpy(), reading.samples["sample_id"]
    policies = Policies(reading.options.half_call, reading.options.haploid)
    for block in opened.blocks():
        kept = steps.apply(block)
        if reading.numbers is not None:
            kept = kept.select_samples(reading.numbers)
        if kept.n_records:
            _check_allele_counts(kept, reading.where)
            classes = _classes(kept, reading.build)
            done = finish_block(kept, classes, sex, policies, calls, ids=ids, where=reading.where)
            finished.calls.append(done)
            finished.body.append(kept.fixed)
        if progress is not None:
            progress(opened.share_read(), steps.n_read)


def _check_allele_counts(block: GenotypeBlock, where: str) -> None:
    """Raise a :class:`FormatError` for a record that has more ALTs than a .pgen can hold."""
    n_alts = block.allele_counts - 1
    if int(n_alts.max()) <= MOST_ALTS:
        return
    row = int(np.argmax(n_alts > MOST_ALTS))
    contig, position, alt = block.records.select("contig", "position", "alt").row(row)
    raise FormatError(
        f"a record has {alt.count(',') + 1:,} ALTs, a .pgen holds at most {MOST_ALTS}",
        where=f"{where} record {int(block.numbers[row]) + 1} ({contig}:{position})",
        hint="genomix variants convert with --multi-allelic split writes one record per ALT, drop leaves it out",
    )


def _classes(block: GenotypeBlock, build: str) -> npt.NDArray[np.int8]:
    """Return the ploidy class of each record."""
    if isinstance(block.fixed, RecordLines):
        lines = block.fixed
        return ploidy_classes(lines.contigs, lines.positions, build, run_lengths=lines.run_lengths)
    return ploidy_classes(block.records["contig"], block.records["position"].to_numpy(), build)


def _absent_contigs(opened: GenotypeSource, steps: LoadSteps, regions: Regions | None) -> list[str]:
    """Return the regions' contigs that neither the header nor a record names; refuse texts that name none."""
    if regions is None:
        return []
    known = {*opened.header.contigs, *opened.contigs_passed_over, *steps.contigs}
    if not opened.header.contigs:
        regions.resolved(known)
    return regions.missing_contigs(known)


def _nothing_left(steps: LoadSteps, regions: Regions | None, absent: list[str], where: str) -> FormatError:
    if regions is not None and not steps.left_out.keys() - {OUTSIDE_REGIONS}:
        lacking = f"; the input has no contig {', '.join(absent)}" if absent else ""
        return FormatError(
            f"no record lies in the regions asked for{lacking}", where=where, hint="other regions, or another input"
        )
    hint = "look at the file, and at the options"
    if not steps.left_out:
        return FormatError("the input has no records", where=where, hint=hint)
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(steps.left_out.items()))
    return FormatError(f"no record is left to write: {reasons}", where=where, hint=hint)


def _policy_sentences(options: LoadOptions, build: str) -> dict[str, str]:
    par = f"pseudo-autosomal regions of {build}" if build != UNKNOWN_BUILD else "none (build unknown): all of X and Y"
    info = "all" if options.info_keys == ("*",) else ", ".join(options.info_keys) or "none"
    return {
        "half_call": options.half_call,
        "haploid": f"doubled on X outside the PARs, Y and MT; elsewhere: {options.haploid}",
        "pseudo_autosomal": par,
        "ploidy_over_two": "missing",
        "dosages": options.dosage_field,
        "multi_allelic": options.multi_allelic,
        "phase": "kept; a phased dosage loses its phase",
        "info_kept": info,
        "not_carried_over": "other INFO keys, and all FORMAT fields but GT (and DS or GP as dosages says)",
    }
