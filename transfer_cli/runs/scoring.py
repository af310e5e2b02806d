"""Scoring a trained model on the parts of a split: tables of predictions, confusion matrices, curves and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.fit import PartProbabilities
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.predictions import Predictions, open_writer
from transfer_cli.data.split import Split
from transfer_cli.io.atomic import atomic_write
from transfer_cli.metrics import curves
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import MetricValue
from transfer_cli.rendering.confusion_plot import draw_confusion
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.score_limits import (
    labels_without_contrast,
    not_above_chance,
    without_copies,
    without_labels,
    without_one_class,
)
from transfer_cli.text import counted


def thresholds_note(split: Split) -> str:
    """Return a note on the metrics of val if thresholds were fitted on it."""
    return "" if split.task == SINGLE_LABEL else "the thresholds of F1 were fitted on it"


def truth_of(labels: Iterable[Iterable[str]], class_names: Sequence[str], task: str) -> NDArray[np.int64]:
    """Return the labels of images as columns of the classes, shape (n,), or as an indicator matrix, shape (n, k).

    Raises
    ------
    KeyError
        If a label is not one of the classes.
    """
    column_of = {name: column for column, name in enumerate(class_names)}
    columns = [[column_of[label] for label in each] for each in labels]
    if task == SINGLE_LABEL:
        return np.array([column for (column,) in columns], np.int64)
    truth = np.zeros((len(columns), len(column_of)), np.int64)
    for row, each in enumerate(columns):
        truth[row, each] = 1
    return truth


def score_parts(
    run: RunDirectory,
    split: Split,
    scored: Mapping[str, PartProbabilities],
    thresholds: NDArray[np.float64] | None = None,
    leaked: NDArray[np.bool_] | None = None,
) -> dict[str, dict[str, MetricValue]]:
    """Write predictions, confusion matrix and curves of each part of the split, and return its metrics.

    Parameters
    ----------
    run : RunDirectory
    split : Split
    scored : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        Rows in the split and probabilities of each part; a part without rows is skipped.
    thresholds : ndarray of shape (k,), optional
        Multi-label: the minimum probability of each label.
    leaked : ndarray of shape (n,), bool, optional
        Which rows of the split have a near-duplicate among the training images: the headline is also computed without
        them.
    """
    truth = split.truth()
    metrics = {}
    for part, (indices, probabilities) in scored.items():
        if not len(indices):
            continue
        names, of_part = split.class_names, truth[indices]
        values = without_labels(of_part, score(of_part, probabilities, thresholds, names))
        values = without_one_class(part, of_part, values, names)
        values |= labels_without_contrast(part, of_part, names) | not_above_chance(part, of_part, values, names)
        if leaked is not None:
            values |= without_copies(part, of_part, probabilities, leaked[indices])
        metrics[part] = values
        if thresholds is None:
            confusion = Confusion.of(truth[indices], probabilities.argmax(axis=1), split.class_names)
            confusion.write(run.confusion(part))
            # Of test, which comes after val, or else of val.
            draw_confusion(confusion, f"{part}: {counted(len(indices), 'image')}", run.plots / "confusion.png")
        curves.write(run.curves(part), truth[indices], probabilities, split.class_names)
        rows = [split.rows[index] for index in indices]
        minimum = None if thresholds is None else tuple(thresholds.tolist())
        predictions = Predictions(tuple(row.path for row in rows), split.class_names, probabilities, (), minimum)
        write_predictions(run.predictions(part), predictions, [row.truth for row in rows])
    return metrics


def write_predictions(path: Path, predictions: Predictions, truth: Sequence[str]) -> None:
    """Write predictions beside the true labels as CSV, atomically."""
    several = predictions.thresholds is not None
    with atomic_write(path) as draft, draft.open("wb") as target:
        table = open_writer("csv", target, predictions.class_names, truth=True, multi_label=several)
        table.append(predictions, truth)
        table.close()
