"""Confusion matrix: how often each class was predicted as each class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.io.csv_tables import write_table
from transfer_cli.regular_file import read_regular

_PREFIX = "predicted_"


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes
    ----------
    class_names : tuple of str
    counts : ndarray of shape (k, k), int
        Rows are true classes, columns are predicted classes.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str]) -> Confusion:
        """Return the confusion matrix of true and predicted class indices, both of shape (n,)."""
        classes = len(class_names)
        counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
        return cls(tuple(class_names), counts.reshape(classes, classes))

    @classmethod
    def read(cls, path: Path) -> Confusion:
        """Read a file of `write`; raise InputError if it is not a confusion matrix."""
        try:
            text = read_regular(path).decode("utf-8", "surrogateescape")
            header, *rows = csv.reader(io.StringIO(text, newline=""))
            counts = np.array([[int(cell) for cell in row[1:]] for row in rows], np.int64)
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"{path} is not a readable confusion matrix: {error}.") from None
        names = tuple(row[0] for row in rows)
        if header != _header(names) or counts.shape != (len(names), len(names)):
            expected = ", ".join(_header(names))
            raise InputError(f"{path} is not a square confusion matrix: expected the columns {expected}.")
        return cls(names, counts)

    def write(self, path: Path) -> None:
        """Write a CSV file with a row per true class and a column per predicted class."""
        rows = ((name, *counts) for name, counts in zip(self.class_names, self.counts.tolist(), strict=True))
        write_table(path, _header(self.class_names), rows)

    def pairs(self) -> list[tuple[str, str, int]]:
        """Return (true class, predicted class, count) of the errors, the most frequent first."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        names = self.class_names
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(names[true], names[predicted], int(wrong[true, predicted])) for true, predicted in pairs]

    def summary(self, part: str, count: int = 3) -> str | None:
        """Return one line about the most frequent confusions, or None if there are none."""
        pairs = self.pairs()
        if not pairs:
            return None
        text = ", ".join(f"{true} → {predicted} {times}" for true, predicted, times in pairs[:count])
        more = ", ..." if len(pairs) > count else ""
        return f"{part:5} most frequent confusions (true → predicted): {text}{more}"


def _header(class_names: Sequence[str]) -> list[str]:
    return ["class", *(f"{_PREFIX}{name}" for name in class_names)]
