"""The pictures that an export is calibrated, compared and scored on: those of the run, each part for its purpose."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.decoding import batches
from transfer_cli.errors import InputError
from transfer_cli.io.discovery import walk_paths
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import run_with

COMPARED = 200
"""So many pictures a file and its model are both asked about, where there are as many."""
CALIBRATED = 100
FEWEST = 8
_BATCH = 32


@dataclass(frozen=True)
class ComparisonImages:
    """Where pictures are, and what is known of them.

    Attributes
    ----------
    bundle : ModelBundle
    run : FinishedRun or None
        None of a bundle without its run.
    files : tuple of str
        The pictures to compare by, of a bundle without its run.
    """

    bundle: ModelBundle
    run: FinishedRun | None
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: str, bundle: ModelBundle, images: Path | None) -> ComparisonImages:
        """Return the pictures of a run, or of a folder for a bundle that lies in none.

        Raises
        ------
        InputError
            When there are too few.
        """
        directory = run_with(source)
        if directory:
            found = cls(bundle, FinishedRun.read(directory.path, images))
            there = found._there(found.compared_part)
            where = f"{found.run.root if found.run else ''} (part {found.compared_part} of the run)"
        elif images:
            if not images.is_dir():
                raise InputError(f"There is no folder {images}. Expected one of pictures, of any kind.")
            found = cls(bundle, None, tuple(walk_paths([str(images)])))
            there, where = found.files, str(images)
        else:
            raise InputError(
                f"{source} is a bundle without its run, so that there are no pictures to try an exported file on.",
                hint=f"Say where some are: transfer-cli export {shlex.quote(source)} --images FOLDER",
            )
        if len(there) < FEWEST:
            raise InputError(
                f"{len(there)} pictures were found in {where}. Expected {FEWEST} at least, to try an exported file on.",
                hint="Say where they are now: --images FOLDER",
            )
        return found

    @property
    def compared_with(self) -> str:
        """Where the pictures that are compared by come from, for a person."""
        return "the folder" if self.run is None else self.compared_part

    @property
    def compared_part(self) -> str:
        """The part whose pictures are compared by."""
        assert self.run is not None
        return next(part for part in ("val", "test", "train") if self.run.split.mask(part).any())

    @property
    def scored_part(self) -> str:
        """The part whose pictures are scored."""
        assert self.run is not None
        return "test" if self.run.split.mask("test").any() else "val"

    def must_have_parts(self) -> None:
        """Raise InputError unless there are pictures to calibrate and to score by."""
        if self.run is None:
            raise InputError(
                "int8 is calibrated on train pictures and scored on test pictures; a bundle without its run has none.",
                hint="Export from the run: transfer-cli export RUN --format litert-int8",
            )
        for part in ("train", self.scored_part):
            if len(self._there(part)) < FEWEST:
                raise InputError(
                    f"Too few pictures of the part {part} are in {self.run.root}. int8 needs them.",
                    hint="Say where they are now: --images FOLDER",
                )

    def to_compare(self) -> tuple[NDArray[np.uint8], tuple[Path, ...]]:
        """Return some pictures of val, uint8 of shape (n, size, size, 3), and their files."""
        there = self.files if self.run is None else self._there(self.compared_part)
        images, kept = self._decoded(_spread(there, COMPARED))
        if len(images) < FEWEST:
            raise InputError(
                f"{len(images)} of {min(len(there), COMPARED)} pictures could be read. "
                f"Expected {FEWEST} at least, to try an exported file on.",
                hint="Say where others are: --images FOLDER",
            )
        return images, tuple(Path(path) if self.run is None else self.run.root / path for path in kept)

    @cached_property
    def calibration(self) -> NDArray[np.uint8]:
        """Some pictures of train, uint8 of shape (n, size, size, 3)."""
        return self._decoded(_spread(self._there("train"), CALIBRATED))[0]

    def to_score(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return all pictures of test, and their classes."""
        assert self.run is not None
        images, kept = self._decoded(self._there(self.scored_part))
        row_of = {row.path: number for number, row in enumerate(self.run.split.rows)}
        return images, self.run.split.truth()[[row_of[path] for path in kept]]

    def _there(self, part: str) -> tuple[str, ...]:
        assert self.run is not None
        rows = (row for row in self.run.split.rows if row.part == part)
        return tuple(row.path for row in rows if (self.run.root / row.path).is_file())

    def _decoded(self, paths: Sequence[str]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        size, resize = self.bundle.image_size, self.bundle.resize
        root = self.run.root if self.run else None
        read = list(batches(paths, size=size, resize=resize, batch_size=_BATCH, root=root))
        kept = tuple(path for batch in read for path in batch.paths)
        if not kept:
            raise InputError(f"None of {len(paths)} pictures could be read.")
        return np.concatenate([batch.images for batch in read]), kept


def _spread(paths: Sequence[str], count: int) -> Sequence[str]:
    """Return `count` of the paths, evenly taken, so that all classes are among them."""
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[place] for place in places]
