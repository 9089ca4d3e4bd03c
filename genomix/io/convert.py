"""Any genotype format into one PLINK 2 fileset, with every record and every call accounted for.

What the fileset cannot hold, and what becomes of it: a haploid call is doubled where one copy is legitimate (X outside
the pseudo-autosomal regions, Y, MT); half-calls and calls of higher ploidy become missing unless a policy says
otherwise; records whose ALT alleles have no sequence are left out. GQ, DP, QUAL, FILTER and INFO are not carried over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError, Identifier, LinkError
from genomix.io.call_policies import (
    CALL_NOTES,
    CALL_OUTCOMES,
    HalfCallPolicy,
    HaploidPolicy,
    apply_ploidy,
    note_sex,
)
from genomix.io.contigs import (
    check_positions,
    contig_ranks,
    normalise_contigs,
    ploidy_classes,
    reconcile_build,
)
from genomix.io.genotype_format import (
    AlleleArray,
    GenotypeBlock,
    GenotypeSource,
    beside,
    default_block_size,
    fileset_prefix,
    find_format,
)
from genomix.io.pgen_writer import PgenBlockWriter
from genomix.io.plink import SUFFIXES, allele_offsets, open_pgen, read_pgen_block, split_alleles, variant_key
from genomix.io.plink_tables import write_psam, write_pvar
from genomix.provenance import atomic_path

Progress = Callable[[int, int], None]
SexTable = Mapping[str, int] | pl.DataFrame

_BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConversionReport:
    """Counts of everything that went in and what became of it.

    Parameters
    ----------
    format: name of the source's format.
    build: genome build of the output; build_from: ``declared``, ``file`` or ``unknown``.
    n_samples: samples in and out (none is dropped); n_sex_known: those with a recorded sex.
    n_records_read, n_records_written: records; they differ by the counts in ``records_left_out``.
    n_variants_written: (record, countable ALT) pairs, the rows of the store.
    records_left_out: count by reason: no ALT, symbolic ALT only, spanning deletion only, REF unknown,
        negative position.
    records_noted: counts of records that were kept but have a property worth knowing.
    calls: what became of every call of a written record, by outcome; the counts sum to records x samples.
    calls_noted: counts of calls that were kept but contradict the recorded sex.
    policies: the rules that were applied.
    sorted: True when the records were not in canonical order and had to be sorted.
    """

    format: str
    build: str
    build_from: str
    n_samples: int
    n_sex_known: int
    n_records_read: int
    n_records_written: int
    n_variants_written: int
    records_left_out: dict[str, int]
    records_noted: dict[str, int]
    calls: dict[str, int]
    calls_noted: dict[str, int]
    policies: dict[str, str]
    sorted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_frame(self) -> pl.DataFrame:
        """Return the counts as a table: part, reason, count."""
        parts = {
            "records": {"read": self.n_records_read, "written": self.n_records_written},
            "records left out": self.records_left_out,
            "records noted": self.records_noted,
            "calls": self.calls,
            "calls noted": self.calls_noted,
        }
        rows = [(part, reason, count) for part, counts in parts.items() for reason, count in counts.items()]
        return pl.DataFrame(rows, schema={"part": pl.String, "reason": pl.String, "count": pl.Int64}, orient="row")


class _Plan(NamedTuple):
    """What will be written: kept source records, their place in the output, and their tables."""

    kept: _BOOL
    order: npt.NDArray[np.int64] | None
    records: pl.DataFrame
    classes: npt.NDArray[np.int8]
    allele_counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Policies:
    half_call: HalfCallPolicy
    haploid: HaploidPolicy


def convert_genotypes(
    source: Path,
    prefix: Path,
    *,
    build: str | None = None,
    sex: SexTable | None = None,
    half_call: HalfCallPolicy = "missing",
    haploid: HaploidPolicy = "missing",
    block_size: int | None = None,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a VCF, BCF, PLINK 1 or PLINK 2 input into ``prefix``.pgen/.pvar/.psam and account for everything.

    Parameters
    ----------
    source: the input file, or a fileset's prefix.
    prefix: the output's prefix; the three files are replaced together, each atomically.
    build: genome build (GRCh37, GRCh38 or an alias); None takes it from the file's contig lengths.
    sex: sample to sex (1 male, 2 female, 0 unknown), or a frame with ``sample_id``, optionally ``sex``, and further
        columns that travel in the .psam; it overrides the source's own sex.
    half_call: what a call such as ``./1`` becomes.
    haploid: what a haploid call becomes where two copies are expected; on X outside the PARs, Y and MT it is doubled.
    block_size: records per block; None bounds a block's memory.
    progress: called with (records done, records in all).

    Raises
    ------
    FormatError: for a malformed input, a build that contradicts the contig lengths, or nothing to write.
    TruncatedInputError: for an input that was cut.
    """
    kind = find_format(source)
    target = fileset_prefix(prefix, SUFFIXES)
    with kind.open(source) as opened:
        found = opened.records()
        lengths = opened.header.contigs
        resolved = reconcile_build(build or opened.header.build, lengths, where=str(source))
        plan, left_out, noted = _plan(found, resolved, str(source))
        samples = merge_samples(opened.header.samples, sex)
        calls = _write_fileset(
            opened, plan, samples, target, resolved, _Policies(half_call, haploid), block_size, progress, str(source)
        )
        males, females = (samples["sex"] == 1).to_numpy(), (samples["sex"] == 2).to_numpy()
    return ConversionReport(
        format=kind.name,
        build=resolved,
        build_from="declared" if build else ("file" if resolved != "unknown" else "unknown"),
        n_samples=samples.height,
        n_sex_known=int(males.sum() + females.sum()),
        n_records_read=found.height,
        n_records_written=plan.records.height,
        n_variants_written=split_alleles(plan.records).height,
        records_left_out=left_out,
        records_noted=noted,
        calls={name: calls[name] for name in CALL_OUTCOMES if calls[name]},
        calls_noted={name: calls[name] for name in CALL_NOTES if calls[name]},
        policies=_policy_sentences(half_call, haploid, resolved),
        sorted=plan.order is not None,
    )


