"""All metrics of a part, each with a suitable confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.metrics import intervals, scores
from transfer_cli.metrics.bootstrap import Replicates, ScoreRanking, replicate
from transfer_cli.metrics.calibration_interval import calibration_interval
from transfer_cli.metrics.intervals import MetricValue, Resamples, exact_value, proportion
from transfer_cli.metrics.scores import RECALL, SUPPORT, Probabilities, Truth

TOP = (2, 3, 5)
"""Values of k for top-k accuracy."""
_SCALES = {
    "roc_auc": intervals.LOGIT,
    "average_precision": intervals.LOGIT,
    "mean_average_precision": intervals.LOGIT,
    "log_loss": intervals.LOG,
    "brier": intervals.LOG,
}


def score(
    truth: Truth,
    probabilities: Probabilities,
    thresholds: NDArray[np.float64] | None = None,
    class_names: Sequence[str] = (),
) -> dict[str, MetricValue]:
    """Return the metrics of one part.

    Shares of images have Wilson's interval, the calibration error that of `calibration_interval`, other metrics a
    bootstrap interval from 1000 resamples (see `intervals`). A class that does not occur in the part has a support of
    0, no recall, F1 or area, and is not averaged in macro metrics; a class that is never predicted has a precision of 0
    in them.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
        True class index of each image, or indicator matrix of its labels.
    probabilities : ndarray of shape (n, k), float
    thresholds : ndarray of shape (k,), optional
        Smallest probability at which an image gets each label; required for a multi-label task.
    class_names : sequence of str
        Metrics per class are left out if it is empty.

    Returns
    -------
    dict of str to MetricValue
        Single-label: ``images``, ``accuracy``, ``top_2_accuracy`` (and 3, 5, if there are more classes),
        ``balanced_accuracy`` (the macro recall), ``macro_precision``, ``macro_f1``, ``weighted_precision``,
        ``weighted_f1`` (the weighted recall and all micro averages equal the accuracy), ``roc_auc`` and
        ``average_precision`` (mean over one class against the rest), ``log_loss`` (nats per image), ``brier`` and
        ``expected_calibration_error``. Multi-label: ``images``, ``mean_average_precision``, ``roc_auc``, ``micro_``,
        ``macro_`` and ``weighted_`` ``precision``, ``recall`` and ``f1`` at the thresholds, ``exact_matches`` (share of
        images whose labels are all correct), ``log_loss`` (nats per label) and ``brier``. Per class: ``precision/``,
        ``recall/``, ``f1/``, ``roc_auc/``, ``average_precision/`` and ``support/`` with its name.
    """
    count, classes = probabilities.shape
    multi_label = tasks.of(truth).name == tasks.MULTI_LABEL
    if multi_label:
        assert thresholds is not None
        predicted = (probabilities >= thresholds).astype(np.int64)
    else:
        predicted = probabilities.argmax(axis=1)
    replicates = replicate_metrics(truth, probabilities, predicted, Resamples.affordable(count, classes))
    replicates["mean_average_precision"] = replicates["average_precision"]
    true_table, predicted_table = _indicators(truth, classes), _indicators(predicted, classes)
    areas = _areas(true_table, probabilities)
    values = _averages(truth, predicted, np.flatnonzero(true_table.any(axis=0)), multi_label)
    if areas["roc_auc"]:
        values["roc_auc"] = float(np.mean([*areas["roc_auc"].values()]))
    average_precision = "mean_average_precision" if multi_label else "average_precision"
    values[average_precision] = float(np.mean([*areas["average_precision"].values()] or [0.0]))
    values["log_loss"] = scores.log_loss(truth, probabilities)
    values["brier"] = float(scores.brier_scores(truth, probabilities).mean())
    metrics = {"images": exact_value(count)}
    if multi_label:
        metrics["exact_matches"] = proportion(int((true_table == predicted_table).all(axis=1).sum()), count)
    else:
        metrics |= _top_accuracies(truth, probabilities)
    metrics |= {name: _with_interval(name, value, replicates[name], count) for name, value in values.items()}
    if not multi_label:
        metrics["expected_calibration_error"] = calibration_interval(truth, probabilities)
    return metrics | _per_class(class_names, true_table, predicted_table, areas, replicates)


def replicate_metrics(
    truth: Truth, probabilities: Probabilities, predicted: NDArray[np.int64], resamples: Resamples
) -> Replicates:
    """Return the metrics of every resample: those of `bootstrap.replicate`, ``accuracy``, ``log_loss`` and ``brier``.

    The accuracy of a multi-label task is the share of images whose labels are all correct.
    """
    correct = (predicted == truth).reshape(len(truth), -1).all(axis=1)
    each = {
        "accuracy": correct.astype(np.float64),
        "log_loss": scores.log_loss_per_image(truth, probabilities),
        "brier": scores.brier_scores(truth, probabilities),
    }
    classes = probabilities.shape[1]
    return replicate(_indicators(truth, classes), _indicators(predicted, classes), probabilities, each, resamples)


def _indicators(columns: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    return columns > 0 if columns.ndim == 2 else np.eye(classes, dtype=bool)[columns]


def _averages(
    truth: Truth, predicted: NDArray[np.int64], present: NDArray[np.int64], multi_label: bool
) -> dict[str, float]:
    """Return precision, recall and F1 over the classes that occur."""
    from sklearn.metrics import precision_recall_fscore_support

    if not len(present):  # no image has a label
        return {"micro_f1": 0.0, "macro_f1": 0.0}
    result: dict[str, float] = {}
    for average in ("micro", "macro", "weighted") if multi_label else ("macro", "weighted"):
        labels = None if average == "micro" else present
        each = precision_recall_fscore_support(truth, predicted, labels=labels, average=average, zero_division=0)
        result |= {f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), each, strict=False)}
    if multi_label:
        return result
    names = ("macro_precision", "macro_f1", "weighted_precision", "weighted_f1")
    return {"balanced_accuracy": result["macro_recall"], **{name: result[name] for name in names}}


def _areas(true_table: NDArray[np.bool_], probabilities: Probabilities) -> dict[str, dict[int, float]]:
    """Return the areas under the curves of each class against the rest, if they are defined."""
    result: dict[str, dict[int, float]] = {"roc_auc": {}, "average_precision": {}}
    once = np.ones((len(true_table), 1), np.float32)
    for column in map(int, np.flatnonzero(true_table.any(axis=0))):
        (roc_auc,), (precision,) = ScoreRanking(true_table[:, column], probabilities[:, column]).areas(once)
        result["average_precision"][column] = float(precision)
        if np.isfinite(roc_auc):
            result["roc_auc"][column] = float(roc_auc)
    return result


def _top_accuracies(truth: Truth, probabilities: Probabilities) -> dict[str, MetricValue]:
    count, classes = probabilities.shape
    true_probability = probabilities[np.arange(count), truth][:, None]
    # Equal probabilities are ranked in the order of the classes, as in the tables of predictions.
    before = (probabilities == true_probability) & (np.arange(classes) < truth[:, None])
    rank = ((probabilities > true_probability) | before).sum(axis=1)
    tops = {"accuracy": 1, **{f"top_{top}_accuracy": top for top in TOP if top < classes}}
    return {name: proportion(int((rank < top).sum()), count) for name, top in tops.items()}


def _per_class(
    class_names: Sequence[str],
    true_table: NDArray[np.bool_],
    predicted_table: NDArray[np.bool_],
    areas: Mapping[str, Mapping[int, float]],
    replicates: Replicates,
) -> dict[str, MetricValue]:
    metrics: dict[str, dict[str, MetricValue]] = {
        name: {} for name in ("precision/", RECALL, "f1/", "roc_auc/", "average_precision/", SUPPORT)
    }
    for column, name in enumerate(class_names):
        true, predicted = true_table[:, column], predicted_table[:, column]
        correct, support, predictions = int((true & predicted).sum()), int(true.sum()), int(predicted.sum())
        metrics[SUPPORT][name] = exact_value(support)
        if predictions:
            metrics["precision/"][name] = proportion(correct, predictions)
        if not support:
            continue
        metrics[RECALL][name] = proportion(correct, support)
        f1 = 2 * correct / (support + predictions)
        for kind, value in (("f1", f1), *((kind, per_class.get(column)) for kind, per_class in areas.items())):
            if value is not None:
                interval = _with_interval(kind, value, replicates[f"{kind}/"][column], len(true_table))
                metrics[f"{kind}/"][name] = interval
    return {f"{prefix}{name}": value for prefix, values in metrics.items() for name, value in values.items()}


def _with_interval(kind: str, value: float, replicates: NDArray[Any], images: int) -> MetricValue:
    low, high = intervals.bootstrap_interval(replicates, images, value, _SCALES.get(kind, intervals.PERCENTILE))
    return {"value": float(value), "low": low, "high": high}
