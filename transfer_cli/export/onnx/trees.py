"""Trees of scikit-learn as one node of an ONNX graph.

A tree asks whether a float32 feature is at most a float64 threshold: with the threshold rounded down to float32 the
answer is the same for every feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transfer_cli.export.onnx.graph_builder import Drawing, UnknownOperationError

DOMAIN = "ai.onnx.ml"
OPSET = 3
"""The first in which a tree's numbers may be float64; ONNX Runtime knows it since 1.11."""
_OF_NODES = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
)
_OF_LEAVES = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


class Tree(NamedTuple):
    """Of each node: feature and threshold, the nodes below it, whether it is a leaf, what it adds to each column."""

    request: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    leaf: NDArray[np.bool_]
    values: NDArray[np.float64]


def forest(drawing: Drawing, classifier: Any, rows: str) -> str:
    """Return the probabilities of a forest or a bag: the mean of what the leaves say."""
    count, trees = len(classifier.classes_), classifier.estimators_
    features = getattr(classifier, "estimators_features_", [None] * len(trees))
    grown = (
        _grown(tree, lambda values: values / values.sum(axis=1, keepdims=True), own, np.arange(count))
        for tree, own in zip(trees, features, strict=True)
    )
    # Leaves of one class are votes: as whole numbers their sums are exact, and two classes with as many stay equal.
    votes = _trees(drawing, rows, grown, np.zeros(count))
    return drawing.node("Div", votes, drawing.constant(len(trees)))


def boosted(drawing: Drawing, classifier: Any, rows: str) -> str:
    """Return the probabilities of AdaBoost: a softmax of weighted votes (Zhu et al. 2009, eq. 15)."""
    count = len(classifier.classes_)
    shares = classifier.estimator_weights_ / classifier.estimator_weights_.sum()

    def said(share: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        others = -1 / (count - 1)
        return lambda values: share / (count - 1) * np.where(np.eye(count)[values.argmax(axis=1)] == 1, 1.0, others)

    grown = (
        _grown(tree, said(share), None, classifier.classes_)
        for tree, share in zip(classifier.estimators_, shares, strict=False)
    )
    return drawing.node("Softmax", _trees(drawing, rows, grown, np.zeros(count)), axis=-1)


def gradient_boosted(drawing: Drawing, classifier: Any, rows: str) -> str:
    """Return the logits of gradient boosting on histograms; of two classes that of the second alone."""
    base = np.ravel(classifier._baseline_prediction)

    def grown() -> Iterable[Tree]:
        for iteration in classifier._predictors:
            for column, predictor in enumerate(iteration):
                nodes = predictor.nodes
                if nodes["is_categorical"].any():
                    raise UnknownOperationError("the classifier has trees that ask for categories")
                values = np.zeros((len(nodes), len(base)))
                values[:, column] = nodes["value"]
                leaf = nodes["is_leaf"] == 1
                yield Tree(nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"], leaf, values)

    return _trees(drawing, rows, grown(), base)


def _grown(
    estimator: Any, said: Callable[[NDArray[np.float64]], NDArray[np.float64]], features: Any, classes: Any
) -> Tree:
    tree = estimator.tree_
    values = np.zeros((tree.node_count, len(classes)))
    # A tree may have seen fewer classes than there are.
    values[:, np.searchsorted(classes, estimator.classes_)] = tree.value[:, 0, :]
    request = tree.feature if features is None else np.asarray(features)[np.maximum(tree.feature, 0)]
    leaf = tree.children_left < 0
    return Tree(request, tree.threshold, tree.children_left, tree.children_right, leaf, said(values))


def _trees(drawing: Drawing, rows: str, trees: Iterable[Tree], base: NDArray[np.float64]) -> str:
    """Add trees whose leaves are added up."""
    words: dict[str, list[Any]] = {word: [] for word in _OF_NODES + _OF_LEAVES}
    for number, (request, thresholds, left, right, leaf, values) in enumerate(trees):
        count = len(leaf)
        words["nodes_treeids"] += [number] * count
        words["nodes_nodeids"] += range(count)
        words["nodes_featureids"] += np.where(leaf, 0, request).tolist()
        words["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
        words["nodes_values"] += _rounded_down(np.where(leaf, 0, thresholds)).tolist()
        words["nodes_truenodeids"] += np.where(leaf, 0, left).tolist()
        words["nodes_falsenodeids"] += np.where(leaf, 0, right).tolist()
        places, columns = np.nonzero(values * leaf[:, None])
        words["target_treeids"] += [number] * len(places)
        words["target_nodeids"] += places.tolist()
        words["target_ids"] += columns.tolist()
        words["target_weights"] += values[places, columns].tolist()
    return drawing.node(
        "TreeEnsembleRegressor",
        rows,
        domain=DOMAIN,
        n_targets=len(base),
        aggregate_function="SUM",
        base_values=base.tolist(),
        **words,
    )


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 that is at most each threshold."""
    most = np.finfo(np.float32).max
    near = np.clip(thresholds, -most, most).astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
