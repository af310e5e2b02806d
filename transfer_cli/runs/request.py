"""What a training command asks for beside the recipe, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypedDict

from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.io.cache import Cache
from transfer_cli.metrics.scores import UNEVEN, Metrics
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.run_directory import RunDirectory


class Options(TypedDict, total=False):
    """What extract and finetune take beside the folder, the recipe and the run.

    Attributes
    ----------
    split : Split, optional
        Followed for the pictures it knows; else the run's own, else split.csv in the folder.
    offline : bool
        Never open a socket.
    strict : bool
        Raise ImageError at the first picture that cannot be read.
    overwrite : bool
        Replace an earlier run, keeping its split.
    command : sequence of str
        Written to command.txt.
    cache : Cache
        Where features and converted networks are kept; the person's own where it is not given.
    progress : Progress
    min_accuracy : float, optional
        Raise GateError, and write no model, where the accuracy on test (on val where there is no test) is lower.
    time_budget : float, optional
        finetune: seconds of the whole command, into which its epochs are planned.
    begun : float
        When the command began, by time.monotonic.
    tensorboard : bool
        finetune: write its epochs for TensorBoard, too.
    """

    split: Split | None
    offline: bool
    strict: bool
    overwrite: bool
    command: Sequence[str]
    cache: Cache
    progress: Progress
    min_accuracy: float | None
    time_budget: float | None
    begun: float
    tensorboard: bool


@dataclass(frozen=True)
class TrainingRequest:
    """The folder to learn from, the run to write, and the options."""

    folder: ImageFolder
    run: RunDirectory
    split: Split | None = None
    offline: bool = False
    strict: bool = False
    overwrite: bool = False
    command: Sequence[str] = ()
    cache: Cache = field(default_factory=Cache.of_user)
    progress: Progress = SILENT
    min_accuracy: float | None = None
    time_budget: float | None = None
    begun: float = field(default_factory=time.monotonic)
    tensorboard: bool = False

    def silent(self) -> TrainingRequest:
        """Return the same, nothing of which is said."""
        return replace(self, progress=SILENT)


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes
    ----------
    run : RunDirectory
    metrics : mapping
        As in metrics.json; empty where nothing was learnt.
    skipped : tuple of Skipped
    val_note : str
        What the val figures are, where they are not plain predictions of a part that was held out.
    was_complete : bool
        Whether the run was there already, so that nothing was done.
    is_uneven : bool
        Whether classes have so unequal numbers of pictures to learn from that one figure does not say how each fares.
    """

    run: RunDirectory
    metrics: Metrics
    skipped: tuple[Skipped, ...]
    val_note: str
    was_complete: bool = False
    is_uneven: bool = False


class Judged(Protocol):
    """What has a run, and maybe an accuracy that it has to reach."""

    @property
    def run(self) -> RunDirectory:
        """Where everything is written."""

    @property
    def min_accuracy(self) -> float | None:
        """On test, on val where there is no test."""

    @property
    def progress(self) -> Progress:
        """Who is told the figures of a run that was not good enough."""


def is_uneven(split: Split) -> bool:
    """Return whether the classes have very unequal numbers of pictures to learn from."""
    counts = [*split.learnt().values()]
    return max(counts) >= UNEVEN * min(counts)
