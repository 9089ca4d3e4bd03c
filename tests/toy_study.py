"""A study of four toy stages over text files; the runner's tests are made of these."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomix_pipelines.stage import Stage, StageContext


@dataclass(frozen=True)
class ToyStudy:
    """Words in a file; one target per letter to be counted."""

    folder: Path
    targets: tuple[str, ...] = ("a", "e")
    seed: int = 1
    pause: float = 0.0

    @property
    def words(self) -> Path:
        return self.folder / "words.txt"

    @property
    def notes(self) -> Path:
        return self.folder / "notes"


def make_study(folder: Path, **changes: Any) -> ToyStudy:
    """Write the inputs of a toy study."""
    folder.mkdir(parents=True, exist_ok=True)
    study = ToyStudy(folder, **changes)
    study.words.write_text("apple\nelement\npear\n")
    study.notes.mkdir(exist_ok=True)
    (study.notes / "one.txt").write_text("a note")
    return study


def _read(context: StageContext) -> dict[str, Any]:
    time.sleep(context.study.pause)
    words = sorted(context.files["words"].read_text().split())
    (context.out / "words.json").write_text(json.dumps(words))
    (context.out / "nested").mkdir()
    (context.out / "nested" / "seed.txt").write_text(str(context.study.seed))
    return {"words": len(words)}


def _count(context: StageContext) -> dict[str, Any]:
    time.sleep(context.study.pause)
    words = json.loads((context.folder("read") / "words.json").read_text())
    count = sum(word.count(str(context.target)) for word in words)
    context.progress(0.5, "counted")
    (context.out / "count.json").write_text(json.dumps(count))
    return {"count": count}


def _sum(context: StageContext) -> dict[str, Any]:
    time.sleep(context.study.pause)
    folders = context.folders("count")
    total = sum(json.loads((folder / "count.json").read_text()) for folder in folders.values())
    (context.out / "report.html").write_text(f"<p>{total}</p>")
    return {"total": total}


READ = Stage(
    "read",
    _read,
    files=lambda study, _: {"words": study.words, "notes": study.notes},
    parameters=lambda study, _: {"seed": study.seed},
)
COUNT = Stage("count", _count, needs=("read",), per_target=True)
SUM = Stage("sum", _sum, needs=("count", "absent"))
ABSENT = Stage("absent", _sum, needs=("read",), wanted=lambda _: False)
STAGES = (SUM, COUNT, READ, ABSENT)
