"""What the metrics of a part cannot show: metrics that say nothing, and the score without near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.backbones import EMBEDDED
from transfer_cli.metrics.intervals import MetricValue, exact_value, proportion, undefined
from transfer_cli.metrics.scores import ABOVE_CHANCE, COPIES, WITHOUT_COPIES, Truth, mean_average_precision
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted

LEAKAGE_EVENT = "leakage"
"""The event of a run whose parts share near-duplicates, with the command that trains without them."""
REAL_WEIGHTS = (
    "leave out --backbone embedded, to use a network with ImageNet weights (without an internet connection: "
    "transfer-cli weights install KIT.tar)"
)
"""What helps most if a run used the small network that is part of the program."""
_OF_SEVERAL_CLASSES = ("accuracy", "top_", "balanced_accuracy", "macro_", "weighted_", "average_precision")
"""Beginnings of the names of metrics that need images of several classes."""


def without_one_class(
    part: str, truth: Truth, metrics: Mapping[str, MetricValue], class_names: Sequence[str]
) -> dict[str, MetricValue]:
    """Return the metrics of a part; if all its images are of one class, those are undefined that compare classes."""
    present = np.unique(truth) if truth.ndim == 1 else np.empty(0)
    if len(present) != 1 or len(class_names) < 2:
        return dict(metrics)
    name = class_names[int(present[0])]
    images = (f"all {len(truth)} {part} images are", "they") if len(truth) > 1 else (f"the only {part} image is", "it")
    reason = f"{images[0]} of the class {name}, so {images[1]} cannot show whether classes are confused"
    return {
        key: undefined(reason) if key.startswith(_OF_SEVERAL_CLASSES) and "/" not in key else value
        for key, value in metrics.items()
    }


def without_labels(truth: Truth, metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return the metrics of a part; if none of its images has a label, the headline and F1 are undefined."""
    if truth.ndim == 1 or truth.any():
        return dict(metrics)
    reason = f"none of the {counted(len(truth), 'image')} has a label"
    return {**metrics, **dict.fromkeys(("mean_average_precision", "micro_f1", "macro_f1"), undefined(reason))}


def labels_without_contrast(part: str, truth: Truth, class_names: Sequence[str]) -> dict[str, MetricValue]:
    """Return the areas of the labels that no image of a part has, or all have: they are undefined."""
    result: dict[str, MetricValue] = {}
    if truth.ndim == 1:
        return result
    for name, count in zip(class_names, truth.sum(axis=0).tolist(), strict=True):
        if count in (0, len(truth)):
            who = f"no {part} image has" if not count else f"every {part} image has"
            for metric in ("roc_auc", "average_precision"):
                result[f"{metric}/{name}"] = undefined(f"{who} the label {name}")
    return result


def not_above_chance(
    part: str, truth: Truth, metrics: Mapping[str, MetricValue], class_names: Sequence[str]
) -> dict[str, MetricValue]:
    """Return that the headline is not above chance, or nothing if it is.

    Chance is to predict the largest class for each image; for a multi-label task, a ranking at random, whose average
    precision is the share of images with the label.
    """
    if truth.ndim == 1:
        counts = np.bincount(truth, minlength=len(class_names))
        if (counts > 0).sum() < 2:
            return {}
        score, chance = metrics["accuracy"], float(counts.max() / len(truth))
        name, rule = "accuracy", f"always predicting the largest class, {class_names[int(counts.argmax())]}"
    else:
        shares = truth.mean(axis=0)
        if not shares.any():
            return {}
        score, chance = metrics["mean_average_precision"], float(shares[shares > 0].mean())
        name, rule = "mean average precision", "guessing"
    value, low = score["value"], score["low"]
    shown = f"{part} {name}".strip()
    if value > chance and (low is None or low > chance):
        return {}
    reason = f"the {shown} of {value:.3f} is no better than {rule} ({chance:.3f})"
    if value > chance:
        reason = (
            f"the {shown} of {value:.3f} may be no better than {rule} ({chance:.3f}): on "
            f"{counted(len(truth), 'image')}, "
            f"chance alone explains the difference (95 % interval from {low:.3f})"
        )
    return {name.replace(" ", "_") + ABOVE_CHANCE: undefined(reason)}


def without_copies(
    part: str, truth: Truth, probabilities: NDArray[np.float32], is_copy: NDArray[np.bool_]
) -> dict[str, MetricValue]:
    """Return the number of images with a near-duplicate among the training images, and the headline without them.

    Parameters
    ----------
    part : str
    truth : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (n, k), float
    is_copy : ndarray of shape (n,), bool
    """
    if not is_copy.any():
        return {}
    truth, probabilities = truth[~is_copy], probabilities[~is_copy]
    name = "accuracy" if truth.ndim == 1 else "mean_average_precision"
    if not len(truth):
        score = undefined(f"every {part} image has a near-duplicate among the training images")
    elif truth.ndim == 1:
        score = proportion(int((probabilities.argmax(axis=1) == truth).sum()), len(truth))
    elif truth.any():
        score = exact_value(mean_average_precision(truth, probabilities))
    else:
        score = undefined(f"no {part} image without a near-duplicate among the training images has a label")
    return {COPIES: exact_value(int(is_copy.sum())), name + WITHOUT_COPIES: score}


def mending_command(run: RunDirectory) -> str | None:
    """Return the command that trains without near-duplicates across the parts of a run; None if the run has none."""
    events = [event for event in run.read_events() if event["event"] == LEAKAGE_EVENT]
    command = events[-1].get("command") if events else None
    return command if isinstance(command, str) else None


def uses_embedded_backbone(run: RunDirectory) -> bool:
    """Return whether a run started from the weights that are part of the program."""
    backbone = run.read_recipe().get("backbone", {})
    return isinstance(backbone, dict) and backbone.get("weights") == EMBEDDED