def _policy_sentences(half_call: str, haploid: str, build: str) -> dict[str, str]:
    par = f"pseudo-autosomal regions of {build}" if build != "unknown" else "no PARs (build unknown): all of X and Y"
    return {
        "half_call": half_call,
        "haploid": f"doubled on X outside the PARs, Y and MT; elsewhere: {haploid}",
        "pseudo_autosomal": par,
        "ploidy_over_two": "missing",
        "phase": "kept; a phased dosage loses its phase",
        "not_carried_over": "QUAL, FILTER, INFO and all FORMAT fields but GT (and DS where there is no GT)",
    }


def merge_samples(samples: pl.DataFrame, given: SexTable | None) -> pl.DataFrame:
    """Return the samples with sex and further columns from a mapping or a frame keyed by ``sample_id``.

    Raises
    ------
    LinkError: when no sample of ``given`` is in the genotypes, or one is there twice.
    """
    if given is None:
        return samples
    table = given if isinstance(given, pl.DataFrame) else _sex_frame(given)
    if "sample_id" not in table.columns:
        raise FormatError("the table of samples has no column sample_id", hint="it has: " + ", ".join(table.columns))
    twice = table["sample_id"].is_duplicated()
    if twice.any():
        row = int(twice.arg_max() or 0)
        repeated = Identifier("sample", str(table["sample_id"][row]), row + 1)
        raise LinkError("the table of samples names a sample twice", identifiers=(repeated,))
    if "sex" in table.columns and not table["sex"].cast(pl.Int64).fill_null(0).is_in([0, 1, 2]).all():
        raise FormatError("the table of samples has a sex that is not 1 (male), 2 (female) or 0 (unknown)")
    if table.height and not table["sample_id"].is_in(samples["sample_id"].to_list()).any():
        raise LinkError("no sample of the table is in the genotypes", hint="compare both files' identifiers")
    new = table.rename({"sex": "_sex"}) if "sex" in table.columns else table
    kept = samples.drop([c for c in new.columns if c in samples.columns and c != "sample_id"])
    joined = kept.join(new, on="sample_id", how="left", maintain_order="left")
    if "_sex" not in joined.columns:
        return joined
    sex = pl.coalesce(pl.col("_sex").cast(pl.Int8), pl.col("sex")).fill_null(0)
    return joined.with_columns(sex.alias("sex")).drop("_sex")


