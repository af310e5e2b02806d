"""One epoch of a training, a row of history.csv."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv; epochs are counted from 1 over all stages, 0 is before the first.

    Attributes
    ----------
    loss, accuracy : float or None
        On the pictures as they were trained on; None for epoch 0.
    val_loss, val_accuracy, val_balanced_accuracy, val_mean_average_precision : float or None
        On val, see metrics.of_epoch; None where the task has no such figure, without a val part, and in a refit.
    refit : bool
        Whether the pictures of val were learnt from.
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
