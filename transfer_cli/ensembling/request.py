"""What `ensemble` asks for beside its recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.ensembling.members import Members
from transfer_cli.io.cache import Cache
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.evaluation_directory import training_images_of
from transfer_cli.runs.run_directory import RunDirectory


class Options(TypedDict, total=False):
    """What an ensemble takes beside its members and the recipe.

    Attributes
    ----------
    overwrite : bool
        Replace an earlier run.
    min_accuracy : float, optional
        Raise GateError, and write no model, where the accuracy on test (on val where there is no test) is lower.
    images : Path, optional
        Of a soup: where the pictures are, if not where they were when its members were made.
    command : sequence of str
        Written to command.txt.
    cache : Cache
        Where converted networks are kept; the person's own where it is not given.
    progress : Progress
    """

    overwrite: bool
    min_accuracy: float | None
    images: Path | None
    command: Sequence[str]
    cache: Cache
    progress: Progress


@dataclass(frozen=True)
class EnsembleRequest:
    """The run to write, and the options."""

    run: RunDirectory
    overwrite: bool = False
    min_accuracy: float | None = None
    images: Path | None = None
    command: Sequence[str] = ()
    cache: Cache = field(default_factory=Cache.of_user)
    progress: Progress = SILENT


def learnt_of(members: Members) -> TrainingImages:
    """Return the pictures that had a say in any member, or by which they were joined."""
    learnt, chosen = [np.empty(0, np.uint64)], [TrainingImages.of(_digests(members, "val")).train]
    for run in members.runs:
        said = training_images_of(str(run.directory.path))
        assert said is not None  # a run knows its split
        learnt.append(said.train)
        chosen.append(said.val)
    train: NDArray[np.uint64] = np.unique(np.concatenate(learnt))
    return TrainingImages(train, np.setdiff1d(np.concatenate(chosen), train))


def _digests(members: Members, part: str) -> list[str]:
    return [row.sha256 for row in members.split.rows if row.part == part]