def _sex_frame(given: Mapping[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"sample_id": list(given), "sex": list(given.values())}, schema={"sample_id": pl.String, "sex": pl.Int8}
    )


def _plan(found: pl.DataFrame, build: str, where: str) -> tuple[_Plan, dict[str, int], dict[str, int]]:
    """Decide from the records' fixed columns alone what is written, and in which order."""
    named = found.rechunk().with_columns(
        normalise_contigs(found["contig"]),
        pl.col("ref").str.to_uppercase(),
        _upper_sequences(pl.col("alt")).alias("alt"),
    )
    check_positions(named, build, where=where)
    reason = named.select(_left_out_reason()).to_series()
    kept = (reason == "").to_numpy()
    records = named.filter(kept)
    if not records.height:
        raise FormatError("no record has an ALT allele with a sequence", where=where)
    ranks, positions = contig_ranks(records["contig"]), records["position"].to_numpy()
    order = np.lexsort((positions, ranks))
    in_order = bool((order == np.arange(len(order))).all())
    named_by_place = pl.when(pl.col("variant_id") == ".").then(variant_key()).otherwise("variant_id")
    records = records.with_columns(named_by_place.alias("variant_id"))
    plan = _Plan(
        kept,
        None if in_order else order,
        records if in_order else records[order],
        ploidy_classes(records["contig"], positions, build),
        np.diff(allele_offsets(records["alt"])).astype(np.int64),
    )
    counts = reason.filter(reason != "").value_counts(sort=False).sort("reason")
    return plan, {str(k): int(v) for k, v in counts.iter_rows()}, _notes(records)


def _upper_sequences(alt: pl.Expr) -> pl.Expr:
    """Upper-case bases; symbolic alleles and breakends keep their spelling."""
    return pl.when(alt.str.contains(r"[<\[\]]")).then(alt).otherwise(alt.str.to_uppercase())


def _left_out_reason() -> pl.Expr:
    without_sequence = r"(?:\*|<[^,]*>|[^,]*[\[\]][^,]*)"
    countable = ~pl.col("alt").str.contains(f"^{without_sequence}(?:,{without_sequence})*$")
    return (
        pl.when(pl.col("position") < 0).then(pl.lit("negative position (PLINK's mark for a variant to ignore)"))
        .when(pl.col("ref") == ".").then(pl.lit("REF unknown"))
        .when(pl.col("alt") == ".").then(pl.lit("no ALT"))
        .when(pl.col("alt") == "*").then(pl.lit("spanning deletion only"))
        .when(~countable).then(pl.lit("symbolic ALT only"))
        .otherwise(pl.lit("")).alias("reason")
    )  # fmt: skip


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
    opened: GenotypeSource, plan: _Plan, samples: pl.DataFrame, prefix: Path, build: str, policies: _Policies,
    block_size: int | None, progress: Progress | None, where: str,
) -> Counter[str]:  # fmt: skip
    """Write .psam, .pvar and .pgen; all three are complete before the first takes its final name."""
    calls: Counter[str] = Counter()
    with ExitStack() as stack:
        pgen, pvar, psam = (stack.enter_context(atomic_path(beside(prefix, s))) for s in (".pgen", ".pvar", ".psam"))
        try:
            write_psam(psam, samples)
            write_pvar(pvar, plan.records, build=build)
            blocks = _finished_blocks(opened, plan, samples, policies, calls, block_size, progress, where)
            if plan.order is None:
                _write_pgen(pgen, opened, plan.allele_counts, blocks)
            else:
                _write_sorted(pgen, opened, plan, blocks)
        finally:
            pgen.with_name(pgen.name + ".tmp").unlink(missing_ok=True)
    return calls


