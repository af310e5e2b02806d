"""Parity: does an exported file predict what the model predicts? Both run on the same real images."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.disk_errors import is_full
from transfer_cli.io.drafts import temporary_folder
from transfer_cli.text import counted

TOLERANCE = 1e-4
"""Maximum absolute difference of a probability of a float32 file."""
_ROUNDING = 1e-6
"""Two probabilities that differ by less are equal within the rounding of float32."""
_MIN_VARIATION = 0.01
_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Parity:
    """Comparison of the predictions of a file with those of its model.

    Attributes
    ----------
    images : int
    max_abs_diff : float
        Maximum absolute difference of the probabilities.
    changed_labels : int
        Number of images with another predicted class, or another set of labels.
    fault : str or None
        Why the predictions cannot be compared.
    """

    images: int
    max_abs_diff: float
    changed_labels: int
    fault: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the predictions are equal within `TOLERANCE`."""
        return self.fault is None and self.changed_labels == 0 and self.max_abs_diff <= TOLERANCE

    @property
    def summary(self) -> str:
        """The difference in one phrase."""
        if self.fault:
            return self.fault
        return (
            f"max abs diff {self.max_abs_diff:.2g}, changed labels on {self.changed_labels} of "
            f"{counted(self.images, 'image')}"
        )


def compare(
    expected: NDArray[np.float32], predicted: NDArray[np.float32], thresholds: Sequence[float] | None = None
) -> Parity:
    """Compare predictions for the same images.

    Parameters
    ----------
    expected, predicted : ndarray of shape (n, k), float32
        Probabilities of the model, and of the file.
    thresholds : sequence of k float, optional
        Of a multi-label model: the probability from which on each label is predicted.
    """
    count = len(expected)
    if predicted.shape != expected.shape:
        return Parity(count, np.inf, count, f"the output has shape {predicted.shape}; expected {expected.shape}")
    if not np.isfinite(predicted).all():
        return Parity(count, np.inf, count, "the output is not finite")
    max_abs_diff = float(np.abs(expected.astype(np.float64) - predicted).max())
    if thresholds is None:
        best, other = expected.argmax(axis=1), predicted.argmax(axis=1)
        rows = np.arange(count)
        # Between equal probabilities, which votes of neighbours often are, either class may come first.
        changed = expected[rows, best] - expected[rows, other] > _ROUNDING
    else:
        limits = np.array(thresholds)
        changed = ((expected >= limits) != (predicted >= limits)).any(axis=1)
    return Parity(count, max_abs_diff, int(changed.sum()))


def predictions_vary(expected: NDArray[np.float32]) -> bool:
    """Return whether the predictions of a model depend on the image.

    If they do not, a file that ignores its input predicts the same, and equal predictions prove nothing.
    """
    return bool((expected.max(axis=0) - expected.min(axis=0)).max() >= _MIN_VARIATION)


def predict_with_file(path: Path, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Predict with an exported file in its own runtime, in a new process that shares nothing with the exporter.

    Parameters
    ----------
    path : Path
    images : ndarray of shape (n, size, size, 3), uint8

    Returns
    -------
    tuple
        Probabilities, float32 of shape (n, k), and the milliseconds per image, in batches.

    Raises
    ------
    ModelError
        When the file cannot be opened, or fails.
    OutputError
        When the folder for temporary files is full.
    """
    with temporary_folder() as folder:
        inputs, outputs = folder / "images.npy", folder / "result.npz"
        np.save(inputs, images)
        # Without -P, Python would import and run a types.py in the current folder.
        command = [sys.executable, "-P", "-m", "transfer_cli.export.parity_worker", *map(str, (path, inputs, outputs))]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_SECONDS,
                # A runtime may leave files of its own.
                env={**os.environ, "TMPDIR": str(folder)},
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{path} did not finish within {_TIMEOUT_SECONDS} seconds.") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            if is_full(OSError(reason)):
                raise OSError(errno.ENOSPC, reason)
            raise ModelError(f"{path} does not run: {reason}")
        with np.load(outputs) as arrays:
            return arrays["probabilities"], float(arrays["ms_per_image"])
