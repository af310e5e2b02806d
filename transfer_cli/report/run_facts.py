"""What the diagnostics know about a finished run: counts and metrics, no images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.backbones import EMBEDDED
from transfer_cli.metrics.intervals import is_undefined, proportion
from transfer_cli.metrics.scores import calibration_error
from transfer_cli.report.history import TrainingHistory

Counts = NDArray[np.int64]
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
CONFIDENT = 0.95
"""Probability from which a wrong prediction is a confident mistake."""
_CONFUSED = 0.10
"""Share of both classes from which two classes are confused with each other."""


@dataclass(frozen=True)
class PartScores:
    """Predictions of a run on one split, compared with the true labels.

    Attributes
    ----------
    support, predicted, correct : ndarray of shape (k,)
        Per class: its images, the images predicted as it, and those that are both.
    confusion : ndarray of shape (k, k) or None
        Images per true class (row) and predicted class (column); None in a multi-label task.
    accuracy, low, high : float
        Accuracy with its 95 % interval; in a multi-label task the share of images with all labels correct.
    log_loss : float
    mean_confidence : float
        Mean probability of the predicted class.
    calibration_error : float or None
        See `metrics.scores.calibration_error`; None in a multi-label task.
    confident_mistakes : int
        Images with a wrong prediction of at least 95 % confidence.
    images : int
    """

    support: Counts
    predicted: Counts
    correct: Counts
    confusion: Counts | None
    accuracy: float
    low: float
    high: float
    log_loss: float
    mean_confidence: float
    calibration_error: float | None
    confident_mistakes: int
    images: int

    @classmethod
    def of(
        cls,
        truth: Counts,
        probabilities: NDArray[np.float32],
        metrics: Mapping[str, Any],
        thresholds: Sequence[float] | None,
    ) -> PartScores:
        """Return the scores of a split.

        Parameters
        ----------
        truth : ndarray of shape (n,) or (n, k), int
        probabilities : ndarray of shape (n, k), float
        metrics : dict
            Of this split in metrics.json.
        thresholds : sequence of float or None
            Per label, in a multi-label task: the probability from which it is predicted. [0.5]
        """
        classes = probabilities.shape[1]
        confusion = None
        if truth.ndim == 1:
            columns = probabilities.argmax(axis=1)
            confusion = np.bincount(truth * classes + columns, minlength=classes**2).reshape(classes, classes)
            support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion).copy()
            confidence, hit = probabilities.max(axis=1), columns == truth
        else:
            labels = probabilities >= np.asarray(thresholds if thresholds is not None else [0.5] * classes)
            support, predicted = truth.sum(axis=0), labels.sum(axis=0)
            correct = (labels & (truth > 0)).sum(axis=0)
            # Each label is a yes/no prediction of its own.
            confidence = np.maximum(probabilities, 1 - probabilities).ravel()
            hit = ((probabilities >= 0.5) == truth).ravel()
        accuracy = metrics["accuracy" if truth.ndim == 1 else "exact_matches"]
        if is_undefined(accuracy):  # of one class; a check says so
            accuracy = proportion(int(hit.sum()), len(hit))
        return cls(
            support=support.astype(np.int64),
            predicted=predicted.astype(np.int64),
            correct=correct.astype(np.int64),
            confusion=confusion,
            accuracy=accuracy["value"],
            low=accuracy["low"],
            high=accuracy["high"],
            log_loss=metrics["log_loss"]["value"],
            mean_confidence=float(confidence.mean()) if len(confidence) else 0.0,
            calibration_error=calibration_error(truth, probabilities) if confusion is not None else None,
            confident_mistakes=int(((confidence >= CONFIDENT) & ~hit).sum()),
            images=len(probabilities),
        )

    @property
    def metric(self) -> str:
        """The name of `accuracy`."""
        return "accuracy" if self.confusion is not None else "share of images with all labels correct"

    @property
    def recall(self) -> NDArray[np.float64]:
        """Recall per class; NaN for a class without images."""
        return np.where(self.support > 0, self.correct / np.maximum(self.support, 1), np.nan)

    def majority_class(self) -> tuple[int, float]:
        """Return the column of the largest class, and the accuracy of always predicting it."""
        largest = int(self.support.argmax())
        return largest, float(self.support[largest] / max(self.images, 1))


@dataclass(frozen=True)
class RunFacts:
    """Facts about a finished run.

    Attributes
    ----------
    method : {"extract", "finetune", "ensemble"}
    run, folder : str
        Paths as on the command line.
    class_names : tuple of str
    images : dict of str to ndarray of shape (k,)
        Images per class in train, val and test.
    scores : dict of str to PartScores
        Of test and val, as available.
    recipe : dict
        As in recipe.toml.
    command : str
        The command of the run; empty if unknown.
    from_scratch : bool
        Whether the backbone has no pretrained weights at all.
    out_of_fold : bool
        Whether the predictions of val are cross-validated predictions of training images.
    history : TrainingHistory
    exact_duplicates, near_duplicates : int
        Validation and test images with an identical file, or a near-duplicate, in the training set.
    trained_earlier : int
        Validation and test images that a run was trained on from which the network started.
    conflicting_pairs : int
        Pairs of duplicates with different labels.
    skipped : int
        Files that could not be read.
    missing_images : int
        Images that could not be read any more for the report.
    short_sides : ndarray of int
        The shorter side of a sample of the images in pixels.
    image_size : int
        Input size of the network in pixels; of an ensemble the smallest.
    networks : tuple of str
        Backbones of the members of an ensemble, each once.
    tables : tuple of str
        The options that apply the class map and the list of omitted images of the run again.
    """

    method: str
    run: str
    folder: str
    class_names: tuple[str, ...]
    images: Mapping[str, Counts]
    scores: Mapping[str, PartScores]
    recipe: Mapping[str, Any]
    command: str = ""
    from_scratch: bool = False
    out_of_fold: bool = False
    history: TrainingHistory = field(default_factory=TrainingHistory)
    exact_duplicates: int = 0
    near_duplicates: int = 0
    trained_earlier: int = 0
    conflicting_pairs: int = 0
    skipped: int = 0
    missing_images: int = 0
    short_sides: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    image_size: int = 224
    networks: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def evaluated(self) -> tuple[str, PartScores]:
        """The split that the run is evaluated on, with its scores: test, or val if there is no test set."""
        return next((part, self.scores[part]) for part in ("test", "val") if part in self.scores)

    def setting(self, path: str, default: Any = None) -> Any:
        """Return a setting of the recipe, such as ``balance.method``."""
        value: Any = self.recipe
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return default if value is None else value

    def most_confused(self) -> tuple[str, str] | None:
        """Return the two classes that are most often predicted as each other, the smaller one first; None if rare."""
        _, scores = self.evaluated
        if (confusion := scores.confusion) is None:
            return None
        share = confusion / np.maximum(scores.support, 1)[:, None]
        both = np.triu(np.minimum(share, share.T) * ((confusion >= 2) & (confusion.T >= 2)), 1)
        if both.max(initial=0) < _CONFUSED:
            return None
        places = sorted(np.unravel_index(both.argmax(), both.shape), key=lambda place: scores.support[place])
        return self.class_names[places[0]], self.class_names[places[1]]

    def smallest_class(self) -> str | None:
        """Return the class with the fewest training images, of those that have any."""
        counts = zip(self.images.get("train", ()), self.class_names, strict=False)
        return min(((count, name) for count, name in counts if count), default=(0, None))[1]

    @property
    def is_embedded(self) -> bool:
        """Whether a network started from the weights that are part of the program."""
        return self.setting("backbone.weights") == EMBEDDED or EMBEDDED in self.networks

    def is_cross_validated(self, part: str) -> bool:
        """Return whether the predictions of a split are out-of-fold predictions of training images."""
        return part == "val" and self.out_of_fold

    def noun(self, part: str) -> str:
        """Return the noun for the images that predictions of `part` are of: ``test image``."""
        return f"{SPLIT_NAMES['train' if self.is_cross_validated(part) else part]} image"


def list_names(names: Sequence[str]) -> str:
    """Return up to six names, and the number of those left out.

    Examples
    --------
    >>> list_names(["a", "b"]), list_names(list("abcdefgh"))
    ('a, b', 'a, b, c, d, e, f and 2 more')
    """
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
