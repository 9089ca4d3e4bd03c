"""Rare-variant burden of genes: one column per gene and mask.

Options
-------
annotation: VCF or BCF with VEP's CSQ, snpEff's ANN or bcftools' BCSQ (or a frame of schema ANNOTATIONS); info_key where
it has several. genes: instead of it a BED of gene intervals. masks: list of ``{"name", "consequences", "max_frequency",
"confident"}`` or of words such as ``"missense+lof"`` (default: ``lof`` and ``missense+lof``; with ``genes``: ``all``).
max_frequency: of masks that name none (default 0.01). transcripts: ``any`` (default), ``canonical``, ``mane`` or
``worst``. collapse: ``count``, ``carrier``, ``max`` or ``weighted`` (default: ``weighted`` with weights, else
``count``). weights: ``none`` (default), ``beta``, ``madsen-browning``, or a table with a column ``weight``. Hard calls
are counted, never dosages. missing: a missing call counts as ``reference`` (default) or ``mean``. counted: copies of
``alt`` (default) or of the ``minor`` allele. frequencies: a table with ``frequency``; by default they are learned.
only_genes: genes to use (default: all). min_carriers: smallest number of training people who carry (default 1).
quality: ``kept`` variants only (default) or ``all``; a quality threshold on the minor allele frequency removes the very
variants that a burden is made of.

Learned from training people: frequencies (hence which variants a mask admits), weights, and which columns have enough
carriers. No label is ever seen. A variant that the store lacks counts as not called; a person without genotypes is
missing. :func:`column_variants` gives what each column is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from genomix.errors import ConfigError, InputNotFoundError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.genotypes import (
    column_table,
    empty_rows,
    genotypes_of,
    kept_variants,
    linked_samples,
    onto_rows,
    rows_of_keys,
    training_samples,
    with_defaults,
)
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.io.annotation import Annotation, read_annotation, read_gene_bed
from genomix.io.contigs import ploidy_classes
from genomix.io.tables import read_table
from genomix.schemas.burden import ANNOTATIONS
from genomix.variants.burden import WEIGHTS, BurdenOptions, BurdenSet, collapse_sets, make_sets, set_keys
from genomix.variants.burden_copies import PeopleCopies, VariantCopies
from genomix.variants.gene_masks import (
    ANY_VARIANT,
    Mask,
    check_intervals,
    check_mask_words,
    make_mask,
    match_genes,
    select_variants,
)

DEFAULTS: dict[str, Any] = {
    "annotation": None,
    "info_key": None,
    "genes": None,
    "masks": None,
    "max_frequency": 0.01,
    "transcripts": "any",
    "collapse": None,
    "weights": "none",
    "missing": "reference",
    "counted": "alt",
    "frequencies": None,
    "only_genes": (),
    "min_carriers": 1,
    "quality": "kept",
}
_WORDS = {
    "carrier": ("carrier", "carries a counted allele of"),
    "count": ("copies", "copies of counted alleles of"),
    "max": ("copies", "most copies of one counted allele of"),
    "weighted": ("weight", "weighted copies of counted alleles of"),
}


class BurdenFamily:
    """Gene burdens, one column per gene and mask."""

    name = "burden"
    rung = "variants"
    learns = True
    needs: frozenset[str] = frozenset({"genotypes"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return no columns: which variants a mask admits depends on the training people's frequencies."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        genotypes_of(inputs)
        check_options(options)
        _burden_options(chosen)
        return empty_rows(inputs)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn each column's variants, frequencies and weights, and which columns to keep."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        store, _ = genotypes_of(inputs)
        asked = _burden_options(chosen)
        allowed = kept_variants(inputs) if chosen["quality"] == "kept" else None
        matched = match_genes(_source(chosen), store.variants, allowed=allowed)
        found = matched.rows
        if chosen["only_genes"]:
            found = found.filter(pl.col("gene").is_in(list(chosen["only_genes"])))
        variants = select_variants(found, asked.masks, transcripts=asked.transcripts)
        samples = training_samples(inputs, rows)
        sets, lost = make_sets(store, variants, asked, samples=samples)
        carriers = collapse_sets(store, sets, collapse="carrier", samples=samples).carriers.tolist()
        kept = [(s, n) for s, n in zip(sets, carriers, strict=True) if n >= int(chosen["min_carriers"])]
        if not kept:
            raise ConfigError(
                f"no gene has {chosen['min_carriers']} training carriers under any mask "
                f"({len(sets)} sets of gene and mask have variants)",
                hint="a larger max_frequency, other masks, or quality = 'all': a threshold on the minor allele "
                "frequency in quality control removes rare variants",
            )
        columns = [_column(store, one, n) for one, n in kept]
        return {"columns": columns, "few_carriers": len(sets) - len(kept), "counts": {**matched.counts, **lost}}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return every row's burdens."""
        chosen = with_defaults(self.name, options, DEFAULTS)
        store, sample_of_row = genotypes_of(inputs)
        samples = linked_samples(sample_of_row)
        sets, absent = _sets_of(store, learned["columns"])
        asked = _burden_options(chosen)
        matrix = collapse_sets(store, sets, collapse=asked.collapsed, missing=asked.missing, samples=samples)
        values = matrix.values.astype(np.float64)
        if asked.missing == "mean":
            values += absent.everyone + PeopleCopies.of(store, samples).male[:, None] * absent.men
        rows = onto_rows(values, samples, sample_of_row).astype(np.float32)
        return FeatureBlock(rows, _columns(learned["columns"], asked.collapsed))


