"""What a classifier may be asked, one row each: which one class, or which of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["single-label", "multi-label"]
SINGLE_LABEL: Task = "single-label"
MULTI_LABEL: Task = "multi-label"


@dataclass(frozen=True)
class TaskSpec:
    """What the catalog knows of a task.

    Attributes
    ----------
    name : str
    summary : str
        What it is, in a few words.
    activation : str
        What makes probabilities of logits.
    monitors : tuple of str
        What epochs can be compared by, the default first.
    scored : tuple of str
        The figures on val of each epoch, beside the log loss.
    balances : tuple of str
        The methods for classes of unequal sizes that it can take.
    """

    name: Task
    summary: str
    activation: str
    monitors: tuple[str, ...]
    scored: tuple[str, ...]
    balances: tuple[str, ...]


def of(truth: Any) -> TaskSpec:
    """Return the task that an array of truth belongs to.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k)
        The column of the class of each picture, or the indicator matrix of its labels, as scikit-learn has it.
    """
    return TASKS[MULTI_LABEL if truth.ndim == 2 else SINGLE_LABEL]


_ROWS: Sequence[TaskSpec] = (
    TaskSpec(
        SINGLE_LABEL,
        "every picture is of one class",
        "softmax",
        ("accuracy", "balanced_accuracy", "log_loss"),
        ("accuracy", "balanced_accuracy"),
        ("none", "class-weights", "effective-number", "logit-adjustment", "focal", "oversampling"),
    ),
    TaskSpec(
        MULTI_LABEL,
        "a picture has any number of labels, or none",
        "sigmoid",
        ("mean_average_precision", "log_loss"),
        ("accuracy", "mean_average_precision"),
        ("none", "class-weights", "focal"),
    ),
)
TASKS = {row.name: row for row in _ROWS}
