"""All figures of a part, each with the interval that is honest for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.metrics.bootstrap import Ranking, Replicates, replicate
from transfer_cli.metrics.intervals import LOG, LOGIT, PERCENTILE, Figure, Resamples, between, plain, proportion
from transfer_cli.metrics.scores import (
    RECALL,
    SUPPORT,
    Probabilities,
    Truth,
    briers,
    calibration_error,
    log_losses,
)

TOP = (2, 3, 5)
"""Of so many most probable classes it is told how often the true one is among them."""
_SCALES = {
    "roc_auc": LOGIT,
    "average_precision": LOGIT,
    "mean_average_precision": LOGIT,
    "log_loss": LOG,
    "brier": LOG,
}


def score(
    truth: Truth,
    probabilities: Probabilities,
    thresholds: NDArray[np.float64] | None = None,
    class_names: Sequence[str] = (),
) -> dict[str, Figure]:
    """Return the figures of one part.

    Shares of pictures have Wilson's interval, the others one by 1000 resamples of the pictures (see intervals); the
    calibration error has none. A class that does not occur in the part has a support of 0, no recall, F1 or area, and
    no say in macro figures; a class that was never given has a precision of 0 in them.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
        Column of the true class of each image, or the indicator matrix of its labels.
    probabilities : ndarray of shape (n, k), float
    thresholds : ndarray of shape (k,), optional
        From which probability on a picture has a label; needed for a multi-label task.
    class_names : sequence of str
        Figures of each class are left out where it is not given.

    Returns
    -------
    dict of str to Figure
        Of a single-label task ``images``, ``accuracy``, ``top_2_accuracy`` (and 3, 5, of fewer than all classes),
        ``balanced_accuracy`` (which is the macro recall), ``macro_precision``, ``macro_f1``, ``weighted_precision``,
        ``weighted_f1`` (the weighted recall is the accuracy, and so is all that is micro), ``roc_auc`` and
        ``average_precision`` (each class against the rest, their mean), ``log_loss`` (nats an image), ``brier`` and
        ``expected_calibration_error`` (see metrics). Of a multi-label task ``images``, ``mean_average_precision``,
        ``roc_auc``, ``micro_``, ``macro_`` and ``weighted_`` ``precision``, ``recall`` and ``f1`` at the thresholds,
        ``exact_matches`` (share of the images all of whose labels are right), ``log_loss`` (nats a label) and
        ``brier``. Of each class ``precision/``, ``recall/``, ``f1/``, ``roc_auc/``, ``average_precision/`` and
        ``support/`` with its name.
    """
    of_task = _Labels if tasks.of(truth).name == tasks.MULTI_LABEL else _Classes
    if of_task is _Labels:
        assert thresholds is not None
        predicted = (probabilities >= thresholds).astype(np.int64)
    else:
        predicted = probabilities.argmax(axis=1)
    return of_task(truth, probabilities, predicted).figures(class_names)


def replicates_of(
    truth: Truth, probabilities: Probabilities, predicted: NDArray[np.int64], resamples: Resamples
) -> Replicates:
    """Return the figures of every resample.

    They are those of replicates.replicate, and ``accuracy``, ``log_loss`` and ``brier``. The accuracy of a
    multi-label task is the share of the images all of whose labels are right.
    """
    right = (predicted == truth).reshape(len(truth), -1).all(axis=1)
    each = {
        "accuracy": right.astype(np.float64),
        "log_loss": log_losses(truth, probabilities),
        "brier": briers(truth, probabilities),
    }
    classes = probabilities.shape[1]
    return replicate(_table(truth, classes), _table(predicted, classes), probabilities, each, resamples)


def _table(columns: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    return columns > 0 if columns.ndim == 2 else np.eye(classes, dtype=bool)[columns]


class _Part:
    """A part whose figures are taken."""

    averages: tuple[str, ...] = ("macro", "weighted")
    average_precision = "average_precision"

    def __init__(self, truth: Truth, probabilities: Probabilities, predicted: NDArray[np.int64]) -> None:
        self.truth, self.probabilities, self.predicted = truth, probabilities, predicted
        classes = probabilities.shape[1]
        self.there, self.given = _table(truth, classes), _table(predicted, classes)
        self.present = np.flatnonzero(self.there.any(axis=0))

    def figures(self, class_names: Sequence[str]) -> dict[str, Figure]:
        count, classes = self.probabilities.shape
        resamples = Resamples.affordable(count, classes)
        replicates = replicates_of(self.truth, self.probabilities, self.predicted, resamples)
        replicates["mean_average_precision"] = replicates["average_precision"]
        areas = self._areas()
        values = self._averages() | self._means(areas)
        figures = {"images": plain(count), **self.shares()}
        for name, value in values.items():
            figures[name] = _figure(name, value, replicates[name], count)
        figures |= self.without_interval()
        return figures | self._of_classes(class_names, areas, replicates) if class_names else figures

    def shares(self) -> dict[str, Figure]:
        raise NotImplementedError

    def without_interval(self) -> dict[str, Figure]:
        return {}

    def _averages(self) -> dict[str, float]:
        """Return precision, recall and F1 over the classes that occur."""
        from sklearn.metrics import precision_recall_fscore_support

        found: dict[str, float] = {}
        for average in self.averages if len(self.present) else ():
            labels = None if average == "micro" else self.present
            each = precision_recall_fscore_support(
                self.truth, self.predicted, labels=labels, average=average, zero_division=0
            )
            found |= {
                f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), each, strict=False)
            }
        return found

    def _means(self, areas: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
        """Return what is a mean over classes, or over pictures."""
        found = {}
        if areas["roc_auc"]:
            found["roc_auc"] = float(np.mean([*areas["roc_auc"].values()]))
        found[self.average_precision] = float(np.mean([*areas["average_precision"].values()] or [0.0]))
        found["log_loss"] = float(log_losses(self.truth, self.probabilities).mean())
        found["brier"] = float(briers(self.truth, self.probabilities).mean())
        return found

    def _areas(self) -> dict[str, dict[int, float]]:
        """Return the areas under the curves of each class against the rest, where there are both."""
        found: dict[str, dict[int, float]] = {"roc_auc": {}, "average_precision": {}}
        once = np.ones((len(self.truth), 1), np.float32)
        for column in self.present:
            ranking = Ranking(self.there[:, column], self.probabilities[:, column])
            (roc_auc,), (precision,) = ranking.areas(once)
            found["average_precision"][int(column)] = float(precision)
            if np.isfinite(roc_auc):
                found["roc_auc"][int(column)] = float(roc_auc)
        return found

    def _of_classes(
        self, class_names: Sequence[str], areas: Mapping[str, Mapping[int, float]], replicates: Replicates
    ) -> dict[str, Figure]:
        count = len(self.truth)
        figures: dict[str, dict[str, Figure]] = {
            name: {} for name in ("precision/", RECALL, "f1/", "roc_auc/", "average_precision/", SUPPORT)
        }
        for column, name in enumerate(class_names):
            there, given = self.there[:, column], self.given[:, column]
            right, support = int((there & given).sum()), int(there.sum())
            figures[SUPPORT][name] = plain(support)
            if given.any():
                figures["precision/"][name] = proportion(right, int(given.sum()))
            if not support:
                continue
            figures[RECALL][name] = proportion(right, support)
            f1 = 2 * right / (support + int(given.sum()))
            for kind, value in (("f1", f1), *((kind, of_class.get(column)) for kind, of_class in areas.items())):
                if value is not None:
                    figures[f"{kind}/"][name] = _figure(kind, value, replicates[f"{kind}/"][column], count)
        return {f"{prefix}{name}": figure for prefix, named in figures.items() for name, figure in named.items()}


class _Classes(_Part):
    """A part of a task with one class a picture."""

    def shares(self) -> dict[str, Figure]:
        count, classes = self.probabilities.shape
        own = self.probabilities[np.arange(count), self.truth][:, None]
        # Equal probabilities are in the order of the classes, as in the tables of predictions.
        before = (self.probabilities == own) & (np.arange(classes) < self.truth[:, None])
        rank = ((self.probabilities > own) | before).sum(axis=1)
        figures = {"accuracy": proportion(int((rank == 0).sum()), count)}
        for top in TOP:
            if top < classes:
                figures[f"top_{top}_accuracy"] = proportion(int((rank < top).sum()), count)
        return figures

    def without_interval(self) -> dict[str, Figure]:
        return {"expected_calibration_error": plain(calibration_error(self.truth, self.probabilities))}

    def _averages(self) -> dict[str, float]:
        found = super()._averages()
        names = ("macro_precision", "macro_f1", "weighted_precision", "weighted_f1")
        return {"balanced_accuracy": found["macro_recall"], **{name: found[name] for name in names}}


class _Labels(_Part):
    """A part of a task with any number of labels a picture."""

    averages = ("micro", "macro", "weighted")
    average_precision = "mean_average_precision"

    def shares(self) -> dict[str, Figure]:
        return {"exact_matches": proportion(int((self.there == self.given).all(axis=1).sum()), len(self.truth))}

    def _averages(self) -> dict[str, float]:
        # Where no picture has a label there is nothing to find.
        return super()._averages() or {"micro_f1": 0.0, "macro_f1": 0.0}


def _figure(kind: str, value: float, replicates: NDArray[Any], images: int) -> Figure:
    low, high = between(replicates, images, value, _SCALES.get(kind, PERCENTILE))
    return {"value": float(value), "low": low, "high": high}
