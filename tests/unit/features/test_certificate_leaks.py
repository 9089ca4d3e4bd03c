"""Families that peek at people outside the training rows: the certificate, given the leaky family itself, names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomix.device import CPU
from genomix.errors import ConfigError
from genomix.features import certificate, certificate_checks
from genomix.features.assemble import assemble
from genomix.features.family import FeatureFamily, FeatureInputs, Learned, Options
from genomix.features.matrix import FeatureBlock, RowArray
from genomix.features.other_people import NEW_CODE, ReplacedGenotypes, with_others_replaced
from genomix.models.bundle import write_bundle
from genomix.models.model import Part, model_named
from genomix.registry import members
from genomix.schemas.features import COLUMNS
from genomix_pipelines.stages.certificate import imputed_from_training_rows
from genomix_pipelines.stages.model import part
from tests.contracts.family_world import World, make_world
from tests.genotype_store import random_calls, store_of

FAMILIES = members("genomix.features.families", "FAMILY")
MORE_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("dosages", {"select": {"by": "association", "p": 0.9, "components": 1}, "minor_allele_frequency": 0.1}),
    ("record_windows", {"windows": ["full"], "min_subjects": 2, "code_depth": 1}),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def folded(world: World) -> pl.DataFrame:
    """Two folds; people with two rows have both in one role."""
    rng = np.random.default_rng(4)
    index = world.inputs.index
    dealt = index["subject_id"] % 5
    roles = [
        ((dealt + k) % 5).replace_strict({0: "held_out", 1: "tuning"}, default="train", return_dtype=pl.String)
        for k in range(2)
    ]
    label = pl.Series(rng.normal(size=index.height) * (1 + (dealt == 0).to_numpy()))
    return index.with_columns(
        label.alias("label"), pl.lit(1.0).alias("weight"), *(r.alias(f"fold_{k}") for k, r in enumerate(roles))
    )


def checked(family: FeatureFamily, options: Options, world: World) -> certificate_checks.Check:
    """Assemble and certify with the very same family."""
    families, chosen = {family.name: family}, {family.name: options}
    matrix = assemble(families, chosen, world.inputs, folded(world))
    frame = certificate.certify(
        matrix, families, chosen, world.inputs, binary=False, kinship=None, kinship_threshold=None
    )
    return certificate_checks.Check(*frame.row(by_predicate=pl.col("check") == "learned_from_training"))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_registered_families_pass(name: str, world: World) -> None:
    found = checked(FAMILIES[name], world.options(name), world)
    assert found.status == "passed", found.found
    assert "2 of 2 fold(s)" in found.found


@pytest.mark.parametrize(("name", "options"), MORE_OPTIONS)
def test_registered_families_pass_with_other_options(name: str, options: dict[str, Any], world: World) -> None:
    found = checked(FAMILIES[name], options, world)
    assert found.status == "passed", found.found


def test_the_claim_says_what_looked_at_everyone(world: World) -> None:
    found = checked(FAMILIES["ancestry_pcs"], world.options("ancestry_pcs"), world)
    assert "Quality control and the choice of unrelated people" in found.claim
    assert "records, genotypes, table values replaced" in found.found


class Sums:
    """One column, the last number of ``row_values``, minus what ``figure`` says of the rows that it is given."""

    name, rung, learns = "sums", "records", True
    needs: frozenset[str] = frozenset()

    def __init__(self, everyone: bool = False) -> None:
        self.everyone = everyone

    def row_values(self, inputs: FeatureInputs) -> np.ndarray:
        return np.arange(inputs.n_rows, dtype=np.float64)

    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return float(np.nanmean(self.row_values(inputs)[rows]))

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        row = ["sums", self.name, self.rung, "sums", "table", None, None, None, None, "a sum", None]
        columns = pl.DataFrame([row], schema={c.name: c.dtype for c in COLUMNS.columns}, orient="row")
        return FeatureBlock(self.row_values(inputs).reshape(-1, 1).astype(np.float32), columns)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        return {"figure": self.figure(inputs, np.arange(inputs.n_rows) if self.everyone else rows)}

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        return block


def table_heights(inputs: FeatureInputs) -> np.ndarray:
    assert inputs.table is not None
    joined = inputs.index.join(inputs.table, on="subject_id", how="left", maintain_order="left")
    return joined["height"].fill_null(float("nan")).to_numpy()


class Heights(Sums):
    def row_values(self, inputs: FeatureInputs) -> np.ndarray:
        return table_heights(inputs)


class Imputer(Heights):
    """Fills in a missing height by the mean over the rows that it is given."""

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        values = np.where(np.isnan(block.values), np.float32(learned["figure"]), block.values)
        return FeatureBlock(values, block.columns)


class Missing(Heights):
    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return int(np.isnan(table_heights(inputs)[rows]).sum())


class Calls(Sums):
    """The mean of all calls, as the store gives them."""

    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        assert inputs.genotypes is not None
        return inputs.genotypes.read_calls(np.arange(5), samples)

    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        assert inputs.sample_of_row is not None
        samples = inputs.sample_of_row[rows]
        return self.calls(inputs, samples[samples >= 0]).astype(np.float64).mean()


class Dosages(Calls):
    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        assert inputs.genotypes is not None
        return np.nan_to_num(inputs.genotypes.read_dosages([3, 1], samples))


class Blocks(Calls):
    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        assert inputs.genotypes is not None
        return np.vstack([block.calls for block in inputs.genotypes.blocks(samples=samples, block_size=7)])


class Remembered(Calls):
    """Reads a fileset once and remembers it by its path."""

    def __init__(self, everyone: bool = False) -> None:
        super().__init__(everyone)
        self.known: dict[str, np.ndarray] = {}

    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        assert inputs.genotypes is not None
        known = self.known.setdefault(str(inputs.genotypes.prefix), inputs.genotypes.read_calls())
        return known[:, samples]


class MissingCalls(Calls):
    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        return super().calls(inputs, samples) < 0


class RecordedSex(Calls):
    def calls(self, inputs: FeatureInputs, samples: RowArray) -> np.ndarray:
        assert inputs.genotypes is not None
        return inputs.genotypes.samples["sex"].to_numpy()[samples]


class Founders(Sums):
    def row_values(self, inputs: FeatureInputs) -> np.ndarray:
        assert inputs.unrelated is not None
        return inputs.unrelated.astype(np.float64)


class Times(Sums):
    def row_values(self, inputs: FeatureInputs) -> np.ndarray:
        return inputs.index["prediction_time"].dt.epoch("d").to_numpy().astype(np.float64)


class Records(Sums):
    """Counts all records of the rows' people."""

    def events(self, inputs: FeatureInputs, rows: RowArray) -> pl.DataFrame:
        assert inputs.events is not None
        people = inputs.index["subject_id"].gather(rows).unique()
        return inputs.events.filter(pl.col("subject_id").is_in(people.implode()))

    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return self.events(inputs, rows).height