FAMILY = BurdenFamily()


def check_options(options: Options) -> None:
    """Find what is wrong with options before anything but a frame given in them is read.

    A mask of a study names classes (``lof``) and Sequence Ontology terms; a label of its own only where the annotation
    is a frame that holds it.

    Raises
    ------
    ConfigError: for unknown options, no source of genes or two, wrong words in masks, impossible combinations.
    """
    chosen = with_defaults(FAMILY.name, options, DEFAULTS)
    masks = _masks(chosen)
    if chosen["annotation"] is None:
        check_intervals(masks)
        for name in ("info_key", "transcripts"):
            if chosen[name] != DEFAULTS[name]:
                raise ConfigError(f"burden: {name} = {chosen[name]!r} needs an annotation, not genes")
    else:
        given = chosen["annotation"]
        labels = given["consequence"].unique().sort().to_list() if isinstance(given, pl.DataFrame) else []
        check_mask_words(masks, labels)
    if isinstance(chosen["min_carriers"], bool) or int(chosen["min_carriers"]) < 0:
        raise ConfigError(f"burden: min_carriers = {chosen['min_carriers']!r}", hint="a whole number, at least 0")
    if isinstance(chosen["weights"], str) and chosen["weights"] not in WEIGHTS and not Path(chosen["weights"]).suffix:
        raise ConfigError(
            f"burden: weights = {chosen['weights']!r} is neither a rule nor a file",
            hint=", ".join(WEIGHTS) + ", or a table's path",
        )
    # The table itself is read later; that there is one decides how to collapse.
    weights = chosen["weights"]
    is_rule = isinstance(weights, str) and weights in WEIGHTS
    _options_of(chosen, masks, weights if is_rule else pl.DataFrame(), None)


def largest_frequency(options: Options) -> float:
    """Return the largest frequency that any mask of the options admits: 1 where one has no bound."""
    limits = [m.max_frequency for m in _masks(with_defaults(FAMILY.name, options, DEFAULTS))]
    return max(1.0 if limit is None else float(limit) for limit in limits)


def collapse_rule(options: Options) -> tuple[str, str]:
    """Return how variants become one number, and what a missing call counts as, by the options."""
    asked = _burden_options(with_defaults(FAMILY.name, options, DEFAULTS))
    return asked.collapsed, asked.missing


def warn_rare(max_frequency: float, qc_maf: float) -> str | None:
    """Return a warning where quality control leaves no variant that is rare enough, else None.

    Parameters
    ----------
    max_frequency: largest frequency of the masks (:func:`largest_frequency`).
    qc_maf: smallest minor allele frequency that quality control keeps; it only counts with ``quality = "kept"``.

    >>> warn_rare(0.05, 0.01) is None
    True
    """
    if qc_maf < max_frequency or qc_maf <= 0:
        return None
    return (
        f"burden: quality control keeps variants with a minor allele frequency from {qc_maf:g} on, and masks admit "
        f'frequencies up to {max_frequency:g}: no burden is left; set burden quality = "all", a lower threshold, or a '
        "larger max_frequency"
    )


