"""The outcome of a training, as Python users get it: the run, its scores and its classifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from transfer_cli.data.skipped import Skipped
from transfer_cli.html_table import html_table
from transfer_cli.image_classifier import ImageClassifier
from transfer_cli.metrics.score import Scores, score_rows, scores_of
from transfer_cli.metrics.scores import Metrics
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class TrainedRun:
    """The outcome of a training; itself a path object (`os.PathLike`) of the run.

    Attributes
    ----------
    run : RunDirectory
        The folder that was written: ``run.path``.
    metrics : mapping
        As in metrics.json; see `scores`.
    skipped : tuple of Skipped
        Images that could not be read.
    was_complete : bool
        Whether the run was complete already, so that nothing was done.
    """

    run: RunDirectory
    metrics: Metrics = field(repr=False)
    skipped: tuple[Skipped, ...] = ()
    was_complete: bool = False

    @property
    def path(self) -> Path:
        """The folder that was written."""
        return self.run.path

    @property
    def scores(self) -> Scores:
        """The scores with their 95 % intervals: ``scores["test"]["accuracy"].value``, ``.low`` and ``.high``."""
        return scores_of(self.metrics)

    @cached_property
    def classifier(self) -> ImageClassifier:
        """The trained model, loaded on first use."""
        return ImageClassifier.load(self.run)

    @property
    def model(self) -> ImageClassifier:
        """The same as `classifier`."""
        return self.classifier

    def __fspath__(self) -> str:
        return str(self.run.path)

    def __repr__(self) -> str:
        rows = "".join(f"\n  {part} {name} {text}" for part, name, text in score_rows(self.scores))
        return f"<TrainedRun {self.run.path}>{rows}"

    def _repr_html_(self) -> str:
        return html_table(f"TrainedRun {self.run.path}", ("part", "metric", "score"), score_rows(self.scores))
