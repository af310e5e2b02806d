"""Check the output of a function that was loaded from an untrusted file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError, TransferError

Rows = NDArray[np.float32]


def check_output(
    run: Callable[[Any], Any],
    file: Path,
    width: int,
    *,
    failures: tuple[type[Exception], ...] = (RuntimeError, ValueError),
) -> Callable[[Any], Rows]:
    """Wrap `run` so that it returns one row of `width` numbers per input, or raises ModelError.

    Parameters
    ----------
    run : callable
        From an array of n inputs to an array of shape (n, width).
    file : Path
        Where the function comes from, for the message.
    width : int
    failures : tuple of types
        What `run` raises if the file is invalid.
    """

    def checked(inputs: Any) -> Rows:
        try:
            outputs = np.asarray(run(inputs), np.float32)
        except TransferError:
            raise
        except failures as error:
            raise ModelError(f"{file} could not be run: {error}.") from error
        if outputs.shape != (len(inputs), width):
            raise ModelError(
                f"{file} does not fit its bundle: expected an output of shape {(len(inputs), width)}. Received: "
                f"{outputs.shape}."
            )
        return outputs

    return checked
