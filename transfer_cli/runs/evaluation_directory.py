"""The directory of an evaluation: what a model said of a folder of pictures whose classes are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import MANIFEST, ModelBundle
from transfer_cli.bundle.training_images import LEARNT_FILE, TrainingImages
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import must_be_ours
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.run_directory import RunDirectory

ALL = "all"
"""All pictures of an evaluation, among its parts."""
UNSEEN = "unseen"
"""Those of them that had no say in the model: not learnt from, and nothing was chosen by them."""


@dataclass(frozen=True)
class EvaluationDirectory:
    """An evaluation on disk. Nobody else joins these names."""

    path: Path

    @property
    def about(self) -> Path:
        """Which model and which pictures, JSON."""
        return self.path / "evaluation.json"

    @property
    def images(self) -> Path:
        """Path, digest, class and part of each picture, and whether the model has learnt from it, CSV."""
        return self.path / "pictures.csv"

    @property
    def predictions(self) -> Path:
        """What the model said of each picture beside the truth, CSV."""
        return self.path / "predictions.csv"

    @property
    def metrics(self) -> Path:
        """The figures, JSON."""
        return self.path / "metrics.json"

    @property
    def confusion(self) -> Path:
        """Which class was taken for which, CSV."""
        return self.path / "confusion.csv"

    @property
    def curves(self) -> Path:
        """ROC, precision-recall and reliability curves, CSV."""
        return self.path / "curves.csv"

    @property
    def skipped(self) -> Path:
        """Path and reason of each file that could not be read, CSV."""
        return self.path / "skipped.csv"

    def files(self) -> tuple[Path, ...]:
        """Return where each file of an evaluation is."""
        tables = (self.images, self.predictions, self.confusion, self.curves, self.skipped)
        return (self.about, self.metrics, *tables)

    def is_one(self) -> bool:
        """Return whether there is an evaluation."""
        return self.about.is_file()

    def read_about(self) -> dict[str, Any]:
        """Return what evaluation.json says; raise RunError when it cannot be read."""
        try:
            about: dict[str, Any] = json.loads(self.about.read_text("utf-8", "surrogateescape"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.about} cannot be read: {error}.") from None
        return about

    def must_be_free(self, folder: ImageFolder, part: str | None, tta: str | None = None) -> None:
        """Raise RunError where something else is in the way; an evaluation of the same pictures is replaced."""
        place = "Choose another place with -o DIR."
        if self.path.resolve().is_relative_to(folder.source.resolve()):
            raise RunError(f"{self.path} would lie inside the folder of pictures {folder.source}.", hint=place)
        if self.is_one():
            about = self.read_about()
            if (about.get("folder"), about.get("part")) != (str(folder.source.resolve()), part):
                raise RunError(f"{self.path} holds an evaluation of {about.get('folder')}.", hint=place)
            if about.get("tta") != tta:
                was = f"with --tta {about['tta']}" if about.get("tta") else "without --tta"
                raise RunError(f"{self.path} holds an evaluation {was}.", hint=place)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path} is there already, and is no evaluation.", hint=place)
        names = {path.name for path in self.files()}
        must_be_ours(self.path, lambda path: path.name in names, "no part of an evaluation")


def is_model(path: Path) -> bool:
    """Return whether there is a run or a bundle."""
    run = RunDirectory(path)
    return any(file.is_file() for file in (run.recipe, run.model / MANIFEST, path / MANIFEST))


def run_with(model: str) -> RunDirectory | None:
    """Return the run that a model lies in, given as the run or as its bundle; None for a bundle on its own."""
    path = Path(model)
    for place in (path, path.resolve().parent):
        run = RunDirectory(place)
        if run.model.is_dir() and run.split.is_file() and path.resolve() in (place.resolve(), run.model.resolve()):
            return run
    return None


def learnt_by(run: RunDirectory) -> frozenset[str]:
    """Return the digests of the pictures that a run has learnt from: train, and val where it did so in the end."""
    parts = {"train"}
    if run.history.is_file() and any(row.get("refit") == "yes" for row in read_table(run.history, ())):
        parts.add("val")
    return frozenset(row.sha256 for row in Split.read(run.split).rows if row.part in parts)


def training_images_of(model: str) -> TrainingImages | None:
    """Return which pictures had a say in a run or a bundle; None where that is not known.

    A bundle says it itself, wherever it was copied to. Of an older one, which does not, the run that it lies in does.

    Raises
    ------
    ModelError
        When the bundle is missing or damaged.
    """
    bundle, directory = ModelBundle.read(Path(model))
    if LEARNT_FILE in bundle.files:
        return TrainingImages.load(directory / LEARNT_FILE)
    if run := run_with(model):
        return TrainingImages.of(
            learnt_by(run), (row.sha256 for row in Split.read(run.split).rows if row.part == "val")
        )
    return None
