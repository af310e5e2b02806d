"""An earlier fine-tuned run as the start of a new training: whether it fits, its ancestors, the images it has seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import NETWORK_FILE, TRAINING_IMAGES_FILE
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.catalog.backbones import IN_FILE
from transfer_cli.errors import ModelError
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.text import counted, printable, shell_command

_ANCESTOR = re.compile(r".{1,300} [0-9a-f]{64}")
_MAX_ANCESTORS = 100


@dataclass(frozen=True)
class EarlierRun:
    """A run of finetune, or its bundle, whose network a new training starts from.

    Attributes
    ----------
    path : Path
    opened : OpenedBundle
    """

    path: Path
    opened: OpenedBundle

    @classmethod
    def open(cls, path: Path) -> EarlierRun:
        """Open the run or bundle at `path` and verify its files.

        Raises
        ------
        ModelError
            If there is none, or it has no fine-tuned network.
        """
        opened = ModelBundle.open(path)
        if opened.members:
            member = shell_command(str(opened.members[0].directory))
            raise ModelError(
                f"{path} is an ensemble of {counted(len(opened.members), 'model')}. Expected a run with one network.",
                hint=f"Start from a member: --weights {member}",
            )
        if opened.bundle.kind != "network":
            weights = opened.bundle.backbone.get("weights")
            is_own = weights == IN_FILE
            raise ModelError(
                f"{path} is a run of extract, whose network was not trained. Expected a run of finetune.",
                hint="It has the weights of its file: leave out --weights."
                if is_own
                else f"Start from the same weights: --weights {shell_command(weights)}",
            )
        return cls(path, opened)

    @property
    def name(self) -> str:
        """The name of the run, or of the folder of the bundle."""
        directory = self.opened.directory.resolve()
        name = directory.parent.name if directory.name == "model" else directory.name
        return printable(name).replace("\n", " ")[:300] or "model"

    @property
    def network_file(self) -> Path:
        """Its Keras file."""
        return self.opened.directory / NETWORK_FILE

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its name and digest, then those of the runs that it started from, the nearest first."""
        own = f"{self.name} {self.opened.bundle.digest}"
        before = self.opened.bundle.backbone.get("ancestors") or ()
        is_valid = isinstance(before, list | tuple) and all(
            isinstance(each, str) and _ANCESTOR.fullmatch(each) for each in before
        )
        if not is_valid or len(before) >= _MAX_ANCESTORS:
            raise ModelError(f"{self.path} does not name the runs that it started from as this program does.")
        return (own, *before)

    @property
    def training_images(self) -> TrainingImages:
        """The images that it, and the runs that it started from, were trained on."""
        if TRAINING_IMAGES_FILE not in self.opened.bundle.files:
            return TrainingImages.of(())
        return TrainingImages.load(self.opened.directory / TRAINING_IMAGES_FILE)

    def check_fits(self, recipe: Recipe) -> None:
        """Raise ModelError, which names both, unless it has the backbone, image size and layer of a resolved recipe."""
        own, choice = self.opened.bundle.backbone, recipe.backbone
        name = str(own.get("name", ""))
        backbone = f"--backbone {shell_command(name)}"
        backbone += f" --preprocess {own['preprocess']}" if own.get("preprocess") else ""
        pairs: list[tuple[str, Any, Any, str]] = [
            ("backbone", _name_of(own), _name_of(choice.model_dump()), backbone),
            ("preprocessing", own.get("preprocess"), choice.preprocess, f"--preprocess {own.get('preprocess')}"),
            (
                "image size",
                self.opened.bundle.image_size,
                recipe.image_size,
                f"--set images.size={self.opened.bundle.image_size}",
            ),
            ("layer", own.get("layer"), choice.layer, f"--layer {own['layer']}" if own.get("layer") else ""),
        ]
        described = recipe.model_dump(mode="json", exclude_none=True).get("network")
        if self.opened.bundle.recipe.get("network") != described:
            raise ModelError(
                f"{self.path} cannot be continued: its recipe describes another network than that of this command.",
                hint="Only finetune goes on from it, with the section [network] of its recipe.toml.",
            )
        for what, there, here, option in pairs:
            is_same = _identity(own) == _identity(choice.model_dump()) if what == "backbone" else there == here
            if not is_same:
                raise ModelError(
                    f"{self.path} cannot be continued: its {what} is {_text(there)}, and that of this command is "
                    f"{_text(here)}. Expected the same.",
                    hint=f"Use that of the earlier run: {option}" if option else "Leave out --layer.",
                )


def _identity(backbone: Any) -> str:
    """Return what identifies a backbone: its name, or the digest of its file, which may have been renamed."""
    return str(backbone.get("sha256") or backbone.get("name"))


def _name_of(backbone: Any) -> str:
    digest = backbone.get("sha256")
    return f"{Path(str(backbone.get('name'))).name} (SHA-256 {digest})" if digest else str(backbone.get("name"))


def _text(value: Any) -> str:
    return "the default" if value is None else str(value)
