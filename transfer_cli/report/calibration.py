"""How far a probability is to be believed, and what a threshold on it would find and cost: as charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.metrics.curves import precision_recall, reliability, roc
from transfer_cli.metrics.scores import BINS, bins_of
from transfer_cli.rendering.svg_charts import Chart, Line
from transfer_cli.runs.completed_run import Answered, FinishedRun

LINES = 12
"""So many classes are drawn at most: those whose curve is the worst."""
_BAR = 0.4
"""How high the bar of the fullest bin is, so that the line stays in front."""
_UNIT = ((0.0, 1.0), (0.0, 1.0))
_HALF = Line("at random", ((0, 0), (1, 1)), "faint")


def charts_of(part: Answered, names: Sequence[str]) -> list[Chart]:
    """Return the reliability diagram (of one class a picture), and the ROC and precision-recall curves of the classes.

    Parameters
    ----------
    part : Answered
    names : sequence of str
    """
    charts = [_reliability(part)] if part.truth.ndim == 1 else []
    return [*charts, *_curves(part, names)]


def _reliability(part: Answered) -> Chart:
    """Return how often answers are right that were given with so much probability (Guo et al. 2017)."""
    points = reliability(part.truth, part.predictions.probabilities)
    said = ", ".join(
        f"{100 * mean:.0f} % sure: {100 * share:.0f} % right ({number})"
        for mean, share, number in zip(points.confidence, points.accuracy, points.images, strict=True)
    )
    return Chart(
        "is it as sure as it is right?",
        f"Reliability diagram. Mean confidence, share that is right and number of pictures: {said}.",
        ("how sure it was", "share that is right"),
        [
            Line("as sure as right", ((0, 0), (1, 1)), "faint"),
            Line(
                "this classifier",
                list(zip(points.confidence.tolist(), points.accuracy.tolist(), strict=True)),
                "line",
                dots=True,
            ),
        ],
        _UNIT,
        bars=[
            (place / BINS, (place + 1) / BINS, _BAR * float(count / points.images.max()))
            for place, count in zip(bins_of(points.confidence).tolist(), points.images, strict=True)
        ],
    )


def _curves(part: Answered, names: Sequence[str]) -> list[Chart]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    given = part.predictions.probabilities
    has = [part.truth[:, column] > 0 if part.truth.ndim == 2 else part.truth == column for column in range(len(names))]
    drawn = [column for column, there in enumerate(has) if there.any() and not there.all()]
    if not drawn:
        return []
    area = {column: float(roc_auc_score(has[column], given[:, column])) for column in drawn}
    step = {column: float(average_precision_score(has[column], given[:, column])) for column in drawn}
    rocs, recalls = [], []
    for column in sorted(drawn, key=lambda column: area[column])[:LINES]:
        points = roc(has[column], given[:, column])
        rocs.append(_line(f"{names[column]} {area[column]:.2f}", points, column))
    for column in sorted(drawn, key=lambda column: step[column])[:LINES]:
        points = precision_recall(has[column], given[:, column])
        recalls.append(_line(f"{names[column]} {step[column]:.2f}", points, column))
    left = f", the {LINES} worst of {len(drawn)} classes" if len(drawn) > LINES else ""
    return [
        Chart(
            f"ROC: found against false alarms{left}",
            f"ROC curve of each class against the rest{left}; area under each: {_named(rocs)}.",
            ("false alarms among the others", "found"),
            [*rocs, _HALF],
            _UNIT,
        ),
        Chart(
            f"precision against recall{left}",
            f"Precision-recall curve of each class{left}; average precision of each: {_named(recalls)}.",
            ("recall", "precision"),
            recalls,
            _UNIT,
        ),
    ]


def _line(label: str, points: NDArray[np.float64], column: int) -> Line:
    # Steps that nobody could see would only make the page longer.
    points = np.round(points, 3)
    kept = np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])
    return Line(label, [(float(across), float(up)) for across, up in points[kept]], "line of", column=column)


def _named(lines: Sequence[Line]) -> str:
    return ", ".join(line.label for line in lines)


@dataclass(frozen=True)
class OfBundle:
    """What a bundle does about its certainty, a sentence each, and whether val was used for a temperature."""

    sentences: tuple[str, ...]
    has_temperature: bool


def of_bundle(run: FinishedRun) -> OfBundle:
    """Return what the bundle of a run does about its certainty; nothing where there is no bundle.

    Raises
    ------
    ModelError
        When the bundle is damaged.
    """
    if not run.directory.model.is_dir():
        return OfBundle((), False)
    bundle, directory = ModelBundle.read(run.directory.path)
    said = []
    if bundle.temperature is not None and bundle.temperature != 1:
        which = "less sure" if bundle.temperature > 1 else "surer"
        said.append(
            f"On val it was seen that it should be {which}: its logits are divided by {bundle.temperature:.2f}, "
            "here and wherever it predicts."
        )
    if REJECTION_FILE in bundle.files:
        bar = Rejection.load(directory / REJECTION_FILE).bar()
        said.append(
            "transfer-cli predict --unknown says unknown of pictures whose class is improbable, or that are unlike all "
            f"that was learnt from: {bar.summary()}."
        )
    return OfBundle(tuple(said), bundle.temperature is not None and bundle.temperature != 1)
