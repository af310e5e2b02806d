"""ROC, precision-recall and reliability curves, as points to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.scores import BINS, Probabilities, Truth, bins_of

_MAX_POINTS = 500
"""Maximum number of points of a curve in a table, including its ends."""
Points = NDArray[np.float64]


def roc(there: NDArray[np.bool_], scores: NDArray[np.float32]) -> Points:
    """Return the ROC curve of one class against the rest.

    Parameters
    ----------
    there : ndarray of shape (n,), bool
        Which images have the class; not all and not none.
    scores : ndarray of shape (n,), float
        Probability of the class.

    Returns
    -------
    ndarray of shape (m, 2)
        False positive rate and true positive rate, from (0, 0) to (1, 1), without points on straight lines.
    """
    from sklearn.metrics import roc_curve

    wrong, right, _ = roc_curve(there, scores, drop_intermediate=True)
    return np.column_stack([wrong, right])


def precision_recall(there: NDArray[np.bool_], scores: NDArray[np.float32]) -> Points:
    """Return the precision-recall curve of one class against the rest.

    Parameters
    ----------
    there : ndarray of shape (n,), bool
        Which images have the class; at least one.
    scores : ndarray of shape (n,), float

    Returns
    -------
    ndarray of shape (m, 2)
        Recall and precision, from recall 0; a step curve whose area is the average precision.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(there, scores, drop_intermediate=True)
    return np.column_stack([recall[::-1], precision[::-1]])


def write(path: Path, truth: Truth, probabilities: Probabilities, class_names: Sequence[str]) -> None:
    """Write the curves of a part as one CSV table.

    The columns are ``curve`` (``roc``, ``precision-recall`` or ``reliability``), ``class`` (empty for reliability),
    ``x`` and ``y`` (false and true positive rate; recall and precision; mean confidence and accuracy), and
    ``images`` (of a bin of the reliability curve). A class that no image or every image has gets no curve.

    Parameters
    ----------
    path : Path
    truth : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (n, k), float32
    class_names : sequence of str
    """
    write_table(path, ("curve", "class", "x", "y", "images"), _rows(truth, probabilities, class_names))


def _rows(truth: Truth, probabilities: Probabilities, class_names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for column, name in enumerate(class_names):
        there = truth[:, column] > 0 if truth.ndim == 2 else truth == column
        if there.any() and not there.all():
            for kind, points in (("roc", roc), ("precision-recall", precision_recall)):
                for x, y in _thinned(points(there, probabilities[:, column])):
                    yield kind, name, f"{x:.6g}", f"{y:.6g}", ""
    if truth.ndim == 1 and len(truth):
        curve = reliability(truth, probabilities)
        for x, y, images in zip(curve.confidence, curve.accuracy, curve.images, strict=True):
            yield "reliability", "", f"{x:.6g}", f"{y:.6g}", str(images)


def _thinned(points: Points) -> Points:
    if len(points) <= _MAX_POINTS:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, _MAX_POINTS).round().astype(int)])


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: accuracy by confidence.

    Attributes
    ----------
    confidence : ndarray of shape (m,)
        Mean probability of the predicted class, for each of the 15 bins that has images.
    accuracy : ndarray of shape (m,)
        Accuracy of each bin.
    images : ndarray of shape (m,), int
    """

    confidence: Points
    accuracy: Points
    images: NDArray[np.int64]


def reliability(truth: Truth, probabilities: Probabilities) -> Reliability:
    """Return the points of a reliability diagram (Guo et al. 2017), with the bins of `scores.calibration_error`."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = bins_of(confidence)
    images = np.bincount(bins, minlength=BINS)
    held = images > 0
    sums = [
        np.bincount(bins, each, minlength=BINS)[held] for each in (confidence, probabilities.argmax(axis=1) == truth)
    ]
    return Reliability(sums[0] / images[held], sums[1] / images[held], images[held])