def column_variants(learned: Mapping[str, Any]) -> pl.DataFrame:
    """Return what each column is made of: column, gene, mask, key (contig:position:ref:alt), frequency, weight."""
    rows = [
        (_name(column), column["gene"], column["mask"], key, frequency, weight)
        for column in learned["columns"]
        for key, frequency, weight in zip(column["variants"], column["frequencies"], column["weights"], strict=True)
    ]
    schema = {
        "column": pl.String, "gene": pl.String, "mask": pl.String, "key": pl.String, "frequency": pl.Float64,
        "weight": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _name(column: Mapping[str, Any]) -> str:
    return f"burden:{column['gene']}:{column['mask']}"


def _column(store: Any, one: BurdenSet, carriers: int) -> dict[str, Any]:
    return {
        "gene": one.gene,
        "mask": one.mask,
        "variants": set_keys(store, one),
        "frequencies": one.frequencies.tolist(),
        "weights": one.weights.tolist(),
        "flipped": one.flipped.tolist(),
        "carriers": carriers,
    }


def _columns(columns: list[Mapping[str, Any]], collapse: str) -> pl.DataFrame:
    unit, words = _WORDS[collapse]
    rows: list[tuple[str, str, str | None, str | None, str]] = []
    for column in columns:
        n = len(column["variants"])
        many = "1 variant" if n == 1 else f"{n} variants"
        text = f"{words} gene {column['gene']} under mask {column['mask']} ({many})"
        rows.append((_name(column), column["gene"], unit, column["gene"], text))
    return column_table(FAMILY.name, FAMILY.rung, rows)


class _Absent(NamedTuple):
    """What the variants that a store lacks would add as means to each column: for everyone, and for men besides."""

    everyone: npt.NDArray[np.float64]
    men: npt.NDArray[np.float64]


def _sets_of(store: Any, columns: list[Mapping[str, Any]]) -> tuple[list[BurdenSet], _Absent]:
    """The learned sets in this store, and what the variants that it lacks would add."""
    keys = sorted({key for column in columns for key in column["variants"]})
    row_of = dict(zip(keys, rows_of_keys(store, keys).tolist(), strict=True))
    places = [key.split(":", 2) for key in keys]
    classes = ploidy_classes([p[0] for p in places], [int(p[1]) for p in places], store.build)
    carried = VariantCopies.of_classes(classes)
    place = {key: i for i, key in enumerate(keys)}
    sets, absent = [], _Absent(np.zeros(len(columns)), np.zeros(len(columns)))
    for number, column in enumerate(columns):
        rows = np.array([row_of[k] for k in column["variants"]], dtype=np.int64)
        frequencies, weights = np.asarray(column["frequencies"]), np.asarray(column["weights"])
        flipped = np.asarray(column["flipped"], dtype=np.bool_)
        here = rows >= 0
        own = carried.taken(np.array([place[k] for k in column["variants"]], dtype=np.int64))
        added = own.most * np.where(flipped, 1 - frequencies, frequencies) * weights
        absent.everyone[number] = float(added[~here & ~own.on_y].sum())
        absent.men[number] = float(added[~here & own.on_y].sum())
        order = np.argsort(rows[here], kind="stable")
        at = np.flatnonzero(here)[order]
        one = BurdenSet(column["gene"], column["mask"], rows[at], frequencies[at], weights[at], flipped[at])
        sets.append(one)
    return sets, absent


def _masks(options: Mapping[str, Any]) -> tuple[Mask, ...]:
    if (options["annotation"] is None) == (options["genes"] is None):
        raise ConfigError("burden needs either an annotation or genes", hint='annotation = "annotated.vcf.gz"')
    default = [ANY_VARIANT] if options["genes"] is not None else ["lof", "missense+lof"]
    return tuple(make_mask(entry, options["max_frequency"]) for entry in options["masks"] or default)


def _burden_options(options: Mapping[str, Any]) -> BurdenOptions:
    masks = _masks(options)
    weights, frequencies = options["weights"], options["frequencies"]
    if not isinstance(weights, pl.DataFrame) and weights not in WEIGHTS:
        weights = read_table(Path(weights), text=("contig", "variant_id", "ref", "alt"))
    if frequencies is not None and not isinstance(frequencies, pl.DataFrame):
        frequencies = read_table(Path(frequencies), text=("contig", "variant_id", "ref", "alt"))
    return _options_of(options, masks, weights, frequencies)


def _options_of(
    options: Mapping[str, Any], masks: tuple[Mask, ...], weights: str | pl.DataFrame, frequencies: pl.DataFrame | None
) -> BurdenOptions:
    if options["quality"] not in ("kept", "all"):
        raise ConfigError(f"burden quality = {options['quality']!r}", hint="kept or all")
    return BurdenOptions(
        masks, transcripts=options["transcripts"], collapse=options["collapse"], weights=weights,
        missing=options["missing"], counted=options["counted"], frequencies=frequencies,
    )  # fmt: skip


def _source(options: Mapping[str, Any]) -> Annotation | pl.DataFrame:
    given = options["genes"] if options["annotation"] is None else options["annotation"]
    if isinstance(given, pl.DataFrame):
        if options["annotation"] is None:
            return given
        rows = ANNOTATIONS.validate(given)
        return Annotation(rows, rows.select("contig", "position", "ref", "alt").unique(maintain_order=True), "frame",
                          (), {})  # fmt: skip
    path = Path(given)
    try:
        state = path.stat()
    except OSError as error:
        raise InputNotFoundError(f"cannot read {path.name}: {error.strerror}", where=str(path)) from error
    if options["annotation"] is None:
        return read_gene_bed(path)
    return _read(str(path), options["info_key"], state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: str, key: str | None, _modified: int, _size: int) -> Annotation:
    """Read an annotation once per state of the file."""
    return read_annotation(Path(path), key=key)
