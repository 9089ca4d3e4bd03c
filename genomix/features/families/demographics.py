"""Age and sex.

``age_years``: prediction time minus the earliest ``MEDS_BIRTH`` (known by then), in years of 365.25 days. Where a
source keeps only the year of birth (MIMIC), it is wrong by up to a year.

``sex``: 1 female, 0 male, missing otherwise. From records whose code starts with ``GENDER//`` or ``SEX//``, by the last
part: F, FEMALE, 8532 (OMOP) are 1; M, MALE, 8507 are 0; case does not matter, any other word is missing, and so is a
person with both. Where records say nothing, the recorded sex of the linked sample counts (PLINK: 1 male, 2 female). It
is what someone wrote down; it says nothing about gender or karyotype.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from genomix.errors import ConfigError
from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, Float32Array, RowArray
from genomix.schemas.features import COLUMNS

BIRTH = "MEDS_BIRTH"
SEX_CODE = r"^(?i:GENDER|SEX)//"
FEMALE = ("F", "FEMALE", "8532")
MALE = ("M", "MALE", "8507")
MICROSECONDS_PER_YEAR = 365.25 * 86_400_000_000


class DemographicsFamily:
    """Age at prediction and recorded sex."""

    name = "demographics"
    rung = "demographics"
    learns = False
    needs: frozenset[str] = frozenset()

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return sex, and age where records and prediction times exist."""
        unknown = sorted(options)
        if unknown:
            raise ConfigError(f"demographics has no option {unknown[0]!r}", hint="it has none")
        if inputs.events is None and inputs.genotypes is None:
            raise ConfigError("demographics needs health records or genotypes, the study has neither")
        values: list[Float32Array] = []
        rows: list[tuple[str, str, str, str | None, str]] = []
        if inputs.events is not None and inputs.index["prediction_time"].is_not_null().any():
            values.append(_age(inputs.events, inputs.index))
            rows.append(("age_years", "age", "a", BIRTH, "age at prediction, years"))
        values.append(_sex(inputs))
        rows.append(("sex", "sex", "1", None, "sex (1 female, 0 male)"))
        columns = pl.DataFrame(
            [[n, self.name, self.rung, group, "static", None, None, unit, code, words, None]
             for n, group, unit, code, words in rows],
            schema={c.name: c.dtype for c in COLUMNS.columns}, orient="row",
        )  # fmt: skip
        return FeatureBlock(np.column_stack(values).astype(np.float32), COLUMNS.validate(columns))

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn nothing."""
        return {}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return the computed block."""
        return block


FAMILY = DemographicsFamily()


def _known(events: pl.DataFrame, index: pl.DataFrame, wanted: pl.Expr) -> pl.DataFrame:
    """Return wanted records joined to rows, those that have no time or were known at the row's prediction time."""
    pairs = index.select("row", "subject_id", "prediction_time").join(events.filter(wanted), on="subject_id")
    known = (pl.col("time") <= pl.col("prediction_time")) & (pl.col("available_time") <= pl.col("prediction_time"))
    return pairs.filter(pl.col("time").is_null() | known.fill_null(False))


def _age(events: pl.DataFrame, index: pl.DataFrame) -> Float32Array:
    births = _known(events, index, pl.col("code") == BIRTH).group_by("row").agg(pl.col("time").min())
    joined = index.select("row", "prediction_time").join(births, on="row", how="left", maintain_order="left")
    lived = (joined["prediction_time"] - joined["time"]).cast(pl.Int64).cast(pl.Float64).fill_null(float("nan"))
    return (lived.to_numpy() / MICROSECONDS_PER_YEAR).astype(np.float32)


def _sex(inputs: FeatureInputs) -> Float32Array:
    sex = np.full(inputs.n_rows, np.nan, dtype=np.float32)
    if inputs.events is not None:
        sex = _sex_from_records(inputs.events, inputs.index)
    if inputs.genotypes is not None and inputs.sample_of_row is not None:
        recorded = inputs.genotypes.samples["sex"].to_numpy().astype(np.int64)
        linked = inputs.sample_of_row >= 0
        found = np.where(linked, recorded[np.where(linked, inputs.sample_of_row, 0)], 0)
        of_sample = np.where(found == 2, np.float32(1), np.where(found == 1, np.float32(0), np.float32("nan")))
        sex = np.where(np.isnan(sex), of_sample, sex).astype(np.float32)
    return sex


def _sex_from_records(events: pl.DataFrame, index: pl.DataFrame) -> Float32Array:
    word = pl.col("code").str.extract("//([^/]*)$").str.to_uppercase()
    number = pl.when(word.is_in(FEMALE)).then(1.0).when(word.is_in(MALE)).then(0.0)
    known = _known(events, index, pl.col("code").str.contains(SEX_CODE)).with_columns(number.alias("sex"))
    once = known.group_by("row").agg(pl.col("sex").min().alias("least"), pl.col("sex").max().alias("most"))
    agreed = once.select("row", pl.when(pl.col("least") == pl.col("most")).then("least").alias("sex"))
    joined = index.select("row").join(agreed, on="row", how="left", maintain_order="left")
    return joined["sex"].fill_null(float("nan")).to_numpy().astype(np.float32)
