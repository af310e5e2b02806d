"""Calibration: reliability diagram, ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.metrics.curves import precision_recall, reliability, roc
from transfer_cli.metrics.scores import BINS, bins_of
from transfer_cli.rendering.svg_charts import Chart, Line
from transfer_cli.report.context import ReportContext
from transfer_cli.report.sections.section import Section
from transfer_cli.runs.completed_run import FinishedRun, PartPredictions

MAX_CURVES = 12
"""Classes per chart: those with the lowest area under their curve."""
_BAR_HEIGHT = 0.4
"""Height of the fullest bin in the background of the reliability diagram."""
_UNIT = ((0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class CalibrationSection(Section):
    """Charts of each split, what the bundle does about calibration, and whether val was used to fit a temperature."""

    id = "calibration"
    title = "Calibration"
    charts: Mapping[str, Sequence[Chart]]
    temperature_fitted: bool
    sentences: Sequence[str]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        what, nothing = "the calibration of the model", (False, list[str]())
        fitted, sentences = context.attempt(what, lambda: _calibration_of_bundle(context.run), nothing)
        charts = {name: charts_of(part, context.names) for name, part in context.parts.items()}
        return cls(charts, fitted, sentences)


def charts_of(part: PartPredictions, names: Sequence[str]) -> list[Chart]:
    """Return the reliability diagram (except in a multi-label task), and the ROC and precision-recall curves."""
    charts = [_reliability_diagram(part)] if part.truth.ndim == 1 else []
    return [*charts, *_curves(part, names)]


def _reliability_diagram(part: PartPredictions) -> Chart:
    """Return accuracy by confidence (Guo et al. 2017, "On calibration of modern neural networks")."""
    points = reliability(part.truth, part.predictions.probabilities)
    bins = ", ".join(
        f"confidence {100 * confidence:.0f} %: accuracy {100 * accuracy:.0f} % ({number})"
        for confidence, accuracy, number in zip(points.confidence, points.accuracy, points.images, strict=True)
    )
    line = list(zip(points.confidence.tolist(), points.accuracy.tolist(), strict=True))
    return Chart(
        "reliability diagram",
        f"Reliability diagram. Mean confidence, accuracy and number of images per bin: {bins}.",
        ("confidence", "accuracy"),
        [Line("perfect calibration", ((0, 0), (1, 1)), "faint"), Line("this model", line, "line", dots=True)],
        _UNIT,
        bars=[
            (place / BINS, (place + 1) / BINS, _BAR_HEIGHT * float(count / points.images.max()))
            for place, count in zip(bins_of(points.confidence).tolist(), points.images, strict=True)
        ],
    )


def _curves(part: PartPredictions, names: Sequence[str]) -> list[Chart]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = part.predictions.probabilities
    truth = part.truth if part.truth.ndim == 2 else part.truth[:, None] == np.arange(len(names))
    has = truth.T > 0
    drawn = [column for column, mask in enumerate(has) if mask.any() and not mask.all()]
    if not drawn:
        return []
    subset = f" (the {MAX_CURVES} lowest of {len(drawn)} classes)" if len(drawn) > MAX_CURVES else ""

    def lines_of(curve: Callable[..., NDArray[np.float64]], area: Callable[..., float]) -> list[Line]:
        areas = {column: area(has[column], scores[:, column]) for column in drawn}
        lowest = sorted(drawn, key=lambda column: areas[column])[:MAX_CURVES]
        points = {column: curve(has[column], scores[:, column]) for column in lowest}
        return [_line(f"{names[column]} {areas[column]:.2f}", points[column], column) for column in lowest]

    rocs, recalls = lines_of(roc, roc_auc_score), lines_of(precision_recall, average_precision_score)
    return [
        Chart(
            f"ROC curves, with area under the curve{subset}",
            f"ROC curve of each class against the others{subset}; area under the curve: {_labels(rocs)}.",
            ("false positive rate", "true positive rate (recall)"),
            [*rocs, Line("random", ((0, 0), (1, 1)), "faint")],
            _UNIT,
        ),
        Chart(
            f"precision-recall curves, with average precision{subset}",
            f"Precision-recall curve of each class{subset}; average precision: {_labels(recalls)}.",
            ("recall", "precision"),
            recalls,
            _UNIT,
        ),
    ]


def _line(label: str, points: NDArray[np.float64], column: int) -> Line:
    # Smaller steps are invisible and would only enlarge the page.
    points = np.round(points, 3)
    kept = np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])
    return Line(label, [(float(x), float(y)) for x, y in points[kept]], "line of", column=column)


def _labels(lines: Sequence[Line]) -> str:
    return ", ".join(line.label for line in lines)


def _calibration_of_bundle(run: FinishedRun) -> tuple[bool, list[str]]:
    """Return whether a temperature was fitted, and sentences about it and about the reject option.

    Raises
    ------
    ModelError
        If the bundle is damaged.
    """
    if not run.directory.model.is_dir():
        return False, []
    bundle, directory = ModelBundle.read(run.directory.path)
    temperature = bundle.temperature or 1
    sentences: list[str] = []
    if temperature != 1:
        which = "overconfident" if temperature > 1 else "underconfident"
        sentences.append(
            f"Temperature scaling: on the validation set the model was {which}, so its logits are divided by "
            f"{temperature:.2f}, here and in every prediction."
        )
    if REJECTION_FILE in bundle.files:
        threshold = Rejection.load(directory / REJECTION_FILE).threshold_for()
        sentences.append(
            "Reject option: `transfer-cli predict --unknown` labels an image unknown if its confidence is low or it is "
            f"unlike the training images. {threshold.summary()}."
        )
    return temperature != 1, sentences
