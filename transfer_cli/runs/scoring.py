"""What a trained model says of the parts of its run: tables of predictions and figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.fit import Scored
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.predictions import Predictions, writer
from transfer_cli.data.split import Split
from transfer_cli.io.atomic import written_whole
from transfer_cli.metrics import curves
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import Figure
from transfer_cli.runs.run_directory import RunDirectory


def thresholds_note(split: Split) -> str:
    """Return what a person should know of the figures of val where thresholds were fitted on it."""
    return "" if split.task == SINGLE_LABEL else "the thresholds of F1 were fitted on it"


def score_parts(
    run: RunDirectory, split: Split, scored: Mapping[str, Scored], thresholds: NDArray[np.float64] | None = None
) -> dict[str, dict[str, Figure]]:
    """Write the predictions of each part beside the truth, its confusions and curves; return its figures.

    Parameters
    ----------
    run : RunDirectory
    split : Split
    scored : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        For each part the row numbers in the split and the probabilities. A part without rows is left out.
    thresholds : ndarray of shape (k,), optional
        From which probability on a picture has a label, of a multi-label task.
    """
    truth = split.truth()
    metrics = {}
    for part, (indices, probabilities) in scored.items():
        if not len(indices):
            continue
        metrics[part] = score(truth[indices], probabilities, thresholds, split.class_names)
        if thresholds is None:
            confused = Confusion.of(truth[indices], probabilities.argmax(axis=1), split.class_names)
            confused.write(run.confusion(part))
        curves.write(run.curves(part), truth[indices], probabilities, split.class_names)
        rows = [split.rows[index] for index in indices]
        bars = None if thresholds is None else tuple(thresholds.tolist())
        batch = Predictions(tuple(row.path for row in rows), split.class_names, probabilities, (), bars)
        with written_whole(run.predictions(part)) as draft, draft.open("wb") as target:
            table = writer("csv", target, split.class_names, truth=True, several=bars is not None)
            table.append(batch, [row.truth for row in rows])
            table.close()
    return metrics
