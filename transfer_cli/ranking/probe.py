"""The probe of a ranking: the default classifier, cross-validated on features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, tasks
from transfer_cli.classifiers.folds import Groups, Truth
from transfer_cli.metrics.intervals import MetricValue, proportion
from transfer_cli.metrics.scores import correct_images, epoch_metrics


@dataclass(frozen=True)
class ProbeScore:
    """The out-of-fold scores of the default classifier of `extract`.

    Attributes
    ----------
    log_loss : float
        In nats.
    accuracy : MetricValue
        For multi-label, the share of images with all labels correct at a threshold of 0.5.
    mean_average_precision : float or None
        Multi-label only.
    correct : ndarray of shape (n,), bool
        Which of the images that can be scored are classified correctly.
    """

    log_loss: float
    accuracy: MetricValue
    mean_average_precision: float | None
    correct: NDArray[np.bool_] = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as JSON can hold them."""
        return {name: getattr(self, name) for name in ("log_loss", "accuracy", "mean_average_precision")}


def cross_validate(features: NDArray[np.float32], truth: Truth, groups: Groups, classes: int, seed: int) -> ProbeScore:
    """Cross-validate the default classifier of `extract`, tuned by the same folds.

    Parameters
    ----------
    features : ndarray of shape (n, width), float32
        Finite.
    truth : ndarray of shape (n,) or (n, classes), int
    groups : ndarray of shape (n,), int
        Images with the same number are in the same fold.
    classes, seed : int
    """
    from transfer_cli.classifiers import fit

    options = fit.FitOptions(classes=classes, tune=True, seconds=float("inf"), seed=seed)
    default = classifiers.default(tasks.of(truth).name)
    fitted = fit.fit(classifiers.find(default), features, truth, options, groups=groups)
    assert fitted.out_of_fold is not None
    known = ~np.isnan(fitted.out_of_fold[:, 0])
    truth, probabilities = truth[known], fitted.out_of_fold[known]
    metrics = epoch_metrics(truth, probabilities)
    correct = correct_images(truth, probabilities)
    accuracy = proportion(int(correct.sum()), len(correct))
    return ProbeScore(metrics["log_loss"], accuracy, metrics.get("mean_average_precision"), correct)
