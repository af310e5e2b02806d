"""The run that a model belongs to, and the images that the model was trained on."""

from __future__ import annotations

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import MANIFEST, TRAINING_IMAGES_FILE
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.split import Split
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.run_directory import RunDirectory


def is_model(path: StrPath) -> bool:
    """Return whether a path is a run or a bundle."""
    run = RunDirectory(path)
    return any(file.is_file() for file in (run.recipe, run.model / MANIFEST, run.path / MANIFEST))


def run_of_model(model: StrPath) -> RunDirectory | None:
    """Return the run of a model, which is given as the run or as its bundle; None for a bundle outside a run."""
    path = as_path(model, "a run or a bundle")
    for place in (path, path.resolve().parent):
        run = RunDirectory(place)
        if run.model.is_dir() and run.split.is_file() and path.resolve() in (place.resolve(), run.model.resolve()):
            return run
    return None


def training_digests(run: RunDirectory) -> frozenset[str]:
    """Return the digests of the training images of a run: those of train, and of val after a refit."""
    parts = {"train"}
    if run.history.is_file() and any(row.get("refit") == "yes" for row in read_table(run.history, ())):
        parts.add("val")
    return frozenset(row.sha256 for row in Split.read(run.split).rows if row.part in parts)


def training_images_of(model: StrPath) -> TrainingImages | None:
    """Return the images that trained or selected the model of a run or a bundle; None if they are not recorded.

    Raises
    ------
    ModelError
        If the bundle is missing or damaged.
    """
    bundle, directory = ModelBundle.read(model)
    if TRAINING_IMAGES_FILE in bundle.files:
        return TrainingImages.load(directory / TRAINING_IMAGES_FILE)
    if run := run_of_model(model):
        return TrainingImages.of(
            training_digests(run), (row.sha256 for row in Split.read(run.split).rows if row.part == "val")
        )
    return None
