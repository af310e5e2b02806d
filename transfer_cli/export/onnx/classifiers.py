"""The scikit-learn classifiers of the catalog as nodes of an ONNX graph, after the features of a network.

skl2onnx is not used. Of the 12 classifiers of the catalog, version 1.20 converts 8 correctly. It does not know
NearestCentroid, does not write the trees of HistGradientBoosting (opset 17, scikit-learn 1.9), and its probabilities
differ by 0.03 for k nearest neighbours and by 0.15 for two-class linear discriminants. Its graphs for the other 8 would
replace 50 lines of this package, less the code that merges them into the graph of the network.

Distances, calibrations and the steps after a classifier are computed in float64, as in scikit-learn and in the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from transfer_cli.calibration import temperature as temperature_scaling
from transfer_cli.export.onnx.graph_builder import GraphBuilder, require
from transfer_cli.export.onnx.trees import adaboost, forest, gradient_boosting_logits


def add_classifier(
    builder: GraphBuilder,
    features: str,
    pipeline: Any,
    *,
    classes: int,
    log_prior: Sequence[float] | None,
    temperature: float | None,
) -> str:
    """Add a fitted pipeline, and the corrections of its probabilities; return the name of the result.

    The graph computes `fit.probabilities`, `linear.remove_log_prior` and `temperature.apply_temperature`.

    Raises
    ------
    UnsupportedOperationError
        For a step that is not in the catalog.
    """
    *scalers, classifier = (step for _, step in pipeline.steps)
    rows = features
    for scaler in scalers:
        require(type(scaler).__name__ == "StandardScaler", f"classifier after a {type(scaler).__name__}")
        rows = builder.add_node("Sub", rows, np.asarray(scaler.mean_, np.float32))
        rows = builder.add_node("Div", rows, np.asarray(scaler.scale_, np.float32))
    result = _probabilities(builder, classifier, rows)
    trained = [int(column) for column in pipeline.classes_]
    # The result for several labels has a column for each; that of a single label has the classes 0 and 1 here.
    if trained != list(range(classes)) and type(classifier).__name__ != "OneVsRestClassifier":
        result = builder.add_node("MatMul", result, np.eye(classes, dtype=np.float32)[trained])
    if log_prior is not None:
        weighted = builder.add_node("Mul", _to_float64(builder, result), np.exp(-np.array(log_prior)))
        result = _to_float32(builder, _normalized(builder, weighted))
    return result if temperature is None else _apply_temperature(builder, result, temperature)


def _apply_temperature(builder: GraphBuilder, probabilities: str, temperature: float) -> str:
    wide = _to_float64(builder, probabilities)
    logits = builder.add_node("Log", builder.add_node("Max", wide, temperature_scaling.MIN_PROBABILITY))
    scaled = builder.add_node("Div", logits, float(temperature))
    powers = builder.add_node("Softmax", scaled, axis=-1)
    # A class without training images stays impossible.
    possible = _to_float64(builder, builder.add_node("Greater", wide, 0.0))
    return _to_float32(builder, _normalized(builder, builder.add_node("Mul", powers, possible)))


def _to_float64(builder: GraphBuilder, values: str) -> str:
    return builder.add_node("Cast", values, to=onnx.TensorProto.DOUBLE)


def _to_float32(builder: GraphBuilder, values: str) -> str:
    return builder.add_node("Cast", values, to=onnx.TensorProto.FLOAT)


def _probabilities(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    kind = type(classifier).__name__
    require(kind in _CLASSIFIERS, f"classifier {kind}")
    return _CLASSIFIERS[kind](builder, classifier, rows)


def _normalized(builder: GraphBuilder, values: str) -> str:
    """Divide each row by its sum."""
    return builder.add_node("Div", values, builder.add_node("ReduceSum", values, [1], keepdims=1))


def _get_column(builder: GraphBuilder, values: str, column: int) -> str:
    return builder.add_node("Gather", values, [column], axis=1)


def _two_classes(builder: GraphBuilder, second: str) -> str:
    """Return the probabilities of two classes from that of the second in float64."""
    first = builder.add_node("Sub", 1.0, second)
    return _to_float32(builder, builder.add_node("Concat", first, second, axis=1))


def _affine(builder: GraphBuilder, rows: str, kernel: Any, bias: Any, dtype: Any = np.float64) -> str:
    return builder.add_node("Gemm", rows, np.asarray(kernel, dtype), np.asarray(bias, dtype))


def _probabilities_of_logits(builder: GraphBuilder, logits: str, count: int) -> str:
    """Add a softmax of float64 logits, or a sigmoid where two classes have one logit.

    In float32, the error of ONNX Runtime's sigmoid is 1e-7, which a temperature amplifies near 0.
    """
    if count == 1:
        return _two_classes(builder, builder.add_node("Sigmoid", logits))
    return _to_float32(builder, builder.add_node("Softmax", logits, axis=-1))


def _linear(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    logits = _affine(builder, _to_float64(builder, rows), classifier.coef_.T, classifier.intercept_)
    return _probabilities_of_logits(builder, logits, len(classifier.coef_))


def _mlp(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    require(classifier.activation == "relu", f"classifier with the activation {classifier.activation}")
    *hidden, (kernel, bias) = zip(classifier.coefs_, classifier.intercepts_, strict=True)
    for weights, shift in hidden:
        rows = builder.add_node("Relu", _affine(builder, rows, weights, shift, np.float32))
    logits = _affine(builder, _to_float64(builder, rows), kernel, bias)
    return _probabilities_of_logits(builder, logits, kernel.shape[1])


def _knn(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    is_supported = classifier.weights == "distance" and classifier.effective_metric_ == "euclidean"
    require(is_supported, "nearest neighbours that are not weighted by their Euclidean distance")
    squares = _squared_distances(builder, _to_float64(builder, rows), classifier._fit_X)
    count = builder.add_constant([classifier.n_neighbors])
    negated = builder.add_node("Neg", squares)
    values, indices = f"{negated}_nearest", f"{negated}_places"
    builder.nodes.append(onnx.helper.make_node("TopK", [negated, count], [values, indices], name=f"{negated}_top"))
    distances = builder.add_node("Sqrt", builder.add_node("Neg", values))
    # A training image at distance 0 gets the whole weight.
    shares = _normalized(builder, builder.add_node("Reciprocal", builder.add_node("Max", distances, 1e-30)))
    weights = _to_float32(builder, shares)
    indicators = np.eye(len(classifier.classes_), dtype=np.float32)[classifier._y]
    labels = builder.add_node("Gather", indicators, indices, axis=0)
    axis = builder.add_constant([1])
    product = builder.add_node("MatMul", builder.add_node("Unsqueeze", weights, axis), labels)
    return builder.add_node("Squeeze", product, axis)


def _squared_distances(builder: GraphBuilder, rows: str, points: NDArray[np.floating[Any]]) -> str:
    """Return the squared distance of each row, in float64, to each point."""
    axis = builder.add_constant([1])
    row_squares = builder.add_node("ReduceSum", builder.add_node("Mul", rows, rows), axis, keepdims=1)
    point_squares = (points.astype(np.float64) ** 2).sum(axis=1)
    products = _affine(builder, rows, -2 * points.T.astype(np.float64), point_squares)
    return builder.add_node("Max", builder.add_node("Add", products, row_squares), 0.0)


def _calibrated(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    """Add calibrated scores, computed in float64 because a steep calibration amplifies rounding errors."""
    require(len(classifier.calibrated_classifiers_) == 1, "classifier that averages several calibrations")
    (calibrated,) = classifier.calibrated_classifiers_
    kind = type(calibrated.estimator).__name__
    has_all_classes = list(calibrated.estimator.classes_) == list(calibrated.classes)
    require(kind in _SCORES and has_all_classes, f"calibration of a {kind}")
    scores = _SCORES[kind](builder, calibrated.estimator, _to_float64(builder, rows))
    count = len(calibrated.classes)
    if calibrated.method == "temperature":
        # With two classes the score x of the second stands for the logits -x and x.
        inverse_temperature = calibrated.calibrators[0].beta_ * (2 if count == 2 else 1)
        logits = builder.add_node("Mul", scores, np.float64(inverse_temperature))
        return _probabilities_of_logits(builder, logits, 1 if count == 2 else count)
    slopes, shifts = np.array([(each.a_, each.b_) for each in calibrated.calibrators], np.float64).T
    # Platt's sigmoid 1 / (1 + exp(a x + b)) falls where the slope a is positive.
    products = builder.add_node("Mul", scores, slopes)
    sigmoids = builder.add_node("Sigmoid", builder.add_node("Neg", builder.add_node("Add", products, shifts)))
    if count == 2:
        return _two_classes(builder, sigmoids)
    return _to_float32(builder, _normalized(builder, sigmoids))


def _linear_scores(builder: GraphBuilder, svm: Any, rows: str) -> str:
    return _affine(builder, rows, svm.coef_.T, svm.intercept_)


def _centroid_scores(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    """Add the scores of the nearest centroid, without the square of the row, which is the same for all classes."""
    deviation = np.where(classifier.within_class_std_dev_ == 0, 1, classifier.within_class_std_dev_)
    centroids = classifier.centroids_ / deviation
    kernel = 2 * centroids.T / deviation[:, None]
    bias = 2 * np.log(classifier.class_prior_) - (centroids**2).sum(axis=1)
    if len(centroids) == 2:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    return _affine(builder, rows, kernel, bias)


def _svm_scores(builder: GraphBuilder, svm: Any, rows: str) -> str:
    """Add the scores of a Gaussian kernel: the votes of all pairs of classes, and the sums of their margins."""
    require(svm.kernel == "rbf", f"classifier with the kernel {svm.kernel}")
    squares = _squared_distances(builder, rows, svm.support_vectors_)
    kernel = builder.add_node("Exp", builder.add_node("Mul", squares, np.float64(-svm._gamma)))
    count = len(svm.classes_)
    if count == 2:
        return _affine(builder, kernel, svm.dual_coef_.T, svm.intercept_)
    ends = np.cumsum(svm.n_support_)
    vectors_of = [slice(end - length, end) for end, length in zip(ends, svm.n_support_, strict=True)]
    pairs = [(first, second) for first in range(count) for second in range(first + 1, count)]
    weights = np.zeros((len(svm.support_vectors_), len(pairs)))
    is_first, is_second = (np.zeros((len(pairs), count)) for _ in range(2))
    for column, (first, second) in enumerate(pairs):
        weights[vectors_of[first], column] = svm.dual_coef_[second - 1, vectors_of[first]]
        weights[vectors_of[second], column] = svm.dual_coef_[first, vectors_of[second]]
        is_first[column, first] = is_second[column, second] = 1
    margins = _affine(builder, kernel, weights, svm.intercept_)
    is_negative = _to_float64(builder, builder.add_node("Less", margins, 0.0))
    votes = _affine(builder, is_negative, is_second - is_first, is_first.sum(axis=0))
    sums = builder.add_node("MatMul", margins, is_first - is_second)
    divisor = builder.add_node("Mul", builder.add_node("Add", builder.add_node("Abs", sums), 1.0), 3.0)
    return builder.add_node("Add", votes, builder.add_node("Div", sums, divisor))


def _gradient_boosting(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    logits = _to_float64(builder, gradient_boosting_logits(builder, classifier, rows))
    return _probabilities_of_logits(builder, logits, classifier.n_trees_per_iteration_)


def _one_vs_rest(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    columns = [_get_column(builder, _probabilities(builder, each, rows), 1) for each in classifier.estimators_]
    return builder.add_node("Concat", *columns, axis=1)


def _constant_predictor(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    constant = builder.add_constant(np.float32(np.ravel(classifier.y_)[0]))
    clipped = builder.add_node("Clip", _get_column(builder, rows, 0), constant, constant)
    return _two_classes(builder, _to_float64(builder, clipped))


_SCORES: dict[str, Callable[[GraphBuilder, Any, str], str]] = {
    "LinearSVC": _linear_scores,
    "NearestCentroid": _centroid_scores,
    "SVC": _svm_scores,
}
_CLASSIFIERS: dict[str, Callable[[GraphBuilder, Any, str], str]] = {
    "AdaBoostClassifier": adaboost,
    "BaggingClassifier": forest,
    "CalibratedClassifierCV": _calibrated,
    "ExtraTreesClassifier": forest,
    "HistGradientBoostingClassifier": _gradient_boosting,
    "KNeighborsClassifier": _knn,
    "LinearDiscriminantAnalysis": _linear,
    "LogisticRegression": _linear,
    "MLPClassifier": _mlp,
    "OneVsRestClassifier": _one_vs_rest,
    "RandomForestClassifier": forest,
    "_ConstantPredictor": _constant_predictor,
}
