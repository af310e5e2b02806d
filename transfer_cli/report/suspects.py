"""The images that a model contradicts with confidence, as a table to look through: `--omit` leaves them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from transfer_cli.audit.findings import LABEL_ISSUE_COLUMNS
from transfer_cli.io.atomic import remove
from transfer_cli.io.csv_tables import write_table
from transfer_cli.report.run_facts import CONFIDENT
from transfer_cli.runs.completed_run import FinishedRun, PartPredictions


def write_suspects(run: FinishedRun, parts: Mapping[str, PartPredictions]) -> None:
    """Write the confident mistakes of a single-label run to suspects.csv, the most suspicious first.

    Parameters
    ----------
    run : FinishedRun
    parts : dict of str to PartPredictions
    """
    rows = sorted({row for part in parts.values() for row in _mistakes(part)}, key=lambda row: (row[3], row[0]))
    if rows:
        write_table(run.directory.suspects, LABEL_ISSUE_COLUMNS, rows)
    else:
        remove(run.directory.suspects)


def _mistakes(part: PartPredictions) -> Iterator[tuple[str, str, str, float, str]]:
    if part.truth.ndim != 1:
        return
    probabilities, names = part.predictions.probabilities, part.predictions.class_names
    for place in np.flatnonzero((part.predicted != part.truth) & (probabilities.max(axis=1) >= CONFIDENT)):
        true, predicted = part.truth[place], part.predicted[place]
        score = round(float(probabilities[place, true]), 4)
        yield part.predictions.paths[place], names[true], names[predicted], score, "yes"
