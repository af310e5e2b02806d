"""The outcome of a training, as Python users get it: the run, its scores and its classifier; or that of repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from transfer_cli.data.skipped import Skipped
from transfer_cli.html_table import html_table
from transfer_cli.image_classifier import ImageClassifier
from transfer_cli.metrics.score import Scores, score_rows, scores_of
from transfer_cli.metrics.scores import Metrics
from transfer_cli.metrics.spread import SPREAD_COLUMNS, Spreads, spread_rows
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted


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


@dataclass(frozen=True)
class TrainedRepeats:
    """The outcome of a training with ``repeats=N``: a sequence of runs, and how far their scores lie apart.

    Itself a path object (`os.PathLike`) of the folder of the runs.

    Attributes
    ----------
    path : Path
        The folder that was written.
    runs : tuple of TrainedRun
        By seed.
    seeds : tuple of int
    spreads : mapping
        ``spreads["test"]["accuracy"].mean``, ``.standard_deviation``, ``.lowest``, ``.highest`` and ``.values``.
    varied : tuple of str
        Parts of the split whose images are not the same in all runs: ``train``, ``val`` and ``test``, or some of them.
    """

    path: Path
    runs: tuple[TrainedRun, ...]
    seeds: tuple[int, ...]
    spreads: Spreads = field(repr=False)
    varied: tuple[str, ...] = ()

    @property
    def _title(self) -> str:
        return f"TrainedRepeats {self.path}: {counted(len(self), 'run')}"

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, number: int) -> TrainedRun:
        return self.runs[number]

    def __iter__(self) -> Iterator[TrainedRun]:
        return iter(self.runs)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        rows = "".join(
            f"\n  {part} {name.replace('_', ' ')} {spread}"
            for part, of_part in self.spreads.items()
            for name, spread in of_part.items()
        )
        return f"<{self._title}>{rows}"

    def _repr_html_(self) -> str:
        return html_table(self._title, SPREAD_COLUMNS, spread_rows(self.spreads))
