"""By which pictures a bundle came about, so that a score on them is not taken for one on new ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import read_arrays

LEARNT_FILE = "learnt.npz"
_CHARACTERS = 16
"""Of a digest in hexadecimal: the 8 bytes that are kept. Among a million pictures none is taken for another."""

Say = Literal["yes", "chosen", "no"]
"""Whether a picture was learnt from; ``chosen`` where it was not, and something was chosen by it."""


@dataclass(frozen=True)
class TrainingImages:
    """The pictures that had a say in a model, by the first 8 bytes of their SHA-256.

    Attributes
    ----------
    train : ndarray of shape (n,), uint64
        Those that were learnt from, ascending, each once.
    val : ndarray of shape (v,), uint64
        Others, by which something was chosen or fitted: the best epoch, the temperature, thresholds, what is rejected.
    """

    train: NDArray[np.uint64]
    val: NDArray[np.uint64]

    @classmethod
    def of(cls, train: Iterable[str], val: Iterable[str] = ()) -> TrainingImages:
        """Return the pictures with these SHA-256 digests, in hexadecimal; one that is in both was learnt from."""
        learnt = np.unique(_numbers(train))
        return cls(learnt, np.setdiff1d(_numbers(val), learnt))

    @classmethod
    def load(cls, path: Path) -> TrainingImages:
        """Return what `save` wrote; raise ModelError where the file holds something else."""
        arrays = read_arrays(path, "train", "val")
        found = cls(arrays["train"], arrays["val"])
        for array in (found.train, found.val):
            if array.dtype != np.uint64 or array.ndim != 1 or (array[1:] <= array[:-1]).any():
                raise ModelError(f"{path} holds something else than sorted digests.")
        return found

    def save(self, path: Path) -> None:
        """Write the arrays; no pickle."""
        np.savez(path, train=self.train, val=self.val)

    def say(self, digests: Sequence[str]) -> tuple[Say, ...]:
        """Return what say each of some pictures had."""
        numbers = _numbers(digests)
        learnt, chosen = np.isin(numbers, self.train), np.isin(numbers, self.val)
        return tuple("yes" if one else "chosen" if other else "no" for one, other in zip(learnt, chosen, strict=True))


def _numbers(digests: Iterable[str]) -> NDArray[np.uint64]:
    return np.array([int(digest[:_CHARACTERS], 16) for digest in digests], np.uint64)
