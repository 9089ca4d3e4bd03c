"""Principal components of the genotypes: genetic ancestry, fitted on unrelated training people, projected onto all.

Options
-------
n_components: number of components (default 5). prune_r2: largest squared correlation of two variants within
``prune_window_bp`` (default 0.2 within 500,000 bp; None: no thinning). max_variants: evenly spaced subset to start from
where more are kept (default 20,000). seed: of the randomised method that serves more than 5,000 people and variants.

A component has mean 0 and standard deviation 1 over the people that it was fitted on. A person without genotypes has
none. Components are no race or ethnicity, and their sign and order mean nothing across folds.
"""

from __future__ import annotations

import numpy as np

from genomix.features.family import FeatureInputs, Learned, Options
from genomix.features.genotypes import (
    ANCESTRY_DEFAULTS,
    column_table,
    empty_rows,
    learn_ancestry,
    project_ancestry,
    with_defaults,
)
from genomix.features.matrix import FeatureBlock, RowArray


class AncestryPcsFamily:
    """Principal components of the genotypes."""

    name = "ancestry_pcs"
    rung = "ancestry"
    learns = True
    needs: frozenset[str] = frozenset({"genotypes"})

    def compute(self, inputs: FeatureInputs, options: Options) -> FeatureBlock:
        """Return no columns: nothing here depends on the row alone."""
        with_defaults(self.name, options, ANCESTRY_DEFAULTS)
        return empty_rows(inputs)

    def fit(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, rows: RowArray) -> Learned:
        """Learn variants, frequencies and loadings from the unrelated people of ``rows``."""
        return learn_ancestry(inputs, rows, with_defaults(self.name, options, ANCESTRY_DEFAULTS))

    def apply(self, block: FeatureBlock, inputs: FeatureInputs, options: Options, learned: Learned) -> FeatureBlock:
        """Return every row's components."""
        scores = project_ancestry(inputs, learned).astype(np.float32)
        rows = [
            (f"ancestry_pc_{i}", "ancestry", "SD", None, f"genetic ancestry, principal component {i} (SD)")
            for i in range(1, scores.shape[1] + 1)
        ]
        return FeatureBlock(scores, column_table(self.name, self.rung, rows))


FAMILY = AncestryPcsFamily()