class Vocabulary(Records):
    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return self.events(inputs, rows)["code"].unique().sort().to_list()


class HighestValue(Records):
    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return self.events(inputs, rows)["numeric_value"].max()


class LastDay(Records):
    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return str(self.events(inputs, rows)["time"].max())


class Units(Records):
    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return int(self.events(inputs, rows)["unit"].is_not_null().sum())


LEARNERS = (
    Imputer, Missing, Heights, Calls, Dosages, Blocks, Remembered, MissingCalls, RecordedSex, Founders, Times, Records,
    Vocabulary, HighestValue, LastDay, Units,
)  # fmt: skip


@pytest.mark.parametrize("kind", LEARNERS, ids=lambda kind: kind.__name__)
def test_a_family_that_learns_from_everyone_is_named_and_its_honest_twin_passes(kind: type[Sums], world: World) -> None:
    honest, leaky = checked(kind(), {}, world), checked(kind(everyone=True), {}, world)
    assert honest.status == "passed", honest.found
    assert leaky.status == "failed"
    assert leaky.found == "sums learned something else in fold 0; sums learned something else in fold 1."


class CentredOnApply(Heights):
    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        return FeatureBlock(block.values - np.nanmean(block.values), block.columns)

    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        return 0


class CentredOnCompute(Heights):
    """Says that it learns nothing."""

    learns = False

    def row_values(self, inputs: FeatureInputs) -> np.ndarray:
        heights = table_heights(inputs)
        return np.asarray(heights - np.nanmean(heights))


class StopsOnNewCodes(Records):
    """Cannot work once other people have a code that it does not know."""

    def figure(self, inputs: FeatureInputs, rows: RowArray) -> Any:
        assert inputs.events is not None
        if NEW_CODE in set(inputs.events["code"].to_list()):
            raise ConfigError("a code that is not on the list")
        return 0


class NamedByEveryone(Heights):
    """The name of its column depends on everyone."""

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        block = super().compute(inputs, options)
        name = pl.lit(f"height, tallest {np.nanmax(table_heights(inputs)):.1f}").alias("name")
        return FeatureBlock(block.values, block.columns.with_columns(name))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (CentredOnApply, "sums gives training rows other values of sums in fold 0"),
        (CentredOnCompute, "sums gives training rows other values of sums in fold 0"),
        (StopsOnNewCodes, "sums fails once other people's data are replaced in fold 0"),
        (NamedByEveryone, "sums makes other columns in fold 0"),
    ],
)
def test_values_of_training_rows_that_hang_on_others_are_named(kind: type[Sums], words: str, world: World) -> None:
    found = checked(kind(), {}, world)
    assert found.status == "failed"
    assert words in found.found


def test_only_the_leaky_family_is_named(world: World) -> None:
    families: dict[str, Any] = {"sums": Calls(everyone=True), "dosages": FAMILIES["dosages"]}
    options = {"dosages": world.options("dosages")}
    matrix = assemble(families, options, world.inputs, folded(world))
    found = certificate.learned_from_training(matrix, families, options, world.inputs)
    assert found.status == "failed"
    assert "dosages" not in found.found


