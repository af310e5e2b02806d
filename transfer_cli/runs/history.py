"""One epoch of a fine-tuning, a row of history.csv."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch; epochs are counted from 1 over all stages, and 0 is before the first.

    Attributes
    ----------
    loss, accuracy : float or None
        On the augmented training images; None for epoch 0.
    val_loss, val_accuracy, val_balanced_accuracy, val_mean_average_precision : float or None
        See `metrics.scores.epoch_metrics`; None if the task has no such metric, without a validation set, and in a
        refit.
    refit : bool
        Whether the validation images are trained on as well.
    """

    epoch: int
    stage: int
    learning_rate: float | None
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    val_balanced_accuracy: float | None = None
    val_mean_average_precision: float | None = None
    refit: bool = False
