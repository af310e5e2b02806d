"""How much of the linear probe is in the result of a fine-tuning, chosen on validation images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

USUAL_SHARE = 1 / 3
"""Share of the linear probe in the logits; measured in docs/finetuning.md."""


def probe_is_better(probe: NDArray[np.float64], mean: NDArray[np.float64]) -> bool:
    """Return whether the linear probe alone has a lower log loss than its mean with the fine-tuned network.

    Parameters
    ----------
    probe, mean : ndarray of shape (v,)
        Log loss of each validation image.

    Returns
    -------
    bool
        False unless the mean of the paired differences exceeds its standard error: a few validation images cannot tell
        more.
    """
    difference, count = mean - probe, len(probe)
    return count > 1 and float(difference.mean()) > float(difference.std(ddof=1)) / np.sqrt(count)
