"""What a training command is asked to do beside its recipe, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from transfer_cli.arguments import check_type
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.io.cache import Cache
from transfer_cli.metrics.scores import UNEVEN, Metrics
from transfer_cli.progress import SILENT, Progress, StepsOnly
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class TrainingRequest:
    """The images to train on, the run to write, and the options that are not part of a recipe.

    Attributes
    ----------
    folder : ImageFolder
    run : RunDirectory
    split : Split, optional
        The split to follow for the images that it lists. Default: the split of an earlier run in the same place, else
        the split.csv of the folder.
    offline : bool
        Never open an internet connection.
    strict : bool
        Raise ImageError for the first image that cannot be read, in place of skipping it.
    overwrite : bool
        Replace an earlier run in the same place, but keep its split.
    command : sequence of str
        The command as it was typed, written to command.txt.
    cache : Cache
        The cache of features and converted networks. Default: the user's.
    progress : Progress
    min_accuracy : float, optional
        Raise GateError, and write no model, if the accuracy on test (on val if there is no test set) is lower.
    time_budget : float, optional
        `finetune` only: seconds for the whole command; the number of epochs is chosen to fit.
    begun : float
        Start of the command, in seconds of `time.monotonic`.
    tensorboard : bool
        `finetune` only: write the metrics of each epoch for TensorBoard as well.
    on_claim : callable, optional
        Called when all checks have passed, just before anything is written to the run.
    """

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
    on_claim: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        check_type(self.folder, ImageFolder, "folder as ImageFolder: ImageFolder.scan(PATH)")
        check_type(self.run, RunDirectory, "run as RunDirectory: RunDirectory(PATH)")

    def silent(self) -> TrainingRequest:
        """Return the same request without messages."""
        return replace(self, progress=SILENT)

    def steps_only(self) -> TrainingRequest:
        """Return the same request without messages, but with the progress of its steps."""
        return replace(self, progress=StepsOnly(self.progress))


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a run.

    Attributes
    ----------
    run : RunDirectory
    metrics : mapping
        As in metrics.json; empty if no model was trained.
    skipped : tuple of Skipped
        Files that could not be read.
    val_note : str
        How the metrics of val were computed, if not as plain predictions on a held-out validation set.
    was_complete : bool
        Whether the run was complete already, so that nothing was done.
    is_uneven : bool
        Whether the classes are so imbalanced that one metric does not describe all of them.
    """

    run: RunDirectory
    metrics: Metrics
    skipped: tuple[Skipped, ...]
    val_note: str
    was_complete: bool = False
    is_uneven: bool = False

    @classmethod
    def complete(
        cls, run: RunDirectory, split: Split, metrics: Metrics, skipped: Sequence[Skipped], val_note: str
    ) -> TrainingResult:
        """Write metrics.json, which marks the run as complete, and return its result."""
        run.complete(metrics)
        run.log("end", metrics=metrics)
        return cls(run, metrics, tuple(skipped), val_note, is_uneven=is_uneven(split))


def is_uneven(split: Split) -> bool:
    """Return whether the numbers of training images per class are very imbalanced."""
    counts = [*split.training_counts().values()]
    return split.is_labelled and max(counts) >= UNEVEN * min(counts)