def test_replacement_leaves_training_people_alone(world: World, tmp_path: Path) -> None:
    inputs, train = world.inputs, world.training
    noisy = with_others_replaced(inputs, train, tmp_path, seed=1)
    ours = inputs.index["subject_id"].gather(train).unique()
    for before, after in ((inputs.events, noisy.events), (inputs.table, noisy.table), (inputs.index, noisy.index)):
        assert before is not None
        assert after is not None
        mine = pl.col("subject_id").is_in(ours.implode())
        assert after.filter(mine).equals(before.filter(mine))
        assert not after.filter(~mine).equals(before.filter(~mine))
    for before, after, column in (
        (inputs.events, noisy.events, "numeric_value"), (inputs.table, noisy.table, "height"),
    ):  # fmt: skip
        old = before.filter(~pl.col("subject_id").is_in(ours.implode()))[column].drop_nulls()
        new = after.filter(~pl.col("subject_id").is_in(ours.implode()))[column].drop_nulls()
        assert len(new) > 3
        assert not set(old.to_list()) & set(new.to_list()), f"{column}: a value of theirs is left"
    samples = np.unique(inputs.sample_of_row[train])
    assert np.array_equal(noisy.genotypes.read_calls(samples=samples), world.calls[:, samples])
    assert noisy.genotypes.samples[samples].equals(inputs.genotypes.samples[samples])


def test_replaced_genotypes_are_the_same_in_every_read(tmp_path: Path) -> None:
    calls = random_calls(130, 40, seed=3)
    variants = [("1", 10 * (i + 1), "A", "G,T" if i % 4 == 0 else "G") for i in range(130)]
    store = store_of(tmp_path, calls, variants=variants)
    place = tmp_path / "links"
    place.mkdir()
    others = np.arange(5, 40, 2)
    view = ReplacedGenotypes(store, others, place, np.random.default_rng(0))
    whole, dosages = view.read_calls(), view.read_dosages()
    kept = np.setdiff1d(np.arange(40), others)
    assert np.array_equal(whole[:, kept], store.read_calls(samples=kept))
    assert np.array_equal(np.where(np.isnan(dosages), -9, dosages), whole)
    assert (whole[:, others] != store.read_calls(samples=others)).mean() > 0.3
    assert set(np.unique(whole[:, others])) == {-9, 0, 1, 2}
    rows, samples = np.array([129, 4, 60, 4]), np.array([39, 0, 7, 6, 7])
    assert np.array_equal(view.read_calls(rows, samples), whole[np.ix_(rows, samples)])
    assert np.array_equal(np.vstack([b.calls for b in view.blocks(block_size=7)]), whole)
    copies = np.where(whole < 0, 0, whole)
    per_record = np.zeros((130, 40), dtype=np.int64)
    np.add.at(per_record, view.variants["record"].to_numpy(), copies)
    reference = np.full((130, 40), -9, dtype=np.int64)
    reference[view.variants["record"].to_numpy()] = view.read_calls(reference=True)
    called = reference >= 0
    assert np.array_equal((reference + per_record)[called], np.full(int(called.sum()), 2))


@pytest.mark.parametrize("everyone", [False, True])
def test_a_model_whose_imputer_was_fitted_on_everyone_is_found(everyone: bool, world: World, tmp_path: Path) -> None:
    """The certificate's stage learns the imputer again from training rows and compares it with the model's bundle."""
    families: dict[str, Any] = {"sums": Heights()}
    matrix = assemble(families, {}, world.inputs, folded(world))
    block, training = matrix.for_fold(0), part(matrix, 0, matrix.for_fold(0), "train")
    whole = Part(block.values, matrix.labels, None)
    fitted = model_named("linear").fit(
        whole if everyone else training, tuning=part(matrix, 0, block, "tuning"), objective="regression", seed=1,
        device=CPU, threads=1, options={},
    )  # fmt: skip
    (tmp_path / "bundles" / "fold_0").mkdir(parents=True)
    write_bundle(tmp_path / "bundles" / "fold_0" / "linear", fitted, columns=block.columns, learned={})
    context: Any = SimpleNamespace(folder=lambda _stage: tmp_path)
    same = imputed_from_training_rows(context, matrix, 0)
    assert same is not everyone
    assert certificate_checks.imputed_from_training(matrix, {0: same}).status == ("failed" if everyone else "passed")


def test_an_empty_study_part_stays_empty(world: World, tmp_path: Path) -> None:
    """Without other people's records or table rows there is nothing to replace."""
    inputs = world.inputs
    assert inputs.events is not None
    assert inputs.table is not None
    mine = pl.col("subject_id").is_in(inputs.index["subject_id"].gather(world.training).implode())
    alone = replace(inputs, events=inputs.events.filter(mine), table=inputs.table.filter(mine), genotypes=None)
    noisy = with_others_replaced(alone, world.training, tmp_path, seed=1)
    assert noisy.genotypes is None
    assert noisy.events is not None
    assert noisy.table is not None
    assert noisy.events.equals(alone.events)
    assert noisy.table.equals(alone.table)
