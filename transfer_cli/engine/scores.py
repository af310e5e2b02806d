"""What a trained model says of the parts of its run: tables of predictions and figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics import Figure, score
from transfer_cli.predictions import Predictions, writer
from transfer_cli.run import RunDirectory
from transfer_cli.split import Split
from transfer_cli.writing import written_whole

Scored = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row numbers in the split, and the probabilities of each."""


def score_parts(run: RunDirectory, split: Split, scored: Mapping[str, Scored]) -> dict[str, dict[str, Figure]]:
    """Write the predictions of each part beside the truth and return its figures.

    Parameters
    ----------
    run : RunDirectory
    split : Split
    scored : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        For each part the row numbers in the split and the probabilities. A part without rows is left out.
    """
    truth = split.truth()
    metrics = {}
    for part, (indices, probabilities) in scored.items():
        if not len(indices):
            continue
        metrics[part] = score(truth[indices], probabilities)
        rows = [split.rows[index] for index in indices]
        batch = Predictions(tuple(row.path for row in rows), split.class_names, probabilities)
        with written_whole(run.predictions(part)) as draft, draft.open("wb") as target:
            table = writer("csv", target, split.class_names, truth=True)
            table.append(batch, [row.label for row in rows])
            table.close()
    return metrics