class _Finished(NamedTuple):
    """A block as it is written: diploid codes, phase, allele counts, dosages."""

    alleles: AlleleArray
    phased: _BOOL
    allele_counts: npt.NDArray[np.int64]
    dosages: npt.NDArray[np.float32] | None


def _write_pgen(
    path: Path, opened: GenotypeSource, allele_counts: npt.NDArray[np.int64], blocks: Iterator[_Finished]
) -> None:
    header = opened.header
    writer = PgenBlockWriter(
        path, n_samples=opened.n_samples, n_records=len(allele_counts), max_alleles=int(allele_counts.max()),
        ref_known=header.ref_known, phased=header.may_be_phased, dosages=header.may_have_dosages,
    )  # fmt: skip
    try:
        for block in blocks:
            writer.append(block.alleles, block.phased, block.allele_counts, block.dosages)
        writer.close()
    except BaseException:
        writer.abandon()
        raise


def _write_sorted(path: Path, opened: GenotypeSource, plan: _Plan, blocks: Iterator[_Finished]) -> None:
    """Write in source order beside the target, then once more in canonical order."""
    unsorted = path.with_name(path.name + ".unsorted")
    try:
        _write_pgen(unsorted, opened, plan.allele_counts, blocks)
        assert plan.order is not None
        offsets = np.concatenate([[0], np.cumsum(plan.allele_counts)]).astype(np.uintp)
        _write_pgen(
            path, opened, plan.allele_counts[plan.order], _reordered(unsorted, opened.n_samples, offsets, plan.order)
        )
    finally:
        for leftover in (unsorted, unsorted.with_name(unsorted.name + ".tmp")):
            leftover.unlink(missing_ok=True)


def _reordered(
    path: Path, n_samples: int, offsets: npt.NDArray[np.uintp], order: npt.NDArray[np.int64]
) -> Iterator[_Finished]:
    reader = open_pgen(path, n_samples, offsets)
    size = default_block_size(n_samples)
    counts = np.diff(offsets).astype(np.int64)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        block = read_pgen_block(reader, part, n_samples, offsets)
        yield _Finished(block.alleles, block.phased, counts[part], block.dosages)
    reader.close()


def _finished_blocks(
    opened: GenotypeSource, plan: _Plan, samples: pl.DataFrame, policies: _Policies, calls: Counter[str],
    block_size: int | None, progress: Progress | None, where: str,
) -> Iterator[_Finished]:  # fmt: skip
    """Apply the policies block by block and count what became of every call."""
    sex = samples["sex"].to_numpy()
    ids = samples["sample_id"]
    place = np.cumsum(plan.kept) - 1
    for block in opened.blocks(block_size):
        n = len(block.alleles)
        here = plan.kept[block.start : block.start + n]
        at = place[block.start : block.start + n][here]
        part = _select(block, here)
        alleles = apply_ploidy(
            part, plan.classes[at], policies.half_call, policies.haploid, calls, ids=ids, where=where
        )
        note_sex(alleles, plan.classes[at], sex, calls)
        if progress is not None:
            progress(block.start + n, len(plan.kept))
        if len(at):
            yield _Finished(alleles, part.phased, plan.allele_counts[at], part.dosages)


def _select(block: GenotypeBlock, here: _BOOL) -> GenotypeBlock:
    if here.all():
        return block
    return GenotypeBlock(
        block.start,
        block.alleles[here],
        block.phased[here],
        block.over_ploidy[here],
        block.without_calls[here],
        None if block.dosages is None else block.dosages[here],
    )
