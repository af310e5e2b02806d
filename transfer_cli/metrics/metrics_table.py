"""All metrics of a part, each with a suitable confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.metrics import intervals
from transfer_cli.metrics.bootstrap import Replicates, ScoreRanking, replicate
from transfer_cli.metrics.intervals import MetricValue, Resamples, exact_value, proportion
from transfer_cli.metrics.scores import (
    RECALL,
    SUPPORT,
    Probabilities,
    Truth,
    brier_scores,
    calibration_error,
    log_loss_per_image,
)

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

    Shares of images have Wilson's interval, other metrics a bootstrap interval from 1000 resamples (see `intervals`),
    the calibration error none. A class that does not occur in the part has a support of 0, no recall, F1 or area, and
    is not averaged in macro metrics; a class that is never predicted has a precision of 0 in them.

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
    task_metrics = _MultiLabelMetrics if tasks.of(truth).name == tasks.MULTI_LABEL else _SingleLabelMetrics
    if task_metrics is _MultiLabelMetrics:
        assert thresholds is not None
        predicted = (probabilities >= thresholds).astype(np.int64)
    else:
        predicted = probabilities.argmax(axis=1)
    return task_metrics(truth, probabilities, predicted).compute(class_names)


def replicate_metrics(
    truth: Truth, probabilities: Probabilities, predicted: NDArray[np.int64], resamples: Resamples
) -> Replicates:
    """Return the metrics of every resample: those of `bootstrap.replicate`, ``accuracy``, ``log_loss`` and ``brier``.

    The accuracy of a multi-label task is the share of images whose labels are all correct.
    """
    correct = (predicted == truth).reshape(len(truth), -1).all(axis=1)
    each = {
        "accuracy": correct.astype(np.float64),
        "log_loss": log_loss_per_image(truth, probabilities),
        "brier": brier_scores(truth, probabilities),
    }
    classes = probabilities.shape[1]
    return replicate(_indicators(truth, classes), _indicators(predicted, classes), probabilities, each, resamples)


def _indicators(columns: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    return columns > 0 if columns.ndim == 2 else np.eye(classes, dtype=bool)[columns]


class _PartMetrics:
    """Computes the metrics of a part."""

    averages: tuple[str, ...] = ("macro", "weighted")
    average_precision = "average_precision"

    def __init__(self, truth: Truth, probabilities: Probabilities, predicted: NDArray[np.int64]) -> None:
        self.truth, self.probabilities, self.predicted = truth, probabilities, predicted
        classes = probabilities.shape[1]
        self.true_table, self.predicted_table = _indicators(truth, classes), _indicators(predicted, classes)
        self.present = np.flatnonzero(self.true_table.any(axis=0))

    def compute(self, class_names: Sequence[str]) -> dict[str, MetricValue]:
        count, classes = self.probabilities.shape
        resamples = Resamples.affordable(count, classes)
        replicates = replicate_metrics(self.truth, self.probabilities, self.predicted, resamples)
        replicates["mean_average_precision"] = replicates["average_precision"]
        areas = self._areas()
        values = self._averages() | self._means(areas)
        metrics = {"images": exact_value(count), **self.shares()}
        for name, value in values.items():
            metrics[name] = _with_interval(name, value, replicates[name], count)
        metrics |= self.without_interval()
        return metrics | self._per_class(class_names, areas, replicates) if class_names else metrics

    def shares(self) -> dict[str, MetricValue]:
        raise NotImplementedError

    def without_interval(self) -> dict[str, MetricValue]:
        return {}

    def _averages(self) -> dict[str, float]:
        """Return precision, recall and F1 over the classes that occur."""
        from sklearn.metrics import precision_recall_fscore_support

        result: dict[str, float] = {}
        for average in self.averages if len(self.present) else ():
            labels = None if average == "micro" else self.present
            each = precision_recall_fscore_support(
                self.truth, self.predicted, labels=labels, average=average, zero_division=0
            )
            result |= {
                f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), each, strict=False)
            }
        return result

    def _means(self, areas: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
        """Return the metrics that are means over classes or over images."""
        result = {}
        if areas["roc_auc"]:
            result["roc_auc"] = float(np.mean([*areas["roc_auc"].values()]))
        result[self.average_precision] = float(np.mean([*areas["average_precision"].values()] or [0.0]))
        result["log_loss"] = float(log_loss_per_image(self.truth, self.probabilities).mean())
        result["brier"] = float(brier_scores(self.truth, self.probabilities).mean())
        return result

    def _areas(self) -> dict[str, dict[int, float]]:
        """Return the areas under the curves of each class against the rest, if they are defined."""
        result: dict[str, dict[int, float]] = {"roc_auc": {}, "average_precision": {}}
        once = np.ones((len(self.truth), 1), np.float32)
        for column in self.present:
            ranking = ScoreRanking(self.true_table[:, column], self.probabilities[:, column])
            (roc_auc,), (precision,) = ranking.areas(once)
            result["average_precision"][int(column)] = float(precision)
            if np.isfinite(roc_auc):
                result["roc_auc"][int(column)] = float(roc_auc)
        return result

    def _per_class(
        self, class_names: Sequence[str], areas: Mapping[str, Mapping[int, float]], replicates: Replicates
    ) -> dict[str, MetricValue]:
        count = len(self.truth)
        metrics: dict[str, dict[str, MetricValue]] = {
            name: {} for name in ("precision/", RECALL, "f1/", "roc_auc/", "average_precision/", SUPPORT)
        }
        for column, name in enumerate(class_names):
            true, predicted = self.true_table[:, column], self.predicted_table[:, column]
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
                    metrics[f"{kind}/"][name] = _with_interval(kind, value, replicates[f"{kind}/"][column], count)
        return {f"{prefix}{name}": value for prefix, values in metrics.items() for name, value in values.items()}


class _SingleLabelMetrics(_PartMetrics):
    def shares(self) -> dict[str, MetricValue]:
        count, classes = self.probabilities.shape
        true_probability = self.probabilities[np.arange(count), self.truth][:, None]
        # Equal probabilities are ranked in the order of the classes, as in the tables of predictions.
        before = (self.probabilities == true_probability) & (np.arange(classes) < self.truth[:, None])
        rank = ((self.probabilities > true_probability) | before).sum(axis=1)
        metrics = {"accuracy": proportion(int((rank == 0).sum()), count)}
        for top in TOP:
            if top < classes:
                metrics[f"top_{top}_accuracy"] = proportion(int((rank < top).sum()), count)
        return metrics

    def without_interval(self) -> dict[str, MetricValue]:
        return {"expected_calibration_error": exact_value(calibration_error(self.truth, self.probabilities))}

    def _averages(self) -> dict[str, float]:
        averages = super()._averages()
        names = ("macro_precision", "macro_f1", "weighted_precision", "weighted_f1")
        return {"balanced_accuracy": averages["macro_recall"], **{name: averages[name] for name in names}}


class _MultiLabelMetrics(_PartMetrics):
    averages = ("micro", "macro", "weighted")
    average_precision = "mean_average_precision"

    def shares(self) -> dict[str, MetricValue]:
        return {
            "exact_matches": proportion(
                int((self.true_table == self.predicted_table).all(axis=1).sum()), len(self.truth)
            )
        }

    def _averages(self) -> dict[str, float]:
        # No image has a label.
        return super()._averages() or {"micro_f1": 0.0, "macro_f1": 0.0}


def _with_interval(kind: str, value: float, replicates: NDArray[Any], images: int) -> MetricValue:
    low, high = intervals.bootstrap_interval(replicates, images, value, _SCALES.get(kind, intervals.PERCENTILE))
    return {"value": float(value), "low": low, "high": high}
