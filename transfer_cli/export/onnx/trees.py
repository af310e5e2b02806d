"""Tree ensembles of scikit-learn as one TreeEnsembleRegressor node of an ONNX graph.

A tree compares a float32 feature with a float64 threshold. With the threshold rounded down to float32, the result of
``feature <= threshold`` is the same for every float32 feature.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transfer_cli.export.onnx.graph_builder import GraphBuilder, require

DOMAIN = "ai.onnx.ml"
OPSET = 3
"""The first opset of the domain in which trees may hold float64; ONNX Runtime supports it since 1.11."""


class Tree(NamedTuple):
    """The nodes of a tree: `values`, of shape (nodes, columns), is what a leaf adds to each output column."""

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    is_leaf: NDArray[np.bool_]
    values: NDArray[np.float64]


def forest(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    """Add a random forest or bagged trees: the mean of the class frequencies in the leaves."""
    count, trees = len(classifier.classes_), classifier.estimators_
    features = getattr(classifier, "estimators_features_", [None] * len(trees))
    nodes = (
        _tree_of(tree, lambda values: values / values.sum(axis=1, keepdims=True), selected, np.arange(count))
        for tree, selected in zip(trees, features, strict=True)
    )
    # Pure leaves are votes. Sums of whole numbers are exact, so that ties between classes remain ties.
    votes = _add_trees(builder, rows, nodes, np.zeros(count))
    return builder.add_node("Div", votes, np.float32(len(trees)))


def adaboost(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    """Add AdaBoost: a softmax of weighted votes (Zhu et al. 2009, "Multi-class AdaBoost", eq. 15)."""
    count = len(classifier.classes_)
    shares = classifier.estimator_weights_ / classifier.estimator_weights_.sum()

    def votes(share: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        others = -1 / (count - 1)
        return lambda values: share / (count - 1) * np.where(np.eye(count)[values.argmax(axis=1)] == 1, 1.0, others)

    nodes = (
        _tree_of(tree, votes(share), None, classifier.classes_)
        for tree, share in zip(classifier.estimators_, shares, strict=False)
    )
    return builder.add_node("Softmax", _add_trees(builder, rows, nodes, np.zeros(count)), axis=-1)


def gradient_boosting_logits(builder: GraphBuilder, classifier: Any, rows: str) -> str:
    """Add histogram gradient boosting and return its logits; for two classes, only that of the second."""
    base = np.ravel(classifier._baseline_prediction)

    def trees() -> Iterable[Tree]:
        for iteration in classifier._predictors:
            for column, predictor in enumerate(iteration):
                nodes = predictor.nodes
                require(not nodes["is_categorical"].any(), "classifier with splits on categories")
                values = np.zeros((len(nodes), len(base)))
                values[:, column] = nodes["value"]
                is_leaf = nodes["is_leaf"] == 1
                yield Tree(nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"], is_leaf, values)

    return _add_trees(builder, rows, trees(), base)


def _tree_of(
    estimator: Any, leaf_values: Callable[[NDArray[np.float64]], NDArray[np.float64]], selected: Any, classes: Any
) -> Tree:
    """Return a tree of an ensemble, which reads the features `selected`, or all if None."""
    tree = estimator.tree_
    values = np.zeros((tree.node_count, len(classes)))
    # A tree may have been trained on a subset of the classes.
    values[:, np.searchsorted(classes, estimator.classes_)] = tree.value[:, 0, :]
    features = tree.feature if selected is None else np.asarray(selected)[np.maximum(tree.feature, 0)]
    is_leaf = tree.children_left < 0
    return Tree(features, tree.threshold, tree.children_left, tree.children_right, is_leaf, leaf_values(values))


def _add_trees(builder: GraphBuilder, rows: str, trees: Iterable[Tree], base: NDArray[np.float64]) -> str:
    """Add trees whose leaf values are summed, starting from `base`."""
    attributes: defaultdict[str, list[Any]] = defaultdict(list)
    for number, (features, thresholds, left, right, is_leaf, values) in enumerate(trees):
        count = len(is_leaf)
        attributes["nodes_treeids"] += [number] * count
        attributes["nodes_nodeids"] += range(count)
        attributes["nodes_featureids"] += np.where(is_leaf, 0, features).tolist()
        attributes["nodes_modes"] += np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist()
        attributes["nodes_values"] += _round_down(np.where(is_leaf, 0, thresholds)).tolist()
        attributes["nodes_truenodeids"] += np.where(is_leaf, 0, left).tolist()
        attributes["nodes_falsenodeids"] += np.where(is_leaf, 0, right).tolist()
        leaves, columns = np.nonzero(values * is_leaf[:, None])
        attributes["target_treeids"] += [number] * len(leaves)
        attributes["target_nodeids"] += leaves.tolist()
        attributes["target_ids"] += columns.tolist()
        attributes["target_weights"] += values[leaves, columns].tolist()
    return builder.add_node(
        "TreeEnsembleRegressor",
        rows,
        domain=DOMAIN,
        n_targets=len(base),
        aggregate_function="SUM",
        base_values=base.tolist(),
        **attributes,
    )


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold."""
    limit = np.finfo(np.float32).max
    nearest = np.clip(thresholds, -limit, limit).astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
