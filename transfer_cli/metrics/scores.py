"""Single metrics of predictions with known labels, and one-line summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.metrics.intervals import MetricValue as MetricValue
from transfer_cli.metrics.intervals import is_undefined
from transfer_cli.text import counted

RECALL = "recall/"
"""Prefix of the recall of a class in the metrics of a part."""
SUPPORT = "support/"
"""Prefix of the number of images of a class."""
COPIES = "images_with_near_duplicates"
"""Number of images of a part that have a near-duplicate among the training images; missing if there are none."""
WITHOUT_COPIES = "_without_near_duplicates"
"""Suffix of the headline metric without these images."""
ABOVE_CHANCE = "_above_chance"
"""Suffix of the headline metric if it says nothing, since chance may explain it; then it has a reason."""
AVERAGE_PRECISION = "average_precision/"
"""Prefix of the average precision of a class."""
_MAX_DOUBTS = 5
HEADLINES = ("mean_average_precision", "accuracy")
BINS = 15
"""Number of bins of equal width for calibration."""
UNEVEN = 3
"""From this ratio of the largest class to the smallest, the recall of each class is reported."""
Truth = NDArray[np.int64]
Probabilities = NDArray[np.float32]
Metrics = Mapping[str, Mapping[str, MetricValue]]
"""``{part: {metric: MetricValue}}``, as in metrics.json."""


def epoch_metrics(truth: Truth, probabilities: Probabilities) -> dict[str, float]:
    """Return the metrics that epochs are compared by: the log loss, and those of the task's row in the catalog.

    The accuracy of a multi-label task is the share of images whose labels are all correct at a threshold of 0.5.
    """
    predicted = _predicted(truth, probabilities)
    metrics = {
        "accuracy": lambda: float(correct_images(truth, probabilities).mean()),
        "balanced_accuracy": lambda: balanced_accuracy(truth, predicted),
        "mean_average_precision": lambda: mean_average_precision(truth, probabilities),
    }
    return {"log_loss": log_loss(truth, probabilities), **{name: metrics[name]() for name in tasks.of(truth).scored}}


def correct_images(truth: Truth, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Return which images are classified correctly, shape (n,); all labels must be correct at a threshold of 0.5."""
    return np.asarray((_predicted(truth, probabilities) == truth).reshape(len(truth), -1).all(axis=1))


def _predicted(truth: Truth, probabilities: Probabilities) -> NDArray[np.int64]:
    return probabilities.argmax(axis=1) if truth.ndim == 1 else (probabilities >= 0.5).astype(np.int64)


