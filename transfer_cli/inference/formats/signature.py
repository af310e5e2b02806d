"""What every exported file computes: probabilities from images; and the names of its input and output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.runtimes import RUNTIME_BATCH
from transfer_cli.errors import ModelError

INPUT, OUTPUT = "images", "probabilities"

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]
Run = Callable[[Images], Rows]


def check_side(path: Path, expected: int | None, received: object) -> None:
    """Raise ModelError unless the images that a network takes have the side in its metadata; None is not checked."""
    if expected is not None and received != expected:
        raise ModelError(
            f"{path} was refused: its metadata says images of {expected} x {expected} pixels, its network takes "
            f"{received} x {received}. Use an unaltered copy."
        )


def in_batches(run: Run) -> Run:
    """Return a function for any number of images, which runs batches of `RUNTIME_BATCH`."""
    return lambda images: np.concatenate(
        [run(images[start : start + RUNTIME_BATCH]) for start in range(0, len(images), RUNTIME_BATCH)]
    )
