"""A scikit-learn classifier of the catalog as nodes behind a network's features in an ONNX graph.

They are written here, from what each classifier has learnt, and not by skl2onnx, which does not know two of them
(NearestCentroid, HistGradientBoosting). Distances, calibrations and what follows a classifier are computed in float64,
as scikit-learn and the bundle do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from transfer_cli.calibration.temperature import LEAST
from transfer_cli.export.onnx.graph_builder import Drawing, UnknownOperationError
from transfer_cli.export.onnx.trees import boosted, forest, gradient_boosted


def draw_classifier(
    drawing: Drawing,
    features: str,
    pipeline: Any,
    *,
    classes: int,
    log_prior: Sequence[float] | None,
    temperature: float | None,
) -> str:
    """Add a fitted pipeline and what follows it in a bundle; return the name of the probabilities.

    It is what classify.probabilities, linear.less_common and calibration.tempered do.

    Raises
    ------
    UnknownOperationError
        At a step that no row knows.
    """
    *before, last = (step for _, step in pipeline.steps)
    rows = features
    for step in before:
        if type(step).__name__ != "StandardScaler":
            raise UnknownOperationError(f"the classifier begins with a {type(step).__name__}")
        rows = drawing.node("Sub", rows, drawing.constant(step.mean_))
        rows = drawing.node("Div", rows, drawing.constant(step.scale_))
    result = _probabilities(drawing, last, rows)
    learnt = [int(column) for column in pipeline.classes_]
    if learnt != list(range(classes)):
        result = drawing.node("MatMul", result, drawing.constant(np.eye(classes)[learnt]))
    if log_prior is not None:
        odds = drawing.node("Mul", _wide(drawing, result), drawing.constant(np.exp(-np.array(log_prior)), np.float64))
        result = _narrow(drawing, _shares(drawing, odds))
    if temperature is not None:
        given = _wide(drawing, result)
        logits = drawing.node("Log", drawing.node("Max", given, drawing.constant(LEAST, np.float64)))
        powers = drawing.node(
            "Softmax", drawing.node("Div", logits, drawing.constant(temperature, np.float64)), axis=-1
        )
        # A class that was never learnt stays impossible.
        possible = _wide(drawing, drawing.node("Greater", given, drawing.constant(0, np.float64)))
        result = _narrow(drawing, _shares(drawing, drawing.node("Mul", powers, possible)))
    return result


def _wide(drawing: Drawing, values: str) -> str:
    return drawing.node("Cast", values, to=onnx.TensorProto.DOUBLE)


def _narrow(drawing: Drawing, values: str) -> str:
    return drawing.node("Cast", values, to=onnx.TensorProto.FLOAT)


def _probabilities(drawing: Drawing, classifier: Any, rows: str) -> str:
    kind = type(classifier).__name__
    if kind not in _CLASSIFIERS:
        raise UnknownOperationError(f"the classifier is a {kind}")
    return _CLASSIFIERS[kind](drawing, classifier, rows)


def _shares(drawing: Drawing, values: str) -> str:
    total = drawing.node("ReduceSum", values, drawing.constant([1], np.int64), keepdims=1)
    return drawing.node("Div", values, total)


def _column(drawing: Drawing, values: str, column: int) -> str:
    return drawing.node("Gather", values, drawing.constant([column], np.int64), axis=1)


def _of_two(drawing: Drawing, second: str) -> str:
    """Return the probabilities of two classes from that of the second, in float64."""
    both = drawing.node("Concat", drawing.node("Sub", drawing.constant(1, np.float64), second), second, axis=1)
    return _narrow(drawing, both)


def _affine(drawing: Drawing, rows: str, kernel: Any, bias: Any, dtype: Any = np.float64) -> str:
    return drawing.node("Gemm", rows, drawing.constant(kernel, dtype), drawing.constant(bias, dtype))


def _activated(drawing: Drawing, logits: str, count: int) -> str:
    """Return probabilities of logits in float64: a softmax, or of two classes the sigmoid of the one logit there is.

    In float32 ONNX Runtime's sigmoid is off by 1e-7, which a temperature makes much of where nothing is near it.
    """
    if count == 1:
        return _of_two(drawing, drawing.node("Sigmoid", logits))
    return _narrow(drawing, drawing.node("Softmax", logits, axis=-1))


def _linear(drawing: Drawing, classifier: Any, rows: str) -> str:
    logits = _affine(drawing, _wide(drawing, rows), classifier.coef_.T, classifier.intercept_)
    return _activated(drawing, logits, len(classifier.coef_))


def _mlp(drawing: Drawing, classifier: Any, rows: str) -> str:
    if classifier.activation != "relu":
        raise UnknownOperationError(f"the classifier has the activation {classifier.activation}")
    *hidden, (kernel, bias) = zip(classifier.coefs_, classifier.intercepts_, strict=True)
    for weights, shift in hidden:
        rows = drawing.node("Relu", _affine(drawing, rows, weights, shift, np.float32))
    return _activated(drawing, _affine(drawing, _wide(drawing, rows), kernel, bias), kernel.shape[1])


def _neighbours(drawing: Drawing, classifier: Any, rows: str) -> str:
    if classifier.weights != "distance" or classifier.effective_metric_ != "euclidean":
        raise UnknownOperationError("the classifier weighs neighbours in another way than by their distance")
    wide = _wide(drawing, rows)
    squares = _squared_distances(drawing, wide, classifier._fit_X)
    count = drawing.constant([classifier.n_neighbors], np.int64)
    nearest = drawing.node("Neg", squares)
    top = f"{nearest}_nearest", f"{nearest}_places"
    drawing.nodes.append(onnx.helper.make_node("TopK", [nearest, count], top, name=f"{nearest}_top"))
    lengths = drawing.node("Sqrt", drawing.node("Neg", top[0]))
    # Beside a picture that was learnt from nothing else counts.
    least = drawing.constant(1e-30, np.float64)
    shares = _shares(drawing, drawing.node("Reciprocal", drawing.node("Max", lengths, least)))
    weights = _narrow(drawing, shares)
    of_class = drawing.constant(np.eye(len(classifier.classes_))[classifier._y])
    labels = drawing.node("Gather", of_class, top[1], axis=0)
    axis = drawing.constant([1], np.int64)
    product = drawing.node("MatMul", drawing.node("Unsqueeze", weights, axis), labels)
    return drawing.node("Squeeze", product, axis)


def _squared_distances(drawing: Drawing, rows: str, points: NDArray[np.floating[Any]]) -> str:
    """Return the squared distance of each row, in float64, to each point."""
    axis = drawing.constant([1], np.int64)
    own = drawing.node("ReduceSum", drawing.node("Mul", rows, rows), axis, keepdims=1)
    theirs = (points.astype(np.float64) ** 2).sum(axis=1)
    products = _affine(drawing, rows, -2 * points.T.astype(np.float64), theirs)
    return drawing.node("Max", drawing.node("Add", products, own), drawing.constant(0, np.float64))


def _calibrated(drawing: Drawing, classifier: Any, rows: str) -> str:
    """Add a calibrated score, all of it in float64: a steep calibration enlarges what is rounded."""
    if len(classifier.calibrated_classifiers_) != 1:
        raise UnknownOperationError("the classifier is the mean of several calibrations")
    (only,) = classifier.calibrated_classifiers_
    kind = type(only.estimator).__name__
    if kind not in _SCORES or list(only.estimator.classes_) != list(only.classes):
        raise UnknownOperationError(f"the classifier calibrates a {kind}")
    wide = _wide(drawing, rows)
    scores, count = _SCORES[kind](drawing, only.estimator, wide), len(only.classes)
    if only.method == "temperature":
        # Of two classes the score of the second, x, stands for the logits -x and x.
        sharpness = only.calibrators[0].beta_ * (2 if count == 2 else 1)
        logits = drawing.node("Mul", scores, drawing.constant(sharpness, np.float64))
        return _activated(drawing, logits, 1 if count == 2 else count)
    slopes = drawing.constant([calibrator.a_ for calibrator in only.calibrators], np.float64)
    shifts = drawing.constant([calibrator.b_ for calibrator in only.calibrators], np.float64)
    # Platt's sigmoid falls where its slope is positive.
    logits = drawing.node("Neg", drawing.node("Add", drawing.node("Mul", scores, slopes), shifts))
    given = drawing.node("Sigmoid", logits)
    return _of_two(drawing, given) if count == 2 else _narrow(drawing, _shares(drawing, given))


def _score_of_linear(drawing: Drawing, machine: Any, rows: str) -> str:
    return _affine(drawing, rows, machine.coef_.T, machine.intercept_)


def _score_of_centroids(drawing: Drawing, classifier: Any, rows: str) -> str:
    """Return the scores less what all classes have in common, the square of the row itself."""
    spread = np.where(classifier.within_class_std_dev_ == 0, 1, classifier.within_class_std_dev_)
    centroids = classifier.centroids_ / spread
    kernel = 2 * centroids.T / spread[:, None]
    bias = 2 * np.log(classifier.class_prior_) - (centroids**2).sum(axis=1)
    if len(centroids) == 2:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    return _affine(drawing, rows, kernel, bias)


def _score_of_support_vectors(drawing: Drawing, machine: Any, rows: str) -> str:
    """Return the scores of a Gaussian kernel: one against one, then by votes with the sums of their margins."""
    if machine.kernel != "rbf":
        raise UnknownOperationError(f"the classifier has the kernel {machine.kernel}")
    squares = _squared_distances(drawing, rows, machine.support_vectors_)
    kernel = drawing.node("Exp", drawing.node("Mul", squares, drawing.constant(-machine._gamma, np.float64)))
    count = len(machine.classes_)
    if count == 2:
        return _affine(drawing, kernel, machine.dual_coef_.T, machine.intercept_)
    ends = np.cumsum(machine.n_support_)
    own = [slice(end - length, end) for end, length in zip(ends, machine.n_support_, strict=True)]
    pairs = [(first, second) for first in range(count) for second in range(first + 1, count)]
    weights = np.zeros((len(machine.support_vectors_), len(pairs)))
    towards_first, towards_second = (np.zeros((len(pairs), count)) for _ in range(2))
    for place, (first, second) in enumerate(pairs):
        weights[own[first], place] = machine.dual_coef_[second - 1, own[first]]
        weights[own[second], place] = machine.dual_coef_[first, own[second]]
        towards_first[place, first] = towards_second[place, second] = 1
    margins = _affine(drawing, kernel, weights, machine.intercept_)
    below = drawing.node("Less", margins, drawing.constant(0, np.float64))
    lost = _wide(drawing, below)
    votes = _affine(drawing, lost, towards_second - towards_first, towards_first.sum(axis=0))
    sums = drawing.node("MatMul", margins, drawing.constant(towards_first - towards_second, np.float64))
    beyond = drawing.node("Add", drawing.node("Abs", sums), drawing.constant(1, np.float64))
    confidence = drawing.node("Div", sums, drawing.node("Mul", beyond, drawing.constant(3, np.float64)))
    return drawing.node("Add", votes, confidence)


def _gradient_boosted(drawing: Drawing, classifier: Any, rows: str) -> str:
    logits = _wide(drawing, gradient_boosted(drawing, classifier, rows))
    return _activated(drawing, logits, classifier.n_trees_per_iteration_)


def _of_labels(drawing: Drawing, classifier: Any, rows: str) -> str:
    columns = [_column(drawing, _probabilities(drawing, each, rows), 1) for each in classifier.estimators_]
    return drawing.node("Concat", *columns, axis=1)


def _of_one_mind(drawing: Drawing, classifier: Any, rows: str) -> str:
    always = drawing.constant(float(np.ravel(classifier.y_)[0]))
    return _of_two(drawing, _wide(drawing, drawing.node("Clip", _column(drawing, rows, 0), always, always)))


_SCORES: dict[str, Callable[[Drawing, Any, str], str]] = {
    "LinearSVC": _score_of_linear,
    "NearestCentroid": _score_of_centroids,
    "SVC": _score_of_support_vectors,
}
_CLASSIFIERS: dict[str, Callable[[Drawing, Any, str], str]] = {
    "AdaBoostClassifier": boosted,
    "BaggingClassifier": forest,
    "CalibratedClassifierCV": _calibrated,
    "ExtraTreesClassifier": forest,
    "HistGradientBoostingClassifier": _gradient_boosted,
    "KNeighborsClassifier": _neighbours,
    "LinearDiscriminantAnalysis": _linear,
    "LogisticRegression": _linear,
    "MLPClassifier": _mlp,
    "OneVsRestClassifier": _of_labels,
    "RandomForestClassifier": forest,
    "_ConstantPredictor": _of_one_mind,
}
