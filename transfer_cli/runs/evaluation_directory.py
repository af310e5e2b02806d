"""The directory of an evaluation of a model on a folder of labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import check_replaceable, check_writable_folder
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.runs.entry import Directory, Entry, reading

ALL = "all"
"""Key of the metrics of all images of an evaluation."""
_OPTIONS = {"tta": "--tta", "perturb": "--perturb", "class_map_sha256": "--class-map", "omit_sha256": "--omit"}
"""Settings of which other values are another evaluation, and their options."""
UNSEEN = "unseen"
"""Key of the metrics of the images that were used neither to train nor to select the model."""


@dataclass(frozen=True, init=False)
class EvaluationDirectory(Directory):
    """An evaluation on disk. No other module joins these names."""

    about = Entry("evaluation.json")  # the model, the folder and the settings
    images = Entry("images.csv")  # path, digest, class and split of each image, and its role in training the model
    predictions = Entry("predictions.csv")
    metrics = Entry("metrics.json")
    confusion = Entry("confusion.csv")
    curves = Entry("curves.csv")  # ROC, precision-recall and reliability curves
    perturbations = Entry("perturbations.csv")  # accuracy under each perturbation
    perturbations_plot = Entry("perturbations.png")
    skipped = Entry("skipped.csv")  # path and reason of each file that could not be read

    def files(self) -> tuple[Path, ...]:
        """Return the path of each file of an evaluation."""
        tables = (self.images, self.predictions, self.confusion, self.curves, self.perturbations, self.skipped)
        return (self.about, self.metrics, *tables, self.perturbations_plot)

    def exists(self) -> bool:
        """Return whether the directory holds an evaluation."""
        return self.about.is_file()

    def read_about(self) -> dict[str, Any]:
        """Return the content of evaluation.json; raise RunError if it cannot be read."""
        with reading(self.about):
            about: dict[str, Any] = read_json(self.about)
        return about

    def check_free(self, folder: ImageFolder, settings: Mapping[str, object]) -> None:
        """Raise RunError if the directory holds anything but an evaluation of the same images, which is replaced.

        Parameters
        ----------
        folder : ImageFolder
        settings : mapping of str to object
            As they will be in evaluation.json.
        """
        place = "Choose another place with -o DIR."
        if self.path.resolve().is_relative_to(folder.source.resolve()):
            raise RunError(f"{self.path} would be inside the image folder {folder.source}.", hint=place)
        check_writable_folder(self.path, is_replaced=True)
        if self.exists():
            about = self.read_about()
            if any(about.get(name) != settings.get(name) for name in ("folder", "part")):
                raise RunError(f"{self.path} holds an evaluation of {about.get('folder')}.", hint=place)
            for name, option in _OPTIONS.items():
                if (was := about.get(name)) != settings.get(name):
                    table = "another table" if settings.get(name) else "a table"
                    value = {"tta": f" {was}", "perturb": ""}.get(name, f" {table}")
                    shown = f"with {option}{value}" if was else f"without {option}"
                    raise RunError(f"{self.path} holds an evaluation {shown}.", hint=place)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path} exists already and is not an evaluation.", hint=place)
        names = {path.name for path in self.files()}
        check_replaceable(self.path, lambda path: path.name in names, "an evaluation")
