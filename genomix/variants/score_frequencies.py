"""Allele frequencies that were counted elsewhere, brought onto a store's variants and a score's effect alleles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import FormatError
from genomix.variants.score_matching import ScoreMatch

FloatArray = npt.NDArray[np.float64]


def alt_frequencies(known: pl.DataFrame, variants: pl.DataFrame) -> FloatArray:
    """Return each variant's ALT frequency, float64 (n_variants,), NaN where it is not known.

    A frequency belongs to a variant with the same REF and ALT, or with the two exchanged (then it is one less it), at
    the same contig and position; a table without positions is matched by the variants' IDs.

    Parameters
    ----------
    known: schema ALLELE_FREQUENCIES.
    variants: the store's ``variants``.

    Raises
    ------
    FormatError: when two rows give one variant different frequencies.
    """
    place = ["contig", "position"] if known["position"].is_not_null().all() else ["variant_id"]
    usable = known.filter(pl.col("alt_frequency").is_not_null()).select(*place, "ref", "alt", "alt_frequency")
    exchanged = usable.rename({"ref": "alt", "alt": "ref"}).with_columns(alt_frequency=1 - pl.col("alt_frequency"))
    both = pl.concat([usable, exchanged.select(usable.columns)]).unique([*place, "ref", "alt", "alt_frequency"])
    key = [*place, "ref", "alt"]
    twice = both.filter(pl.struct(key).is_duplicated())
    both = both.sort(*key, "alt_frequency")
    if twice.height:
        row = twice.sort(key).row(0, named=True)
        name = ":".join(str(row[c]) for c in key)
        raise FormatError(f"two rows give {name} different frequencies", hint="leave one of them")
    found = variants.select(key).join(both, on=key, how="left", maintain_order="left")["alt_frequency"]
    return found.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)


def effect_from_alt(match: ScoreMatch, of_alt: FloatArray, variants: pl.DataFrame) -> FloatArray:
    """Return the effect allele's frequency of each used weight, given every variant's ALT frequency.

    REF's is one less the sum over the record's ALTs.
    """
    rows = match.variants["variant"].to_numpy().astype(np.int64)
    reference = match.variants["reference"].to_numpy().astype(np.bool_)
    record = variants["record"].to_numpy().astype(np.int64)
    of_ref = 1 - np.bincount(record, weights=of_alt, minlength=int(record.max(initial=0)) + 1)
    return np.asarray(np.where(reference, of_ref[record[rows]], of_alt[rows]))
