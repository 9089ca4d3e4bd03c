"""Any genotype format into one PLINK 2 fileset, with every record and every call accounted for.

What the fileset cannot hold, and what becomes of it: a haploid call is doubled where one copy is legitimate (X outside
the pseudo-autosomal regions, Y, MT); half-calls and calls of higher ploidy become missing unless a policy says
otherwise; records whose ALT alleles have no sequence are left out. QUAL, FILTER and the chosen INFO keys travel in the
.pvar; FORMAT fields but GT, DS and GP do not.

The input is read once, block by block; finished blocks wait in a :class:`~genomix.io.spool.Spool`, because a .pgen's
writer must know the number of records. Memory is bounded by the block size and the table of records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, FormatError, OutputError
from genomix.io.call_policies import CALL_NOTES, CALL_OUTCOMES, Policies, compacted, finish_block
from genomix.io.contigs import UNKNOWN_BUILD, contig_ranks, ploidy_classes, reconcile_build
from genomix.io.genotype_format import (
    GenotypeSource,
    beside,
    default_block_size,
    fileset_prefix,
    find_format,
)
from genomix.io.load_options import LoadOptions
from genomix.io.load_steps import LoadSteps
from genomix.io.pgen_writer import PgenBlockWriter
from genomix.io.plink import SUFFIXES, open_pgen_records, read_pgen_block, split_alleles, variant_key
from genomix.io.plink_tables import write_psam, write_pvar
from genomix.io.sample_tables import choose_samples, family_identifiers, merge_samples
from genomix.io.spool import FinishedBlock, Spool
from genomix.provenance import atomic_path, output_errors

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
    sorted: bool
    rejected: pl.DataFrame = field(repr=False, compare=False)

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
        or nothing to write.
    TruncatedInputError: for an input that was cut.
    """
    chosen = options or LoadOptions()
    kind = find_format(source)
    target = fileset_prefix(prefix, SUFFIXES)
    _check_options(chosen, kind.name)
    _prepare_folder(target)
    with kind.open(source, chosen.opening()) as opened, Spool(target.parent) as spool:
        build = reconcile_build(chosen.build or opened.header.build, opened.header.contigs, where=str(source))
        numbers, samples = _samples(opened, chosen, str(source))
        steps = LoadSteps(chosen, build, where=str(source), info_numbers=opened.header.info_numbers)
        out_build = steps.out_build
        calls: Counter[str] = Counter()
        _read(opened, steps, spool, _Reading(chosen, out_build, numbers, samples, str(source)), calls, progress)
        steps.finish()
        noted = {name: count for name, count in sorted(opened.notes.items()) if count}
        if not spool.n_records:
            raise FormatError(_nothing_left(steps), where=str(source), hint="look at the file, and at the options")
        records = spool.records()
        order = _canonical_order(records)
        meta = opened.header.kept_meta(chosen.info_keys)
        _write_fileset(target, spool, records, order, samples, opened, out_build, meta)
    return ConversionReport(
        format=kind.name,
        build=out_build,
        build_from=_build_from(chosen, build, steps),
        n_samples=samples.height,
        n_samples_read=opened.header.samples.height,
        n_sex_known=int((samples["sex"] != 0).sum()),
        n_records_read=steps.n_read,
        n_records_added=steps.n_added,
        n_records_written=records.height,
        n_variants_written=split_alleles(records).height,
        records_left_out=dict(sorted(steps.left_out.items())),
        records_noted={**_notes(records), **{k: v for k, v in sorted(steps.noted.items()) if v}},
        calls={name: calls[name] for name in CALL_OUTCOMES if calls[name]},
        calls_noted={**{name: calls[name] for name in CALL_NOTES if calls[name]}, **noted},
        policies={**_policy_sentences(chosen, out_build), **opened.header.policies},
        sorted=order is not None,
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
    opened: GenotypeSource, steps: LoadSteps, spool: Spool, reading: _Reading, calls: Counter[str],
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
            records = _named(kept.records)
            classes = ploidy_classes(records["contig"], records["position"].to_numpy(), reading.build)
            spool.append(records, finish_block(kept, classes, sex, policies, calls, ids=ids, where=reading.where))
        if progress is not None:
            progress(opened.share_read(), steps.n_read)


def _named(records: pl.DataFrame) -> pl.DataFrame:
    named = pl.when(pl.col("variant_id") == ".").then(variant_key()).otherwise("variant_id")
    return records.with_columns(named.alias("variant_id"))


def _nothing_left(steps: LoadSteps) -> str:
    if not steps.left_out:
        return "the input has no records"
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(steps.left_out.items()))
    return f"no record is left to write: {reasons}"


