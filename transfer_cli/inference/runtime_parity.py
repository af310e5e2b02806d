"""Whether a converted graph gives what Keras gives, on real pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COSINE = {"f32": 0.9999, "bf16": 0.999}
"""The least cosine between two rows of features, by the numbers that were computed in."""
DEVIATION = {"f32": 0.01, "bf16": 0.1}
"""How far rows may be off, as a share of how much pictures differ from each other."""
LEAD = {"f32": 1e-4, "bf16": 0.02}
"""By how much a class must lead before another in its place is a fault."""
_TELLS_APART = 1e-4


def disagreement(
    expected: NDArray[np.float32], given: NDArray[np.float32], precision: str = "f32", *, classes: bool = False
) -> str | None:
    """Return in what way the rows of a converted graph are not those of Keras, or None where they agree.

    A cosine alone would let a graph pass that ignores the picture, since the features of all pictures have much in
    common; so what is left without their mean is compared, too, where pictures can be told apart at all.

    Parameters
    ----------
    expected, given : ndarray of shape (n, ...), float32
        Of Keras and of the converted graph, for the same pictures.
    precision : {"f32", "bf16"}
    classes : bool
        Whether the rows are probabilities, so that their largest value must stay where it is, if it leads.
    """
    if expected.shape != given.shape:
        return f"its output has the shape {given.shape}, not {expected.shape}"
    right, other = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (expected, given))
    if not np.isfinite(other).all():
        return "its output is not finite"
    lengths = np.linalg.norm(right, axis=1) * np.linalg.norm(other, axis=1)
    both_zero = ~right.any(axis=1) & ~other.any(axis=1)
    cosines = np.where(both_zero, 1.0, (right * other).sum(axis=1) / np.where(lengths, lengths, 1.0))
    if cosines.min() < COSINE[precision]:
        return f"the least cosine is {cosines.min():.6f}, below {COSINE[precision]}"
    spread = np.linalg.norm(right - right.mean(axis=0))
    if spread > _TELLS_APART * np.linalg.norm(right):
        off = np.linalg.norm(other - right) / spread
        if off > DEVIATION[precision]:
            return f"it is off by {off:.2g} of what pictures differ by, above {DEVIATION[precision]}"
    if classes:
        best, rows = right.argmax(axis=1), np.arange(len(right))
        # Between equals either may win: what counts is a lead that rounding cannot turn.
        lead = right[rows, best] - right[rows, other.argmax(axis=1)]
        if moved := int((lead > LEAD[precision]).sum()):
            return f"{moved} of {len(right)} pictures get another class"
    return None
