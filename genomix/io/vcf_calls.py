"""Calls of VCF and BCF records by htslib (cyvcf2): the reference that every other reader must equal.

Calls come from ``genotype.array()``: ``gt_types`` turns ``0/.`` into homozygous reference and is undefined for calls
that are not diploid. Lines of text reach htslib with their fixed columns replaced by plain ones, since those are read
and checked in :mod:`genomix.io.vcf_text`; only what GT, DS or GP say is htslib's to judge.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import Identifier
from genomix.io.genotype_format import HAPLOID, MISSING, OVER_PLOIDY, AlleleArray, DosageField
from genomix.io.vcf_phase_marks import first_marked, without_marks
from genomix.io.vcf_text import CallPlan, LineError, TextRecord, plan_calls
from genomix.provenance import scratch_errors

_SILENT = 0
_LINE = b"1\t1\t.\tN\t.\t.\t.\t.\t%b\t%b\n"
_FIVE_DIGITS = re.compile(rb"\d{5}")
CANNOT_PARSE, CORRECT_IT = "the record cannot be parsed", "correct it there, or leave it out"


class Calls(NamedTuple):
    """Calls of consecutive records; see :class:`~genomix.io.genotype_format.GenotypeBlock`."""

    alleles: AlleleArray
    phased: npt.NDArray[np.bool_]
    without_calls: npt.NDArray[np.bool_]
    dosages: npt.NDArray[np.float32] | None


def open_htslib(path: Path) -> Any:
    """Return a cyvcf2 reader that prints nothing."""
    import cyvcf2

    getattr(cyvcf2.cyvcf2, "set_htslib_log_level", lambda _: None)(_SILENT)  # what it would print, we raise
    return cyvcf2.VCF(str(path))


def calls_of_text(
    records: Sequence[TextRecord], numbers: Sequence[int], n_samples: int, folder: Path, *, leading_marks: bool
) -> Calls:
    """Return the calls of text records; htslib reads them from a temporary file in ``folder``.

    Parameters
    ----------
    numbers: line number of each record, for errors.
    leading_marks: whether a call may start with a phasing mark (:mod:`genomix.io.vcf_phase_marks`).

    Raises
    ------
    LineError: for a record that htslib refuses, or a call that names an allele its record does not have.
    """
    stack = CallStack(len(records), n_samples)
    if not records:
        return stack.calls()
    with scratch_errors(folder), tempfile.NamedTemporaryFile(suffix=".vcf", dir=folder, delete=False) as stream:
        stream.write(_header(n_samples, max(r.plan.n_keys for r in records)))
        stream.writelines(_LINE % (r.plan.renamed, _plain(r) if leading_marks else r.samples) for r in records)
    path = Path(stream.name)
    reader = open_htslib(path)
    try:
        for text, number in zip(records, numbers, strict=True):
            try:
                record = next(reader)
            except Exception as error:  # cyvcf2 raises bare Exception, or StopIteration for an empty sample
                raise _refused(text, number, leading_marks=leading_marks) from error
            _check_long_numbers(text, number)
            stack.add(record, text.n_alts, number, plan=text.plan, is_empty=partial(_is_empty, text))
    finally:
        reader.close()
        path.unlink()
    return stack.calls()


def _plain(text: TextRecord) -> bytes:
    """Return the samples' columns as htslib takes them."""
    return without_marks(text.samples, text.plan.gt_place) if text.plan.has_gt else text.samples


def _refused(text: TextRecord, number: int, *, leading_marks: bool) -> LineError:
    """Return the error of a record that htslib cannot parse."""
    sample = first_marked(text.samples, text.plan.gt_place) if text.plan.has_gt and not leading_marks else None
    if sample is None:
        return LineError(number, CANNOT_PARSE, hint=CORRECT_IT)
    return LineError(
        number,
        "a call starts with a phasing mark, which VCF has from version 4.4 on",
        hint="take the mark away, or state that version in the first line (##fileformat=VCFv4.4)",
        identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
    )


def _is_empty(text: TextRecord, key: str) -> bool:
    """Say whether every sample leaves out a key of FORMAT; htslib would end the process when asked for its values."""
    place = text.plan.renamed.split(b":").index(key.encode())
    return place > 0 and not any(sample.count(b":") >= place for sample in text.samples.split(b"\t"))