def _canonical_order(records: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    """Return the records' order by contig and position, None when they are in it."""
    ranks, positions = contig_ranks(records["contig"]), records["position"].to_numpy()
    rising = (ranks[1:] > ranks[:-1]) | ((ranks[1:] == ranks[:-1]) & (positions[1:] >= positions[:-1]))
    return None if bool(rising.all()) else np.lexsort((positions, ranks))


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


def _notes(records: pl.DataFrame) -> dict[str, int]:
    alt = pl.col("alt")
    found = records.select(
        alt.str.contains(",", literal=True).sum().alias("multi-allelic"),
        alt.str.contains(r"(^|,)\*").sum().alias("with a spanning deletion among the ALTs"),
        alt.str.contains(r"[<\[\]]").sum().alias("with a symbolic ALT beside a sequence"),
        (~pl.col("filter").is_in(["PASS", "."])).sum().alias("FILTER is not PASS"),
        pl.struct("contig", "position", "ref", "alt")
        .is_duplicated()
        .sum()
        .alias("same position and alleles as another"),
    ).row(0, named=True)
    return {name: int(count) for name, count in found.items() if count}


def _write_fileset(
    prefix: Path, spool: Spool, records: pl.DataFrame, order: npt.NDArray[np.int64] | None, samples: pl.DataFrame,
    opened: GenotypeSource, build: str, meta: tuple[str, ...],
) -> None:  # fmt: skip
    """Write .psam, .pvar and .pgen; all three are complete before the first takes its final name."""
    with ExitStack() as stack:
        pgen, pvar, psam = (stack.enter_context(atomic_path(beside(prefix, s))) for s in (".pgen", ".pvar", ".psam"))
        try:
            write_psam(psam, samples)
            write_pvar(pvar, records if order is None else records[order], build=build, meta=meta)
            shape = _Shape(samples.height, spool.max_alleles, opened.header.ref_known, spool)
            counts = spool.allele_counts()
            if order is None:
                _write_pgen(pgen, shape, len(counts), spool.blocks())
            else:
                _write_sorted(pgen, shape, counts, records, order)
        finally:
            pgen.with_name(pgen.name + ".tmp").unlink(missing_ok=True)


@dataclass(frozen=True)
class _Shape:
    """What a .pgen's writer must know beforehand."""

    n_samples: int
    max_alleles: int
    ref_known: bool
    spool: Spool


def _write_pgen(path: Path, shape: _Shape, n_records: int, blocks: Iterator[FinishedBlock]) -> None:
    writer = PgenBlockWriter(
        path, n_samples=shape.n_samples, n_records=n_records, max_alleles=shape.max_alleles,
        ref_known=shape.ref_known, phased=shape.spool.any_phased, dosages=shape.spool.any_dosages,
    )  # fmt: skip
    try:
        for block in blocks:
            writer.append(block)
        writer.close()
    except BaseException:
        writer.abandon()
        raise


def _write_sorted(
    path: Path, shape: _Shape, counts: npt.NDArray[np.int64], records: pl.DataFrame, order: npt.NDArray[np.int64]
) -> None:
    """Write in source order beside the target, then once more in canonical order."""
    unsorted = path.with_name(path.name + ".unsorted")
    try:
        _write_pgen(unsorted, shape, len(counts), shape.spool.blocks())
        _write_pgen(path, shape, len(counts), _reordered(unsorted, shape.n_samples, counts, records, order))
    finally:
        for leftover in (unsorted, unsorted.with_name(unsorted.name + ".tmp")):
            leftover.unlink(missing_ok=True)


def _reordered(
    path: Path, n_samples: int, counts: npt.NDArray[np.int64], records: pl.DataFrame, order: npt.NDArray[np.int64]
) -> Iterator[FinishedBlock]:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp)
    pgen = open_pgen_records(path, n_samples, offsets)
    size = default_block_size(n_samples)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield compacted(read_pgen_block(pgen, part, records[part]))
    pgen.reader.close()
