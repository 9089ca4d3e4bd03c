"""Records with several ALTs: one record per ALT, or none of them.

Splitting follows ``bcftools norm -m -any``: each ALT becomes a record with the same position, identifier and REF; in
its calls the other ALTs become REF, while missing alleles, ploidy and phase stay, and it has the dosages of its own
ALT. ``*`` and symbolic ALTs get their own record too. Positions and alleles are not shortened;
:func:`~genomix.io.normalise.left_align` does that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.io.genotype_format import GenotypeBlock

_Bools = npt.NDArray[np.bool_]


def has_several_alts(records: pl.DataFrame) -> _Bools:
    """Return bool (n_records,): whether a record has more than one ALT."""
    return records["alt"].str.contains(",", literal=True).to_numpy()


def drop_multiallelic(block: GenotypeBlock) -> tuple[GenotypeBlock, int]:
    """Return the block without records of several ALTs, and how many those were."""
    several = has_several_alts(block.records)
    return block.select(~several), int(several.sum())


def split_block(block: GenotypeBlock, *, info_numbers: Mapping[str, str] | None = None) -> GenotypeBlock:
    """Return the block with one record per ALT; ``numbers`` repeats where a record was split.

    A split record has the dosages of its ALT (``alt_dosages``), as DS with Number=A is split.

    Parameters
    ----------
    block: consecutive records.
    info_numbers: INFO key to its ``Number`` in the header; values of ``A`` and ``R`` keys are split too, where their
        count is right. Values of other keys are repeated.
    """
    several = has_several_alts(block.records)
    if not several.any():
        return block
    counts = block.records["alt"].str.count_matches(",", literal=True).to_numpy().astype(np.int64) + 1
    rows = np.repeat(np.arange(block.n_records), counts)
    which = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    general = ~block.is_compact
    general_number = np.cumsum(general) - 1
    from_general = general[rows]
    sources, ordinals = general_number[rows[from_general]], which[from_general]
    was_split = several[rows[from_general]]
    alleles = block.alleles[sources]
    _keep_one_alt(alleles, ordinals, was_split)
    lost = None if block.lost_dosages is None else block.lost_dosages[sources]
    return GenotypeBlock(
        block.numbers[rows],
        _split_records(block.records, rows, which, several, info_numbers or {}),
        block.is_compact[rows],
        block.compact,
        alleles,
        block.phased[sources],
        block.without_calls[sources],
        _dosages_of_alts(block, sources, was_split),
        None,
        lost,
    )


def _dosages_of_alts(
    block: GenotypeBlock, sources: npt.NDArray[np.int64], was_split: _Bools
) -> npt.NDArray[np.float32] | None:
    """Return the dosages of general records after the split; ``sources`` says which one each was before."""
    given = block.alt_dosages
    if block.dosages is None and given is None:
        return None
    if block.dosages is not None:
        dosages = block.dosages[sources]
        dosages[was_split] = np.nan
    else:
        dosages = np.full((len(sources), block.phased.shape[1]), np.nan, dtype=np.float32)
    if given is not None:
        dosages[np.isin(sources, given.rows)] = given.values
    return dosages


def _keep_one_alt(alleles: npt.NDArray[np.int16], ordinals: npt.NDArray[np.int64], was_split: _Bools) -> None:
    """Turn, in place, the ALT of each split record into 1 and its other ALTs into 0; negative codes stay."""
    for row in np.flatnonzero(was_split).tolist():
        calls = alleles[row]
        np.copyto(calls, calls == ordinals[row], where=calls > 0)


def _split_records(
    records: pl.DataFrame,
    rows: npt.NDArray[np.int64],
    which: npt.NDArray[np.int64],
    several: _Bools,
    info_numbers: Mapping[str, str],
) -> pl.DataFrame:
    repeated = records[rows]
    alts = records["alt"].to_list()
    fields = {row: alts[row].split(",") for row in np.flatnonzero(several).tolist()}
    pairs = list(zip(rows.tolist(), which.tolist(), strict=True))
    one = [fields[row][k - 1] if row in fields else alts[row] for row, k in pairs]
    columns = [pl.Series("alt", one, dtype=pl.String)]
    if "info" in records.columns and info_numbers:
        infos = records["info"].to_list()
        split = [
            _split_info(infos[row], k, len(fields[row]), info_numbers) if row in fields else infos[row]
            for row, k in pairs
        ]
        columns.append(pl.Series("info", split, dtype=pl.String))
    return repeated.with_columns(columns)


def _split_info(info: str, which: int, n_alts: int, numbers: Mapping[str, str]) -> str:
    """Return INFO with the values of one ALT.

    >>> _split_info("AC=3,4;DP=9;AD=1,2,3", 2, 2, {"AC": "A", "AD": "R", "DP": "1"})
    'AC=4;DP=9;AD=1,3'
    """
    parts = []
    for part in info.split(";"):
        key, equals, value = part.partition("=")
        values = value.split(",")
        if equals and numbers.get(key) == "A" and len(values) == n_alts:
            value = values[which - 1]
        elif equals and numbers.get(key) == "R" and len(values) == n_alts + 1:
            value = f"{values[0]},{values[which]}"
        parts.append(f"{key}{equals}{value}")
    return ";".join(parts)
