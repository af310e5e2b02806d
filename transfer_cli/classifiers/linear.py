"""A linear classifier and its scaler as one matrix, which predicts with NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import check_numeric, read_arrays

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_BATCH_ROWS = 1024
MAX_ABS_DIFF = 1e-4
"""Maximum difference of a probability from that of the original classifier."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier: the softmax (multi-label: the sigmoid) of a linear function of the features.

    Attributes
    ----------
    kernel : ndarray of shape (width, k), float64
    bias : ndarray of shape (k,), float64
        Minus infinity for a class without training rows.
    activation : {"softmax", "sigmoid"}
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: str = "softmax"

    @classmethod
    def fold(cls, pipeline: Any, classes: int) -> Linear:
        """Fold a fitted pipeline of a scaler and a linear classifier into one matrix.

        Parameters
        ----------
        pipeline : sklearn.pipeline.Pipeline
            Its classifier has ``coef_`` and ``intercept_``; the probabilities are their softmax.
        classes : int
            Number of columns of the probabilities.
        """
        scaler, classifier = pipeline[0], pipeline[-1]
        if hasattr(classifier, "estimators_"):
            parts = [_of_label(each, len(scaler.mean_)) for each in classifier.estimators_]
            kernel = np.stack([row for row, _ in parts]) / scaler.scale_
            return cls(kernel.T, np.array([bias for _, bias in parts]) - kernel @ scaler.mean_, "sigmoid")
        kernel = classifier.coef_ / scaler.scale_
        bias = classifier.intercept_ - kernel @ scaler.mean_
        if len(kernel) == 1:
            # For two classes scikit-learn keeps only the log odds of the second.
            kernel, bias = np.concatenate([-kernel / 2, kernel / 2]), np.concatenate([-bias / 2, bias / 2])
        whole = np.zeros((kernel.shape[1], classes)), np.full(classes, -np.inf)
        whole[0][:, pipeline.classes_] = kernel.T
        whole[1][pipeline.classes_] = bias
        return cls(*whole)

    @classmethod
    def load(cls, path: Path) -> Linear:
        """Read a file that `save` wrote; raise ModelError if it is invalid."""
        arrays = read_arrays(path, "kernel", "bias", optional=("activation",))
        kernel, bias = (check_numeric(path, arrays[name]).astype(np.float64) for name in ("kernel", "bias"))
        activation = str(arrays["activation"]) if "activation" in arrays else "softmax"
        if (kernel.shape[1:] if kernel.ndim == 2 else None) != bias.shape:
            raise ModelError(f"{path} has arrays of shapes {kernel.shape} and {bias.shape}, which do not fit together.")
        if activation not in ("softmax", "sigmoid"):
            raise ModelError(f"{path} has the unknown activation {activation!r}. Expected softmax or sigmoid.")
        if not np.isfinite(kernel).all():
            raise ModelError(f"{path} was refused: it has infinite weights.")
        return cls(kernel, bias, activation)

    def save(self, path: Path) -> None:
        """Write the matrix as NumPy arrays."""
        np.savez(path, kernel=self.kernel, bias=self.bias, activation=np.array(self.activation))

    def check_classes(self, classes: int, path: Path) -> None:
        """Raise ModelError unless the matrix, read from `path`, is for this number of classes."""
        if self.kernel.shape[1] != classes:
            raise ModelError(f"{path} is for {self.kernel.shape[1]} classes; the bundle has {classes}.")

    def check_width(self, width: int, path: Path) -> None:
        """Raise ModelError unless the matrix, read from `path`, takes features of this length."""
        if len(self.kernel) != width:
            raise ModelError(f"{path} takes {len(self.kernel)} features; the bundle has {width}.")

    def agrees_with(self, predict: Predict, rows: NDArray[np.float32]) -> bool:
        """Return whether its probabilities equal those of `predict` on some features, within `MAX_ABS_DIFF`."""
        parts = (rows[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))
        return all(float(np.abs(self.probabilities(part) - predict(part)).max()) <= MAX_ABS_DIFF for part in parts)

    def calibrated(self, log_prior: Sequence[float] | None, temperature: float | None) -> Linear:
        """Return the matrix that includes `remove_log_prior` and `apply_temperature`."""
        bias = self.bias if log_prior is None else self.bias - np.array(log_prior)
        return replace(self, kernel=self.kernel / (temperature or 1), bias=bias / (temperature or 1))

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of every class, float32 of shape (n, k)."""
        logits = features.astype(np.float64) @ self.kernel + self.bias
        if self.activation == "sigmoid":
            return np.asarray(0.5 * (1 + np.tanh(logits / 2)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _of_label(classifier: Any, width: int) -> tuple[NDArray[np.float64], float]:
    """Return weights and bias of the classifier of one label; a constant classifier has only a bias."""
    if hasattr(classifier, "coef_"):
        return classifier.coef_[0], float(classifier.intercept_[0])
    return np.zeros(width), np.inf if classifier.y_[0] else -np.inf


def remove_log_prior(probabilities: NDArray[np.float32], log_prior: Sequence[float] | None) -> NDArray[np.float32]:
    """Return the probabilities for equally frequent classes (Menon et al. 2021, section 4.1).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k), float32
    log_prior : sequence of k float, or None
        Subtracted from the log probabilities; None changes nothing.
    """
    if log_prior is None:
        return probabilities
    adjusted = probabilities * np.exp(-np.array(log_prior))
    return np.asarray(adjusted / adjusted.sum(axis=1, keepdims=True), np.float32)
