"""A run on photographs of clothing with near-duplicates of training images in the test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.planting import KINDS, SINGLE, plant_copies
from tests.conftest import TINY, run_command

PER_CLASS = 50


@dataclass(frozen=True)
class Planted:
    run: Path
    folder: Path
    """500 training images, 50 test images, and the near-duplicates in the test set."""
    sources: dict[str, str]
    """The path of each near-duplicate, and of its original."""


def plant(shared: Path, place: Path) -> Planted:
    clothing, folder = shared / "data" / "clothing", place / "folder"
    for part, count in (("train", PER_CLASS), ("test", 5)):
        for directory in sorted((clothing / part).iterdir()):
            (folder / part / directory.name).mkdir(parents=True)
            for image in sorted(directory.iterdir())[:count]:
                (folder / part / directory.name / image.name).symlink_to(image.resolve())
    photographs = list((folder / "train").rglob("*.jpg"))
    planted = plant_copies(photographs, folder / "test", 11, SINGLE, 5)
    planted |= plant_copies(photographs, folder / "test", 12, tuple(KINDS)[5:], 2)
    run = place / "run"
    words = ["--backbone", TINY, "--set", "classifier.tune=false", "-o", run]
    done = run_command("extract", folder, *words, env={"KERAS_HOME": str(shared / "keras_home")})
    assert done.code == 0, done.err
    sources = {copy.relative_to(folder): source.relative_to(folder) for copy, (source, _) in planted.items()}
    return Planted(run, folder, {copy.as_posix(): source.as_posix() for copy, source in sources.items()})
