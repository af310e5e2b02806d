"""Classification tasks: one class per image, or any number of labels per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["single-label", "multi-label"]
SINGLE_LABEL: Task = "single-label"
MULTI_LABEL: Task = "multi-label"


@dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes
    ----------
    name : str
    summary : str
    activation : str
        Maps logits to probabilities.
    monitors : tuple of str
        Metrics that select the best epoch, the default first.
    scored : tuple of str
        Validation metrics of each epoch, beside the log loss.
    balances : tuple of str
        Supported class balancing methods.
    """

    name: Task
    summary: str
    activation: str
    monitors: tuple[str, ...]
    scored: tuple[str, ...]
    balances: tuple[str, ...]


def of(truth: Any) -> TaskSpec:
    """Return the task of an array of true labels.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k)
        Class index of each image, or indicator matrix of its labels.
    """
    return TASKS[MULTI_LABEL if truth.ndim == 2 else SINGLE_LABEL]


_ROWS: Sequence[TaskSpec] = (
    TaskSpec(
        SINGLE_LABEL,
        "every image has one class",
        "softmax",
        ("accuracy", "balanced_accuracy", "log_loss"),
        ("accuracy", "balanced_accuracy"),
        ("none", "class-weights", "effective-number", "logit-adjustment", "focal", "oversampling"),
    ),
    TaskSpec(
        MULTI_LABEL,
        "an image has any number of labels",
        "sigmoid",
        ("mean_average_precision", "log_loss"),
        ("accuracy", "mean_average_precision"),
        ("none", "class-weights", "focal"),
    ),
)
TASKS = {row.name: row for row in _ROWS}
