"""What every exported file computes: probabilities from images; and the names of its input and output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.runtimes import RUNTIME_BATCH

INPUT, OUTPUT = "images", "probabilities"

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]
Run = Callable[[Images], Rows]


def in_batches(run: Run) -> Run:
    """Return a function for any number of images, which runs batches of `RUNTIME_BATCH`."""
    return lambda images: np.concatenate(
        [run(images[start : start + RUNTIME_BATCH]) for start in range(0, len(images), RUNTIME_BATCH)]
    )
