"""A function out of a file that somebody else may have written: what it gives is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError, TransferError

Rows = NDArray[np.float32]


def guarded(
    run: Callable[[Any], Any],
    file: Path,
    width: int,
    *,
    failures: tuple[type[Exception], ...] = (RuntimeError, ValueError),
) -> Callable[[Any], Rows]:
    """Return `run` as one that gives a row of `width` numbers for each thing it is given, or raises ModelError.

    Parameters
    ----------
    run : callable
        From an array of n things to an array of shape (n, width).
    file : Path
        Where it came from, for a person.
    width : int
    failures : tuple of types
        What `run` raises where the file is not what it should be.
    """

    def rows(given: Any) -> Rows:
        try:
            found = np.asarray(run(given), np.float32)
        except TransferError:
            raise
        except failures as error:
            raise ModelError(f"{file} could not be run: {error}.") from error
        if found.shape != (len(given), width):
            raise ModelError(
                f"{file} does not fit its bundle: it gives numbers of the shape {found.shape}. "
                f"Expected {(len(given), width)}."
            )
        return found

    return rows
