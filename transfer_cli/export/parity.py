"""Whether an exported file gives what the model gives: both are asked about the same real pictures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError

MOST_OFF = 1e-4
"""How much a probability of a file that computes in float32 may be off."""
_ROUNDING = 1e-6
"""Two probabilities that are no further apart are equal, as far as float32 can tell."""
_TELLS_APART = 0.01
_SECONDS = 900


@dataclass(frozen=True)
class Parity:
    """How the answers of a file compare with those of its model.

    Attributes
    ----------
    images : int
    deviation : float
        The most that a probability is off.
    changed : int
        How many pictures get another class; of several labels, another set of them.
    fault : str or None
        Why they cannot be compared.
    """

    images: int
    deviation: float
    changed: int
    fault: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the file says the same, as far as rounding lets it."""
        return self.fault is None and self.changed == 0 and self.deviation <= MOST_OFF

    @property
    def summary(self) -> str:
        """What is wrong, for a person."""
        if self.fault:
            return self.fault
        return f"a probability is off by {self.deviation:.2g}, {self.changed} of {self.images} get another answer"


def compare(
    expected: NDArray[np.float32], given: NDArray[np.float32], thresholds: Sequence[float] | None = None
) -> Parity:
    """Return how two sets of answers to the same pictures compare.

    Parameters
    ----------
    expected, given : ndarray of shape (n, k), float32
        Probabilities by the model, and by the file.
    thresholds : sequence of k float, optional
        From which probability on a picture has a label, of a multi-label task.
    """
    count = len(expected)
    if given.shape != expected.shape:
        return Parity(count, np.inf, count, f"its output has the shape {given.shape}, not {expected.shape}")
    if not np.isfinite(given).all():
        return Parity(count, np.inf, count, "its output is not finite")
    deviation = float(np.abs(expected.astype(np.float64) - given).max())
    if thresholds is None:
        best, other = expected.argmax(axis=1), given.argmax(axis=1)
        rows = np.arange(count)
        # Of equals, as votes of neighbours often are, either may come first.
        changed = expected[rows, best] - expected[rows, other] > _ROUNDING
    else:
        bars = np.array(thresholds)
        changed = ((expected >= bars) != (given >= bars)).any(axis=1)
    return Parity(count, deviation, int(changed.sum()))


def tells_apart(expected: NDArray[np.float32]) -> bool:
    """Return whether a model says anything else of one picture than of another.

    Where it does not, a file that ignores its input says the same, and a comparison proves nothing.
    """
    return bool((expected.max(axis=0) - expected.min(axis=0)).max() >= _TELLS_APART)


@dataclass(frozen=True)
class Answered:
    """What a file said.

    Attributes
    ----------
    probabilities : ndarray of shape (n, k), float32
    milliseconds : float
        A picture.
    of_files : ndarray of shape (m, k), float32, or None
        Of pictures that it decoded by itself.
    """

    probabilities: NDArray[np.float32]
    milliseconds: float
    of_files: NDArray[np.float32] | None


def answers_of(path: Path, images: NDArray[np.uint8], encoded: Sequence[Path] = ()) -> Answered:
    """Return what the file at `path` says of some pictures in its own runtime.

    It is asked in a new process, which has nothing of what wrote it.

    Parameters
    ----------
    path : Path
    images : ndarray of shape (n, size, size, 3), uint8
    encoded : sequence of Path
        JPEG and PNG files, for a SavedModel.

    Raises
    ------
    ModelError
        When it cannot be opened, or fails.
    """
    with tempfile.TemporaryDirectory(prefix="transfer-cli-") as folder:
        given, result = Path(folder) / "images.npy", Path(folder) / "result.npz"
        np.save(given, images)
        # Without -P a types.py in the folder where the command was given would be imported, and run.
        command = [sys.executable, "-P", "-m", "transfer_cli.export.parity_worker", str(path), str(given), str(result)]
        command += map(str, encoded)
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise ModelError(f"{path} gave no answer within {_SECONDS} seconds.") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ModelError(f"{path} does not run: {reason}")
        with np.load(result) as arrays:
            of_files = arrays.get("of_files")
            return Answered(arrays["probabilities"], float(arrays["milliseconds"]), of_files)
