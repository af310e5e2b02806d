"""The epochs of a fine-tuning, the rows of history.csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transfer_cli.errors import InputError
from transfer_cli.io.csv_tables import read_table


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


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """Return the rows of the history.csv of a fine-tuning.

    Raises
    ------
    InputError
        If it is not the history of a fine-tuning.
    """
    try:
        return tuple(_epoch(row) for row in read_table(path, ("epoch", "stage")))
    except ValueError as error:
        raise InputError(f"{path} has a value that is not a number: {error}.") from None


def _epoch(row: Mapping[str, str]) -> Epoch:
    texts = {field.name: row.get(field.name, "") for field in fields(Epoch)}
    values: dict[str, Any] = {name: float(text) if text else None for name, text in texts.items() if name != "refit"}
    whole = {name: int(texts[name]) for name in ("epoch", "stage")}
    return Epoch(**values | whole | {"refit": texts["refit"] == "yes"})
