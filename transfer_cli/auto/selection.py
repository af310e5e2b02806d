"""Which of some models to take, by what each said of the pictures of val."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transfer_cli.data.split import Split
from transfer_cli.evaluation.comparison import compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.metrics.intervals import Figure
from transfer_cli.metrics.scores import log_loss
from transfer_cli.runs.run_directory import RunDirectory

_NORMAL = 1.96
"""Half of a 95 % interval in standard errors, of a mean of so many pictures as are worth choosing by."""


@dataclass(frozen=True)
class Choice:
    """A model that is taken, and why.

    Attributes
    ----------
    single : str
        The one with the lowest log loss of those that are no ensemble.
    losses : dict of str to float
        Log loss of each of them, in nats.
    images : int
        By so many pictures of val it was chosen.
    gain : Figure or None
        Log loss of the ensemble less that of `single`, with a paired bootstrap interval; None without an ensemble.
    """

    single: str
    losses: dict[str, float]
    images: int
    gain: Figure | None = None

    @property
    def takes_ensemble(self) -> bool:
        """Whether val says that the ensemble is better: by more than one standard error of the difference.

        The rule of Breiman et al. (1984, section 3.4.3) for the simpler of two. A val part of some hundred pictures
        hardly ever tells two good models apart by the 95 % interval, and the single one is flattered: it was the best
        of several on the same pictures, where the ensemble's figure is of folds.
        """
        if self.gain is None or self.gain["low"] is None or self.gain["high"] is None:
            return False
        standard_error = (self.gain["high"] - self.gain["low"]) / (2 * _NORMAL)
        return bool(self.gain["value"] < -standard_error)

    def summary(self) -> str:
        """Return what a person is told."""
        by = f"{self.images} pictures of val: "
        if self.gain is None:
            return f"{by}{self.single} has the lowest log loss, {self.losses[self.single]:.3f}: it is taken"
        low, high = self.gain["low"], self.gain["high"]
        interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
        taken = "the ensemble" if self.takes_ensemble else self.single
        return (
            f"{by}log loss of the ensemble {self.gain['value']:+.3f} against {self.single}'s{interval}: "
            f"{taken} is taken"
        )


def best_single(runs: Mapping[str, RunDirectory]) -> Choice:
    """Return the choice among some runs, each by its name; they were asked about the same pictures of val."""
    answers = {name: _of(run) for name, run in runs.items()}
    losses = {name: log_loss(each.truth, each.probabilities) for name, each in answers.items()}
    single = min(losses, key=losses.__getitem__)
    return Choice(single, losses, len(answers[single].images))


def or_ensemble(choice: Choice, single: RunDirectory, joined: RunDirectory, *, seed: int) -> Choice:
    """Return the choice with an ensemble beside it."""
    gain, images = gain_of(joined, single, seed=seed)
    return Choice(choice.single, choice.losses, images, gain)


def gain_of(one: RunDirectory, other: RunDirectory, *, seed: int) -> tuple[Figure, int]:
    """Return what the log loss of one run is less that of another, and of how many pictures; below zero is better."""
    answers = [_of(each) for each in (one, other)]
    (pair,) = compare(answers, seed=seed).pairs
    return pair.difference("log_loss", answers[0].name), pair.images


def _of(run: RunDirectory) -> ModelPredictions:
    return ModelPredictions.of_run(run, Split.read(run.split))
