"""Select a model by its predictions on val."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transfer_cli.data.split import Split
from transfer_cli.evaluation.comparison import compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.scores import log_loss
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted

_NORMAL = 1.96
"""Half of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Choice:
    """The selected model, and the metrics that it was selected by.

    Attributes
    ----------
    single : str
        The single model (no ensemble) with the lowest log loss.
    losses : dict of str to float
        Log loss of each single model on val, in nats.
    images : int
        Number of validation images.
    gain : MetricValue or None
        Log loss of the ensemble minus that of `single`, with a paired bootstrap interval; None without an ensemble.
    """

    single: str
    losses: dict[str, float]
    images: int
    gain: MetricValue | None = None

    @property
    def uses_ensemble(self) -> bool:
        """Whether the log loss of the ensemble is lower by more than one standard error of the difference.

        This is the one-standard-error rule, which prefers the simpler of two models (Breiman et al. 1984,
        "Classification and Regression Trees", section 3.4.3). With some hundred validation images the 95 % interval
        hardly ever separates two good models. Besides, the log loss of the single model is optimistic, as it is the
        best of several on the same images, while that of the ensemble is cross-validated.
        """
        if self.gain is None or self.gain["low"] is None or self.gain["high"] is None:
            return False
        standard_error = (self.gain["high"] - self.gain["low"]) / (2 * _NORMAL)
        return bool(self.gain["value"] < -standard_error)

    def summary(self) -> str:
        """Return the selection and its reason as one line."""
        on = f"on {counted(self.images, 'validation image')}"
        if self.gain is None:
            return f"selected {self.single}: lowest log loss ({self.losses[self.single]:.3f}) {on}"
        low, high = self.gain["low"], self.gain["high"]
        interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
        selected = "the ensemble" if self.uses_ensemble else self.single
        return (
            f"selected {selected}: log loss of the ensemble compared with {self.single} {on} is "
            f"{self.gain['value']:+.3f}{interval}"
        )


def choose(runs: Mapping[str, RunDirectory], ensemble: RunDirectory | None = None, *, seed: int = 0) -> Choice:
    """Choose between the single model with the lowest log loss and an ensemble.

    Parameters
    ----------
    runs : mapping of str to RunDirectory
        All have predictions for the same validation images.
    ensemble : RunDirectory, optional
    seed : int
        Random seed of the bootstrap interval.
    """
    predictions = {name: ModelPredictions.of_run(run, Split.read(run.split)) for name, run in runs.items()}
    losses = {name: log_loss(each.truth, each.probabilities) for name, each in predictions.items()}
    single = min(losses, key=losses.__getitem__)
    if ensemble is None:
        return Choice(single, losses, len(predictions[single].images))
    combined = ModelPredictions.of_run(ensemble, Split.read(ensemble.split))
    (pair,) = compare([combined, predictions[single]], seed=seed).pairs
    return Choice(single, losses, pair.images, pair.difference("log_loss", combined.name))
