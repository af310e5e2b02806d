"""Which class was taken for which, counted."""

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

_PREFIX = "predicted_"


@dataclass(frozen=True)
class Confusion:
    """How many pictures of each class were given each class.

    Attributes
    ----------
    class_names : tuple of str
    counts : ndarray of shape (k, k), int
        Row: what is true; column: what was predicted.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str]) -> Confusion:
        """Return the counts of a part of a single-label task, both given as columns of the classes."""
        classes = len(class_names)
        counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
        return cls(tuple(class_names), counts.reshape(classes, classes))

    @classmethod
    def read(cls, path: Path) -> Confusion:
        """Return what `write` wrote; raise InputError where it is no such table."""
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            header, *rows = csv.reader(io.StringIO(text, newline=""))
            counts = np.array([[int(cell) for cell in row[1:]] for row in rows], np.int64)
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"{path} cannot be read as counts of classes: {error}.") from None
        names = tuple(row[0] for row in rows)
        if header != _header(names) or counts.shape != (len(names), len(names)):
            raise InputError(f"{path} is no square table: expected the columns {', '.join(_header(names))}.")
        return cls(names, counts)

    def write(self, path: Path) -> None:
        """Write a CSV file: a row each true class, a column each predicted one."""
        rows = ((name, *counts) for name, counts in zip(self.class_names, self.counts.tolist(), strict=True))
        write_table(path, _header(self.class_names), rows)

    def pairs(self) -> list[tuple[str, str, int]]:
        """Return (true class, the other one it was taken for, how often), the most frequent first."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        names = self.class_names
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(names[true], names[other], int(wrong[true, other])) for true, other in pairs]

    def summary(self, part: str, count: int = 3) -> str | None:
        """Return one line about the most confused pairs, or None where nothing was confused."""
        pairs = self.pairs()
        if not pairs:
            return None
        said = ", ".join(f"{true} for {other} {times}" for true, other, times in pairs[:count])
        return f"{part:5} most often taken for another: {said}{', ...' if len(pairs) > count else ''}"


def _header(class_names: Sequence[str]) -> list[str]:
    return ["class", *(f"{_PREFIX}{name}" for name in class_names)]