def is_empty_in_bcf(record: Any, key: str) -> bool:
    """Say the same of a record of BCF, where left out and missing read alike; a key that stands first has values."""
    place = record.FORMAT.index(key)
    if place == 0:
        return False
    samples = (sample.split(":") for sample in str(record).rstrip("\n").split("\t")[9:])
    return all(len(values) <= place or values[place] == "." for values in samples)


def _header(n_samples: int, n_keys: int) -> bytes:
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=1>"]
    kinds = [("GT", "1,Type=String"), ("DS", ".,Type=Float"), ("GP", ".,Type=Float")]
    kinds += [(f"F{i}", ".,Type=String") for i in range(n_keys)]
    lines += [f'##FORMAT=<ID={name},Number={kind},Description="">' for name, kind in kinds]
    names = "\t".join(map(str, range(n_samples)))
    return ("\n".join(lines) + "\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + names + "\n").encode()


def _check_long_numbers(text: TextRecord, number: int) -> None:
    """Refuse alleles of five digits and more, which htslib takes modulo 2**16."""
    if not text.plan.has_gt or not _FIVE_DIGITS.search(text.samples):
        return
    place = text.plan.gt_place
    for j, sample in enumerate(text.samples.split(b"\t")):
        call = sample.split(b":")[place : place + 1]
        if call and any(int(digits) > 32766 for digits in re.findall(rb"\d+", call[0])):
            raise _no_such_allele(j, text.n_alts, number)


def _no_such_allele(sample: int, n_alts: int, number: int) -> LineError:
    return LineError(
        number,
        f"a call names an allele that the record does not have (it has {n_alts} ALT)",
        identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
    )


class CallStack:
    """Calls of htslib's records, put one under the other."""

    def __init__(self, n_records: int, n_samples: int) -> None:
        self._raw = np.empty((n_records, n_samples, 3), dtype=np.int16)
        self._without = np.zeros(n_records, dtype=np.bool_)
        self._dosages: npt.NDArray[np.float32] | None = None
        self._largest = np.zeros(n_records, dtype=np.int16)
        self.n = 0

    def add(self, record: Any, n_alts: int, number: int, *, plan: CallPlan, is_empty: Callable[[str], bool]) -> None:
        """Take the calls of one record.

        Parameters
        ----------
        is_empty: says whether no sample has a value of a key that FORMAT names.

        Raises
        ------
        LineError: when a call names an allele that the record does not have.
        """
        row = self._raw[self.n]
        if not plan.has_gt:
            row[:] = MISSING, MISSING, 0
            self._without[self.n] = True
        elif is_empty("GT"):
            row[:] = MISSING, HAPLOID, 0
        else:
            self._take(record.genotype.array(), row, n_alts, number)
        if plan.dosage:
            if self._dosages is None:
                self._dosages = np.full(self._raw.shape[:2], np.nan, dtype=np.float32)
            if not is_empty(plan.dosage):
                haploid = (row[:, 1] == HAPLOID) & (row[:, 0] >= 0)
                self._dosages[self.n] = dosages_of(record, plan.dosage, haploid, number)
        self.n += 1

    def _take(self, calls: npt.NDArray[np.int16], row: npt.NDArray[np.int16], n_alts: int, number: int) -> None:
        if n_alts and int(calls[:, :-1].max(initial=MISSING)) > n_alts:
            sample = int(np.flatnonzero((calls[:, :-1] > n_alts).any(axis=1))[0])
            raise _no_such_allele(sample, n_alts, number)
        n_copies = calls.shape[1] - 1
        if n_copies == 2:
            row[:] = calls
        elif n_copies == 1:
            row[:, 0], row[:, 1], row[:, 2] = calls[:, 0], HAPLOID, 0
        else:
            row[:, :2], row[:, 2] = calls[:, :2], calls[:, -1]
            row[(calls[:, 2:-1] != HAPLOID).any(axis=1)] = OVER_PLOIDY, OVER_PLOIDY, 0

    def calls(self) -> Calls:
        """Return what was added, in normal form."""
        dosages = None if self._dosages is None else self._dosages[: self.n]
        return Calls(*normalised(self._raw[: self.n]), self._without[: self.n], dosages)


def normalised(raw: npt.NDArray[np.int16]) -> tuple[AlleleArray, npt.NDArray[np.bool_]]:
    """Return alleles and phase: unphased whole calls sorted, phase only where the two alleles differ.

    Parameters
    ----------
    raw: (n_records, n_samples, 3): first allele, second allele, whether the call is phased.
    """
    first, second = raw[..., 0], raw[..., 1]
    phased = (raw[..., 2] == 1) & (first != second) & (second != HAPLOID)
    alleles = np.ascontiguousarray(raw[..., :2])
    swapped = (first > second) & (second >= 0) & ~phased
    if swapped.any():
        alleles[swapped] = alleles[swapped][:, ::-1]
    alleles[first == HAPLOID, 0] = MISSING
    return alleles, phased


def calls_of_htslib(reader: Any, numbers: Sequence[int], n_samples: int, dosage_field: DosageField) -> Calls:
    """Return the calls of as many of a reader's next records as there are numbers, and close it.

    Raises
    ------
    LineError: with its number, for a record that htslib refuses.
    """
    stack = CallStack(len(numbers), n_samples)
    try:
        for number in numbers:
            try:
                record = next(reader)
            except Exception as error:  # cyvcf2 raises bare Exception
                raise LineError(number, CANNOT_PARSE, hint=CORRECT_IT) from error
            n_alts = len(record.ALT)
            plan = plan_calls(":".join(record.FORMAT).encode(), n_alts, dosage_field)
            stack.add(record, n_alts, number, plan=plan, is_empty=partial(is_empty_in_bcf, record))
    finally:
        reader.close()
    return stack.calls()


_TOLERANCE = 0.05
"""How far written probabilities may miss a sum of 1, and dosages their bounds, through rounding to two digits."""


def dosages_of(record: Any, key: str, haploid: npt.NDArray[np.bool_], number: int) -> npt.NDArray[np.float32]:
    """Return ALT dosages on the scale of two copies, NaN where missing.

    From DS, doubled where the call is haploid (its DS is the expected share of one copy); or from GP, as P(het) +
    2 P(hom ALT) of three probabilities and 2 P(ALT) of a haploid call's two. Probabilities that are all 0 are missing,
    as IMPUTE writes them.

    Raises
    ------
    LineError: for a dosage outside its bounds, or probabilities that do not sum to 1.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.asarray(record.format(key), dtype=np.float64)
        if key == "DS":
            values = np.where(haploid, 2 * found[:, 0], found[:, 0])
            wrong = (values < -_TOLERANCE) | (values > 2 + _TOLERANCE)
        else:
            values, wrong = _expected_copies(found)
    if wrong.any():
        sample = int(np.flatnonzero(wrong)[0])
        raise LineError(
            number,
            f"{key} is no {'dosage' if key == 'DS' else 'set of probabilities'}",
            hint="correct it there, or load hard calls (--dosage GT)",
            identifiers=(Identifier("sample", f"in column {sample + 10}", sample + 1),),
        )
    return np.clip(values, 0, 2).astype(np.float32)


def _expected_copies(found: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Expected copies from two or three probabilities, and which sets are none; other numbers of them are missing."""
    known = np.isfinite(found)
    n_known = known.sum(axis=1)
    filled = np.where(known, found, 0.0)
    total = filled.sum(axis=1)
    asked = (n_known == known.argmin(axis=1)) | known.all(axis=1)  # gaps stand at the end only
    two, three = asked & (n_known == 2), asked & (n_known == 3)
    values = np.full(len(found), np.nan)
    if found.shape[1] >= 2:
        values[two] = 2 * filled[two, 1]
    if found.shape[1] >= 3:
        values[three] = filled[three, 1] + 2 * filled[three, 2]
    some = (two | three) & (total != 0)
    values[~some] = np.nan
    return values, some & ((np.abs(total - 1) > _TOLERANCE) | (filled.min(axis=1) < -_TOLERANCE))
