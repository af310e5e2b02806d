"""Digests of the images that a model was trained or selected on, to detect leakage when the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import read_arrays

_HEX_DIGITS = 16
"""64 bits of each SHA-256 are stored: a collision among a million images has a probability of about 3e-8."""

ImageRole = Literal["train", "val", "unseen"]
"""How a model used an image: ``train`` for its weights, ``val`` for selection or calibration only."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that a model was trained or selected on, as the first 8 bytes of their SHA-256.

    Attributes
    ----------
    train : ndarray of shape (n,), uint64
        Training images, sorted and unique.
    val : ndarray of shape (v,), uint64
        Images that were not trained on but used to choose the epoch, or to fit temperature, thresholds or rejection.
    """

    train: NDArray[np.uint64]
    val: NDArray[np.uint64]

    @classmethod
    def of(cls, train: Iterable[str], val: Iterable[str] = ()) -> TrainingImages:
        """Build it from SHA-256 hex digests; an image in both lists counts as a training image."""
        numbers = np.unique(_to_uint64(train))
        return cls(numbers, np.setdiff1d(_to_uint64(val), numbers))

    @classmethod
    def load(cls, path: Path) -> TrainingImages:
        """Read a file that `save` wrote; raise ModelError if it holds anything else."""
        arrays = read_arrays(path, "train", "val")
        for array in (arrays["train"], arrays["val"]):
            if array.dtype != np.uint64 or array.ndim != 1 or (array[1:] <= array[:-1]).any():
                raise ModelError(f"{path} does not hold sorted image digests (uint64). Use an unaltered copy.")
        return cls(arrays["train"], arrays["val"])

    def save(self, path: Path) -> None:
        """Write both arrays as .npz, without pickle."""
        np.savez(path, train=self.train, val=self.val)

    def roles_of(self, digests: Sequence[str]) -> tuple[ImageRole, ...]:
        """Return the role of each image, given its SHA-256 hex digest."""
        numbers = _to_uint64(digests)
        in_train, in_val = np.isin(numbers, self.train), np.isin(numbers, self.val)
        return tuple(np.where(in_train, "train", np.where(in_val, "val", "unseen")).tolist())


def _to_uint64(digests: Iterable[str]) -> NDArray[np.uint64]:
    return np.array([int(digest[:_HEX_DIGITS], 16) for digest in digests], np.uint64)
