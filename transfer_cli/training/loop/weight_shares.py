"""How far a fine-tuned network goes from its pretrained weights to the trained ones, chosen on validation images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SHARES = (0.0, 0.5, 1.0)
"""How far the weights may go from the pretrained to the trained ones."""
USUAL_SHARE = 0.5
"""The share that is left only for a lower log loss by more than one standard error; see docs/finetuning.md."""


def choose_share(losses: Mapping[float, NDArray[np.float64]]) -> float:
    """Return the share with the lowest log loss of those that are surely better than the usual one.

    Parameters
    ----------
    losses : mapping of float to ndarray of shape (v,)
        For each share the log loss of each validation image.

    Returns
    -------
    float
        `USUAL_SHARE`, unless the paired difference of another from it exceeds its standard error: a few validation
        images cannot tell more.
    """
    usual = losses[USUAL_SHARE]
    best, lowest = USUAL_SHARE, 0.0
    for share, each in losses.items():
        difference = each - usual
        mean, count = float(difference.mean()), len(difference)
        error = float(difference.std(ddof=1)) / np.sqrt(count) if count > 1 else np.inf
        if mean < -error and mean < lowest:
            best, lowest = share, mean
    return best
