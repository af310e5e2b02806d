"""A linear classifier and its scaler as one matrix: predicting with it needs NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import check_numeric, read_arrays

_ROWS_AT_A_TIME = 1024
ALIKE = 1e-4
"""The most that a probability of the matrix may be off from that of the classifier it was folded from."""


@dataclass(frozen=True)
class Linear:
    """Probabilities as the softmax, or of labels the sigmoid, of a linear function of features.

    Attributes
    ----------
    kernel : ndarray of shape (width, k), float64
    bias : ndarray of shape (k,), float64
        Minus infinity for a class that was not learnt.
    activation : {"softmax", "sigmoid"}
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: str = "softmax"

    @classmethod
    def fold(cls, pipeline: Any, classes: int) -> Linear:
        """Return the matrix of a fitted pipeline of a scaler and a linear classifier.

        Parameters
        ----------
        pipeline : sklearn.pipeline.Pipeline
            Its classifier has ``coef_`` and ``intercept_``, and probabilities that are their softmax.
        classes : int
            How many columns probabilities have.
        """
        scaler, classifier = pipeline[0], pipeline[-1]
        if hasattr(classifier, "estimators_"):
            parts = [_of_label(each, len(scaler.mean_)) for each in classifier.estimators_]
            kernel = np.stack([row for row, _ in parts]) / scaler.scale_
            return cls(kernel.T, np.array([bias for _, bias in parts]) - kernel @ scaler.mean_, "sigmoid")
        kernel = classifier.coef_ / scaler.scale_
        bias = classifier.intercept_ - kernel @ scaler.mean_
        if len(kernel) == 1:
            # Of two classes scikit-learn keeps the log odds of the second alone.
            kernel, bias = np.concatenate([-kernel / 2, kernel / 2]), np.concatenate([-bias / 2, bias / 2])
        whole = np.zeros((kernel.shape[1], classes)), np.full(classes, -np.inf)
        whole[0][:, pipeline.classes_] = kernel.T
        whole[1][pipeline.classes_] = bias
        return cls(*whole)

    @classmethod
    def load(cls, path: Path) -> Linear:
        """Return the matrix in a file; raise ModelError when it holds none."""
        arrays = read_arrays(path, "kernel", "bias", optional=("activation",))
        kernel, bias = (check_numeric(path, arrays[name]).astype(np.float64) for name in ("kernel", "bias"))
        activation = str(arrays["activation"]) if "activation" in arrays else "softmax"
        if (kernel.shape[1:] if kernel.ndim == 2 else None) != bias.shape:
            raise ModelError(f"{path} holds arrays of shapes {kernel.shape} and {bias.shape}, which do not fit.")
        if activation not in ("softmax", "sigmoid"):
            raise ModelError(f"{path} is made for the activation {activation!r}, which this program does not know.")
        if not np.isfinite(kernel).all():
            raise ModelError(f"{path} was refused: it holds weights that are infinite.")
        return cls(kernel, bias, activation)

    def save(self, path: Path) -> None:
        """Write the matrix as NumPy arrays."""
        np.savez(path, kernel=self.kernel, bias=self.bias, activation=np.array(self.activation))

    def must_give(self, classes: int, path: Path) -> None:
        """Raise ModelError where the matrix, out of `path`, is not one for so many classes."""
        if self.kernel.shape[1] != classes:
            raise ModelError(f"{path} is made for {self.kernel.shape[1]} classes; the bundle has {classes}.")

    def must_read(self, width: int, path: Path) -> None:
        """Raise ModelError where the matrix, out of `path`, is not one for so many numbers."""
        if len(self.kernel) != width:
            raise ModelError(f"{path} reads {len(self.kernel)} numbers; the bundle has {width}.")

    def is_like(self, given: Callable[[NDArray[np.float32]], NDArray[np.float32]], rows: NDArray[np.float32]) -> bool:
        """Return whether its probabilities are those that `given` has for some features, within `ALIKE`."""
        parts = (rows[start : start + _ROWS_AT_A_TIME] for start in range(0, len(rows), _ROWS_AT_A_TIME))
        return all(float(np.abs(self.probabilities(part) - given(part)).max()) <= ALIKE for part in parts)

    def calibrated(self, log_prior: Sequence[float] | None, temperature: float | None) -> Linear:
        """Return the matrix whose probabilities are those of this one after `remove_log_prior` and `apply_temperature`.

        Parameters
        ----------
        log_prior : sequence of k float, or None
        temperature : float or None
        """
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
    """Return the weights and the bias of one label's classifier; one that is always of one mind has only a bias."""
    if hasattr(classifier, "coef_"):
        return classifier.coef_[0], float(classifier.intercept_[0])
    return np.zeros(width), np.inf if classifier.y_[0] else -np.inf


def remove_log_prior(probabilities: NDArray[np.float32], log_prior: Sequence[float] | None) -> NDArray[np.float32]:
    """Return probabilities as they would be if no class were more common than another (Menon et al. 2021, section 4.1).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k), float32
    log_prior : sequence of k float, or None
        What is taken out of the logarithm of each; None changes nothing.
    """
    if log_prior is None:
        return probabilities
    adjusted = probabilities * np.exp(-np.array(log_prior))
    return np.asarray(adjusted / adjusted.sum(axis=1, keepdims=True), np.float32)