def log_loss(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of -log p in nats, of the true class of each image or of each label."""
    return float(log_loss_per_image(truth, probabilities).mean())


def log_loss_per_image(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the log loss of each image, shape (n,)."""
    # scikit-learn's log_loss requires every class to occur in `truth`, which a small part cannot guarantee.
    if truth.ndim == 2:
        true_probability = np.where(truth > 0, probabilities, 1 - probabilities.astype(np.float64))
    else:
        true_probability = probabilities[np.arange(len(truth)), truth].astype(np.float64)[:, None]
    return np.asarray(-np.log(np.clip(true_probability, 1e-15, 1.0)).mean(axis=1))


def brier_scores(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the Brier score of each image, shape (n,).

    For a single-label task the squared errors are summed over the classes (0 to 2, also with two classes), for a
    multi-label task they are averaged over the labels.

    References
    ----------
    Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    if truth.ndim == 2:
        return np.asarray(((probabilities - truth) ** 2).mean(axis=1), np.float64)
    one_hot = np.eye(probabilities.shape[1])[truth]
    return np.asarray(((probabilities - one_hot) ** 2).sum(axis=1), np.float64)


def calibration_error(truth: Truth, probabilities: Probabilities) -> float:
    """Return the expected calibration error of a single-label task; see `calibration_interval` for its interval.

    Images are grouped into 15 bins of equal width by confidence; the error is the mean difference between confidence
    and accuracy of the bins, weighted by their images. Few images make it too large: a perfectly calibrated classifier
    of ten classes has about 0.06 on 372 images.

    References
    ----------
    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017, "On
    calibration of modern neural networks".
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    return float(np.abs(np.bincount(bins_of(confidence), gap, minlength=BINS)).sum() / len(truth))


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each probability; a bin includes its upper bound."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def balanced_accuracy(truth: Truth, predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def mean_average_precision(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of the average precision over the labels that occur; 0 if none does."""
    from sklearn.metrics import average_precision_score

    present = np.flatnonzero(truth.any(axis=0))
    if not len(present):
        return 0.0
    return float(average_precision_score(truth[:, present], probabilities[:, present], average="macro"))


def summary(part: str, metrics: Mapping[str, MetricValue], note: str = "") -> str:
    """Return one line with the main metrics of a part."""
    images = f"{counted(int(metrics['images']['value']), 'image')}{note}"
    if "mean_average_precision" in metrics:
        values = ", ".join(
            f"{name} {value_text(metrics[key])}"
            for name, key in (("mAP", "mean_average_precision"), ("macro F1", "macro_f1"), ("micro F1", "micro_f1"))
        )
        return f"{part:5} {values} ({images}){_without_copies(metrics)}"
    accuracy = metrics["accuracy"]
    low, high = accuracy["low"], accuracy["high"]
    interval = "" if low is None or high is None else f"95 % interval {low:.3f} to {high:.3f}; "
    return (
        f"{part:5} accuracy {value_text(accuracy)} ({interval}{images}){_of_uneven(metrics)}{_without_copies(metrics)}"
    )


def _of_uneven(metrics: Mapping[str, MetricValue]) -> str:
    """Return the mean accuracy per class if the numbers of images per class are very imbalanced."""
    counts = [each["value"] for name, each in metrics.items() if name.startswith(SUPPORT) and each["value"]]
    balanced = metrics.get("balanced_accuracy")
    if balanced is None or len(counts) < 2 or max(counts) < UNEVEN * min(counts):
        return ""
    return f", mean accuracy per class {value_text(balanced)}"


def top_summary(part: str, metrics: Mapping[str, MetricValue], classes: int) -> str:
    """Return one line with the top-1 and the top-5 accuracy and error of a part, among all classes of a model."""

    def text(top: int, accuracy: MetricValue) -> str:
        low, high, value = accuracy["low"], accuracy["high"], accuracy["value"]
        interval = "" if low is None or high is None else f" (95 % interval {low:.3f} to {high:.3f})"
        return f"top-{top} accuracy {value:.3f}{interval}, error {1 - value:.3f}"

    tops = ((1, "accuracy"), (5, "top_5_accuracy"))
    texts = [text(top, metrics[name]) for top, name in tops if name in metrics]
    images = counted(int(metrics["images"]["value"]), "image")
    return f"{part:5} {'; '.join(texts)}; {images}, among all {classes:,} classes"


def value_text(metric: MetricValue) -> str:
    """Return the value of a metric for a message.

    Examples
    --------
    >>> value_text({"value": 0.25, "low": None, "high": None})
    '0.250'
    """
    return "undefined" if is_undefined(metric) else f"{metric['value']:.3f}"


def _without_copies(metrics: Mapping[str, MetricValue]) -> str:
    """Return the headline without the images that have a near-duplicate in the training, if there are any."""
    if COPIES not in metrics:
        return ""
    copies, images = int(metrics[COPIES]["value"]), int(metrics["images"]["value"])
    if copies == images:
        return "; all of them have a near-duplicate among the training images, so the score says nothing"
    without = next(metrics[name + WITHOUT_COPIES] for name in HEADLINES if name + WITHOUT_COPIES in metrics)
    text = f"{copies} of them have a near-duplicate among the training images"
    if is_undefined(without):
        return f"; {text}: {without.get('reason', 'the score without them is undefined')}"
    return f"; {text}: {value_text(without)} without them"


def doubts(metrics: Mapping[str, MetricValue]) -> list[str]:
    """Return why the score of a part, or else of some of its labels, says nothing."""

    def reasons(names: Iterable[str]) -> list[str]:
        found = (metrics[name].get("reason", "") for name in names if name in metrics and is_undefined(metrics[name]))
        return [*dict.fromkeys(filter(None, found))]

    of_headline = reasons([*HEADLINES, *(name + ABOVE_CHANCE for name in HEADLINES)])
    return of_headline or reasons(name for name in metrics if name.startswith(AVERAGE_PRECISION))[:_MAX_DOUBTS]


def headline(metrics: Mapping[str, MetricValue]) -> str:
    """Return the main metric of a part with its name; empty if there are no metrics.

    Examples
    --------
    >>> headline({"accuracy": {"value": 0.25, "low": None, "high": None}})
    'accuracy 0.250'
    """
    for name in HEADLINES:
        if name in metrics:
            return f"{name.replace('_', ' ')} {value_text(metrics[name])}"
    return ""


def lowest_recalls_summary(part: str, metrics: Mapping[str, MetricValue], count: int = 3) -> str:
    """Return one line about the classes with the lowest recall."""
    worst = _sorted_recalls(metrics)[:count]
    return f"{part:5} lowest recall: {', '.join(f'{name} {value:.2f}' for name, value in worst)}"


def recalls_summary(part: str, metrics: Mapping[str, MetricValue]) -> str:
    """Return one line with the recall of each class, the lowest first."""
    worst = _sorted_recalls(metrics)
    more = f", and {len(worst) - 20} more with a higher recall" if len(worst) > 20 else ""
    return f"{part:5} recall per class: {', '.join(f'{name} {value:.2f}' for name, value in worst[:20])}{more}"


def _sorted_recalls(metrics: Mapping[str, MetricValue]) -> list[tuple[str, float]]:
    recalls = {name.removeprefix(RECALL): each["value"] for name, each in metrics.items() if name.startswith(RECALL)}
    return sorted(recalls.items(), key=lambda item: item[1])
