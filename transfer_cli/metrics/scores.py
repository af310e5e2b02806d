"""Single numbers of predictions with truth, and the lines that say them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.metrics.intervals import Figure as Figure

RECALL = "recall/"
"""The prefix of a class in the figures of a part: which share of its images was found."""
SUPPORT = "support/"
"""The same of how many images it has."""
BINS = 15
"""Into so many bins of equal width probabilities go where their calibration is looked at."""
UNEVEN = 3
"""Where the largest class has so many times the pictures of the smallest, a person is told the recall of each."""
Truth = NDArray[np.int64]
Probabilities = NDArray[np.float32]


Metrics = Mapping[str, Mapping[str, Figure]]
"""``{part: {metric: Figure}}``, as in metrics.json."""


def of_epoch(truth: Truth, probabilities: Probabilities) -> dict[str, float]:
    """Return what epochs are compared by: the log loss, and the figures of the task's row in the catalog.

    The accuracy of a multi-label task is the share of the images all of whose labels are right at one half.
    """
    predicted = probabilities.argmax(axis=1) if truth.ndim == 1 else (probabilities >= 0.5).astype(np.int64)
    figures = {
        "accuracy": lambda: float((predicted == truth).reshape(len(truth), -1).all(axis=1).mean()),
        "balanced_accuracy": lambda: balanced_accuracy(truth, predicted),
        "mean_average_precision": lambda: mean_average_precision(truth, probabilities),
    }
    return {"log_loss": log_loss(truth, probabilities), **{name: figures[name]() for name in tasks.of(truth).scored}}


def log_loss(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of -log p of what is true, in nats: of the class of each image, or of each label."""
    return float(log_losses(truth, probabilities).mean())


def log_losses(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return what each image adds to the log loss, of shape (n,)."""
    # scikit-learn's log_loss wants every class to occur in `truth`; a small part need not have them all.
    if truth.ndim == 2:
        given = np.where(truth > 0, probabilities, 1 - probabilities.astype(np.float64))
    else:
        given = probabilities[np.arange(len(truth)), truth].astype(np.float64)[:, None]
    return np.asarray(-np.log(np.clip(given, 1e-15, 1.0)).mean(axis=1))


def briers(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return what each image adds to the Brier score, of shape (n,).

    Of a single-label task it is the sum over the classes of the squared distances from 0 and 1, as in Brier (1950):
    from 0 to 2, also where there are two classes. Of a multi-label task it is their mean over the labels.
    """
    if truth.ndim == 2:
        return np.asarray(((probabilities - truth) ** 2).mean(axis=1), np.float64)
    known = np.eye(probabilities.shape[1])[truth]
    return np.asarray(((probabilities - known) ** 2).sum(axis=1), np.float64)


def calibration_error(truth: Truth, probabilities: Probabilities) -> float:
    """Return the expected calibration error of a single-label task.

    By Guo et al. (2017), "On calibration of modern neural networks": pictures go into 15 bins of equal width by the
    probability of the class they are given; of each bin the distance between its mean and the share that is right
    counts by how many pictures it has. Chance alone makes it larger than the error of endless pictures, the more the
    fewer there are: a perfect classifier of ten classes comes to about 0.06 on 372 pictures. So it has no interval:
    that of a bootstrap lies above the true error (in simulations it held it in 0 to 60 % of the cases for a
    calibrated classifier, as did the basic and the bias-corrected one).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    missing = (probabilities.argmax(axis=1) == truth) - confidence
    return float(np.abs(np.bincount(bins_of(confidence), missing, minlength=BINS)).sum() / len(truth))


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each probability; each holds its upper bound."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def balanced_accuracy(truth: Truth, predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def mean_average_precision(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of the average precision over the labels that occur; 0 where none does."""
    from sklearn.metrics import average_precision_score

    present = np.flatnonzero(truth.any(axis=0))
    if not len(present):
        return 0.0
    return float(average_precision_score(truth[:, present], probabilities[:, present], average="macro"))


def summary(part: str, figures: Mapping[str, Figure], note: str = "") -> str:
    """Return one line about a part, for a person."""
    if "mean_average_precision" in figures:
        shown = ", ".join(
            f"{name} {figures[key]['value']:.3f}"
            for name, key in (("mAP", "mean_average_precision"), ("macro F1", "macro_f1"), ("micro F1", "micro_f1"))
        )
        return f"{part:5} {shown} ({int(figures['images']['value'])} pictures{note})"
    accuracy = figures["accuracy"]
    images = int(figures["images"]["value"])
    interval = f"95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}"
    return f"{part:5} accuracy {accuracy['value']:.3f} ({interval}; {images} pictures{note})"


def headline(figures: Mapping[str, Figure]) -> str:
    """Return the one figure that sums up a part, under its name, for a person; empty where nothing was scored.

    Examples
    --------
    >>> headline({"accuracy": {"value": 0.25, "low": None, "high": None}})
    'accuracy 0.250'
    """
    for name in ("mean_average_precision", "accuracy"):
        if name in figures:
            return f"{name.replace('_', ' ')} {figures[name]['value']:.3f}"
    return ""


def worst_in_words(part: str, figures: Mapping[str, Figure], count: int = 3) -> str:
    """Return one line about the classes that are found least."""
    found = {name.removeprefix(RECALL): figure["value"] for name, figure in figures.items() if name.startswith(RECALL)}
    worst = sorted(found.items(), key=lambda item: item[1])[:count]
    return f"{part:5} found least: {', '.join(f'{name} {value:.2f}' for name, value in worst)}"


def recalls_in_words(part: str, figures: Mapping[str, Figure]) -> str:
    """Return one line about what was found of each class, the worst first."""
    found = {name.removeprefix(RECALL): figure["value"] for name, figure in figures.items() if name.startswith(RECALL)}
    worst = sorted(found.items(), key=lambda item: item[1])
    more = f", and {len(worst) - 20} more above that" if len(worst) > 20 else ""
    return f"{part:5} found of each class: {', '.join(f'{name} {value:.2f}' for name, value in worst[:20])}{more}"
