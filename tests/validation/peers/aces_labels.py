"""Labels of the reference program of ACES (es-aces), run by the python of an environment that has it.

Call: python aces_labels.py EVENTS.parquet OUT_FOLDER TASK.yaml ...; one OUT_FOLDER/TASK.parquet per task, with
subject_id, trigger, index_timestamp and label (how often the label's predicate occurs); empty where no row is left.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def main() -> None:
    import polars as pl
    from aces.config import TaskExtractorConfig  # type: ignore[import-not-found]
    from aces.predicates import get_predicates_df  # type: ignore[import-not-found]
    from aces.query import query  # type: ignore[import-not-found]
    from omegaconf import OmegaConf  # type: ignore[import-not-found]

    logging.disable(logging.CRITICAL)
    events, out = sys.argv[1:3]
    data = OmegaConf.create({"standard": "meds", "path": events, "shard": False})
    for task in map(Path, sys.argv[3:]):
        config = TaskExtractorConfig.load(config_path=task)
        found = query(config, get_predicates_df(config, data))
        if found.is_empty():
            time = pl.Datetime("us")
            found = pl.DataFrame(
                schema={"subject_id": pl.Int64, "trigger": time, "index_timestamp": time, "label": pl.Int64}
            )
        columns = ("subject_id", "trigger", "index_timestamp", "label")
        found.select(columns).write_parquet(Path(out) / f"{task.stem}.parquet")


if __name__ == "__main__":
    main()
