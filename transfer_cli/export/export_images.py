"""The images for an export: training images to calibrate int8, validation images to compare, test images to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.image_batches import view_batches
from transfer_cli.errors import InputError
from transfer_cli.io.discovery import expand_paths
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_of_model import run_of_model
from transfer_cli.text import counted, shell_command

MAX_COMPARED = 200
"""Maximum number of images for the parity check."""
CALIBRATION_IMAGES = 100
MIN_IMAGES = 8
_ANY_FOLDER = f"Give any folder of at least {MIN_IMAGES} images: --images DIR"
_BATCH = 32


@dataclass(frozen=True)
class ExportImages:
    """The images of a run, or of a folder for a bundle without its run.

    Attributes
    ----------
    bundle : ModelBundle
    run : FinishedRun or None
    compared : tuple of str
        Images for the parity check.
    compared_with : str
        Name of the set that they are.
    """

    bundle: ModelBundle
    run: FinishedRun | None
    compared: tuple[str, ...]
    compared_with: str

    @classmethod
    def of(cls, source: str, bundle: ModelBundle, images: Path | None) -> ExportImages:
        """Find the images of the run `source`, or for a bundle without its run those in the folder `images`.

        Validation images are compared; where they are fewer than `MIN_IMAGES`, test images, too, then training images,
        and then all images in the folder `images`.

        Raises
        ------
        InputError
            When there are fewer than `MIN_IMAGES`.
        """
        directory = run_of_model(source)
        if directory:
            return cls._of_run(FinishedRun.read(directory.path, images), bundle, images)
        if images:
            if not images.is_dir():
                raise InputError(f"There is no folder {images}. Expected a folder of images of any kind.")
            compared = tuple(expand_paths([str(images)]))
            if len(compared) < MIN_IMAGES:
                raise _too_few(len(compared), str(images), _ANY_FOLDER)
            return cls(bundle, None, compared, "the folder")
        raise InputError(
            f"{source} is a bundle without its run, so there are no images to check an exported file on.",
            hint=f"Give a folder of images: transfer-cli export {shell_command(source)} --images DIR",
        )

    @classmethod
    def _of_run(cls, run: FinishedRun, bundle: ModelBundle, images: Path | None) -> ExportImages:
        compared: tuple[str, ...] = ()
        parts: list[str] = []
        for part in ("val", "test", "train"):
            if len(compared) < MIN_IMAGES and (more := _existing(run, part)):
                compared += more
                parts.append(part)
        if len(compared) < MIN_IMAGES and images:
            compared = tuple(str(Path(path).absolute()) for path in expand_paths([str(images)]))
            parts = ["the folder"]
        if (count := len(compared)) < MIN_IMAGES:
            missing = len(run.split.rows) - count
            hint = "Give the folder where the images are now: --images DIR"
            raise _too_few(count, f"{run.root} (all splits of the run)", hint if missing else _ANY_FOLDER)
        return cls(bundle, run, compared, " + ".join(parts))

    @property
    def scored_part(self) -> str:
        """The part of the split whose images are scored."""
        assert self.run is not None
        return "test" if self.run.split.mask("test").any() else "val"

    def check_int8_images(self) -> None:
        """Raise InputError unless there are images to calibrate and to score an int8 file."""
        if self.run is None:
            raise InputError(
                "int8 formats need training images for calibration and test images for scoring; "
                "a bundle without its run has none.",
                hint="Export from the run: transfer-cli export RUN --format litert-int8",
            )
        for part in ("train", self.scored_part):
            if len(available := _existing(self.run, part)) < MIN_IMAGES:
                is_missing = self.run.split.mask(part).sum() >= MIN_IMAGES
                moved, few = "Give the folder where the images are now: --images DIR", "Choose a format without int8"
                raise InputError(
                    f"Found {counted(len(available), f'{part} image')} in {self.run.root}. int8 "
                    f"formats need {MIN_IMAGES}.",
                    hint=moved if is_missing else f"{few}, or train again with more images.",
                )

    def to_compare(self) -> NDArray[np.uint8]:
        """Return images for the parity check, uint8 of shape (n, size, size, 3)."""
        chosen = _evenly_spaced(self.compared, MAX_COMPARED)
        images, _ = self._decode(chosen)
        if len(images) < MIN_IMAGES:
            raise InputError(
                f"{len(images)} of {counted(len(chosen), 'image')} could be read. "
                f"Expected at least {MIN_IMAGES} to check an exported file.",
                hint="Give a folder with other images: --images DIR",
            )
        return images

    @cached_property
    def calibration(self) -> NDArray[np.uint8]:
        """Some training images, uint8 of shape (n, size, size, 3)."""
        assert self.run is not None
        return self._decode(_evenly_spaced(_existing(self.run, "train"), CALIBRATION_IMAGES))[0]

    def to_score(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return all test images and their true classes."""
        assert self.run is not None
        images, paths = self._decode(_existing(self.run, self.scored_part))
        row_of = {row.path: number for number, row in enumerate(self.run.split.rows)}
        return images, self.run.split.truth()[[row_of[path] for path in paths]]

    def _decode(self, paths: Sequence[str]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Return the images that can be read, and their paths."""
        root = self.run.root if self.run else None
        decoded = list(view_batches(paths, [self.bundle.view], batch_size=_BATCH, root=root))
        readable = tuple(path for batch in decoded for path in batch.paths)
        if not readable:
            raise InputError(f"None of {counted(len(paths), 'image')} could be read.")
        return np.concatenate([batch.images for batch in decoded]), readable


def _too_few(count: int, place: str, hint: str) -> InputError:
    expected = f"Expected at least {MIN_IMAGES} to check an exported file."
    return InputError(f"Found {counted(count, 'image')} in {place}. {expected}", hint=hint)


def _existing(run: FinishedRun, part: str) -> tuple[str, ...]:
    return tuple(row.path for row in run.split.rows if row.part == part and (run.root / row.path).is_file())


def _evenly_spaced(paths: Sequence[str], count: int) -> Sequence[str]:
    """Return up to `count` of the paths, evenly spaced, so that all classes are among them."""
    rows = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[row] for row in rows]
