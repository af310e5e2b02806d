"""Compare the output of a converted graph with that of Keras on real images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.text import counted

MIN_COSINE = {"f32": 0.9999, "bf16": 0.999}
"""Minimum cosine similarity of two feature vectors, by precision."""
MAX_DEVIATION = {"f32": 0.01, "bf16": 0.1}
"""Maximum deviation, relative to the spread between images."""
MIN_LEAD = {"f32": 1e-4, "bf16": 0.02}
"""A changed label is a fault if its probability led by more than this."""
_MIN_SPREAD = 1e-4


def parity_fault(
    expected: NDArray[np.float32], output: NDArray[np.float32], precision: str = "f32", *, classes: bool = False
) -> str | None:
    """Return how the output of a converted graph differs from that of Keras; None if they agree.

    Cosine similarity alone would accept a graph that ignores its input, since the features of all images have a large
    common part. So the deviation is also compared with the spread around the mean, unless the images have nearly
    equal features.

    Parameters
    ----------
    expected, output : ndarray of shape (n, ...), float32
        Of Keras and of the converted graph, for the same images.
    precision : {"f32", "bf16"}
    classes : bool
        Whether the output is probabilities, so that labels must not change.
    """
    if expected.shape != output.shape:
        return f"output shape {output.shape}, expected {expected.shape}"
    right, other = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (expected, output))
    if not np.isfinite(other).all():
        return "output is not finite"
    lengths = np.linalg.norm(right, axis=1) * np.linalg.norm(other, axis=1)
    both_zero = ~right.any(axis=1) & ~other.any(axis=1)
    cosines = np.where(both_zero, 1.0, (right * other).sum(axis=1) / np.where(lengths, lengths, 1.0))
    if cosines.min() < MIN_COSINE[precision]:
        return f"lowest cosine similarity {cosines.min():.6f}, expected {MIN_COSINE[precision]} or more"
    spread = np.linalg.norm(right - right.mean(axis=0))
    if spread > _MIN_SPREAD * np.linalg.norm(right):
        deviation, limit = np.linalg.norm(other - right) / spread, MAX_DEVIATION[precision]
        if deviation > limit:
            return f"deviation {deviation:.2g} of the spread between images, expected {limit} or less"
    if classes:
        best, rows = right.argmax(axis=1), np.arange(len(right))
        # Between nearly equal probabilities rounding may change the label.
        lead = right[rows, best] - right[rows, other.argmax(axis=1)]
        if changed := int((lead > MIN_LEAD[precision]).sum()):
            return f"{changed} of {counted(len(right), 'image')} get another label"
    return None
