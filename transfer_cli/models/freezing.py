"""Which layers of a backbone a stage trains, and where the graph can be split into a frozen and a trained part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Any

import keras

from transfer_cli.catalog.layers import unknown
from transfer_cli.errors import RecipeError
from transfer_cli.recipe.stages import NORMS_AND_BIASES

_REACH = 0.1
POOLINGS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}
"""How a feature map becomes a vector."""
_NORMS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
)


@dataclass(frozen=True)
class FrozenSplit:
    """A backbone split into a frozen lower part and an upper part with all layers that train.

    Attributes
    ----------
    layers : tuple of keras.Layer
        The layers that train, in graph order; none if only the head trains. See `variables`.
    frozen : keras.Model or None
        From images to the tensor above which all trained layers lie; None if that is the image itself.
    upper : keras.Model or None
        From that tensor to the features; None if they are the same.
    whole_block : str or None
        If the first trained layer lies inside a residual or dense block whose other branches stay frozen: the first
        layer of that block.
    depths : tuple of int
        For each of the trained layers, the number of layers with a kernel from it to the top; see `depths`.
    only_norms_and_biases : bool
        Whether no kernel of these layers trains, but only what `norms_and_biases` returns.
    """

    layers: tuple[keras.Layer, ...]
    frozen: keras.Model | None
    upper: keras.Model | None
    whole_block: str | None = None
    depths: tuple[int, ...] = ()
    only_norms_and_biases: bool = False

    def variables(self) -> list[tuple[Any, int]]:
        """Return the variables that train, each with the depth of its layer; call `set_trainable` first."""
        return [
            (variable, depth)
            for layer, depth in zip(self.layers, self.depths, strict=True)
            for variable in (norms_and_biases(layer) if self.only_norms_and_biases else layer.trainable_variables)
        ]


def backbone_layers(network: keras.Model) -> list[keras.Layer]:
    """Return the layers of a backbone in graph order, without the input and the final pooling."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    return layers[:-1] if layers and isinstance(layers[-1], tuple(POOLINGS.values())) else layers


def split_at(network: keras.Model, unfreeze: str) -> FrozenSplit:
    """Split a network below the layers that a stage trains.

    Parameters
    ----------
    network : keras.Model
        From images to features, with a flat graph.
    unfreeze : str
        ``head``, ``last:N`` (``layers[-N:]`` of the backbone), ``last:N%`` (that share of the layers, moved to the
        nearest point where one tensor separates the graph, so that no block is split, if there is such a point within
        a tenth of the layers), ``from:LAYER``, ``all``; or ``norms-and-biases``, of all layers (see
        `norms_and_biases`).

    Raises
    ------
    UnknownNameError
        If there is no layer of that name.
    RecipeError
        If no layer would train.
    """
    layers = backbone_layers(network)
    partly = unfreeze == NORMS_AND_BIASES
    first = 0 if partly else _first(network, layers, unfreeze)
    selected = [index for index in range(first, len(layers)) if not partly or norms_and_biases(layers[index])]
    points = cut_points(network)
    trained = {layers[index].name for index in selected if layers[index].weights}
    below = {each.name for each in takewhile(lambda each: each.name not in trained, _in_order(network))}
    cuts = [operation for operation in points if operation.name in below]
    if unfreeze == "head":
        return FrozenSplit((), network, None)
    if not trained and partly:
        raise RecipeError(
            f"unfreeze = {unfreeze!r} trains nothing of this backbone, which has neither normalisation layers with a "
            "scale or shift nor biases: only the head would train.",
            hint='Set unfreeze = "head", or train whole layers, such as unfreeze = "last:50%".',
        )
    if not trained:
        hint = 'Unfreeze more layers, or set unfreeze = "head".'
        raise RecipeError(
            f"unfreeze = {unfreeze!r} contains no layer with weights: only the head would train.", hint=hint
        )
    block = None if partly else _block_of(layers, first, {operation.name for operation in points})
    numbers = depths(layers)
    whole = FrozenSplit(
        tuple(layers[index] for index in selected),
        None,
        network,
        block,
        tuple(numbers[index] for index in selected),
        partly,
    )
    # The highest point below all trained layers; nothing above it needs any other tensor from below.
    frozen = keras.Model(network.inputs[0], cuts[-1].output, name="frozen")
    if not frozen.weights:
        return whole
    return replace(whole, frozen=frozen, upper=keras.Model(cuts[-1].output, network.output, name="upper"))


def norms_and_biases(layer: keras.Layer) -> list[Any]:
    """Return the scale and shift of a normalisation layer, or the bias of another layer; none if it has none.

    Training these alone is BitFit (Ben Zaken et al. 2022); for BatchNorm see Frankle et al. 2021.
    """
    names = ("gamma", "beta") if isinstance(layer, _NORMS) else ("bias",)
    return [variable for variable in layer.weights if variable.name in names]


def depths(layers: Iterable[keras.Layer]) -> list[int]:
    """Return for each layer, given in graph order, the number of layers with a kernel from it to the top.

    A normalisation layer counts with the layer before it.
    """
    numbers = list(accumulate(any(len(variable.shape) > 1 for variable in layer.weights) for layer in layers))
    return [max(1, numbers[-1] - number + 1) for number in numbers]


def cut_points(network: keras.Model) -> list[Any]:
    """Return the operations whose output alone separates the graph into two models, in graph order."""
    waiting = Counter(id(tensor) for operation in network.operations for tensor in _inputs(operation))
    points = []
    alive: set[int] = set()
    for operation in _in_order(network):
        for tensor in _inputs(operation):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.discard(id(tensor))
        outputs = keras.tree.flatten(operation.output)
        alive |= {id(tensor) for tensor in outputs}
        if len(outputs) == 1 and alive == {id(outputs[0])}:
            points.append(operation)
    return points


def set_trainable(network: keras.Model, trained: Iterable[keras.Layer]) -> None:
    """Make the given layers trainable and freeze all others of the network."""
    selected = {id(layer) for layer in trained}
    network.trainable = True
    for layer in network.layers:
        layer.trainable = id(layer) in selected


def _first(network: keras.Model, layers: list[keras.Layer], unfreeze: str) -> int:
    kind, _, what = unfreeze.partition(":")
    if kind == "head":
        return len(layers)
    if kind == "all":
        return 0
    if kind == "from":
        names = [layer.name for layer in layers]
        if what not in names:
            raise unknown("layer to unfreeze from", what, names)
        return names.index(what)
    if not what.endswith("%"):
        return max(0, len(layers) - int(what))
    wanted = len(layers) - math.ceil(len(layers) * int(what[:-1]) / 100)
    ends = {operation.name for operation in cut_points(network)}
    # A point needs weights above it: the two branches of NASNet meet only in the last activation.
    last = max((index for index, layer in enumerate(layers) if layer.weights), default=0)
    starts = [0, *(index + 1 for index, layer in enumerate(layers[:last]) if layer.name in ends)]
    nearest_start = min(starts, key=lambda start: (abs(start - wanted), -start))
    return nearest_start if abs(nearest_start - wanted) <= _REACH * len(layers) else wanted


def _block_of(layers: list[keras.Layer], first: int, ends: set[str]) -> str | None:
    """Return the first layer of the block that starts before `first` and ends after it, or None."""
    start = first
    while start and layers[start - 1].name not in ends:
        start -= 1
    # In a network whose branches never meet (NASNet) there is no such block.
    return layers[start].name if 0 < start < first else None


def _in_order(network: keras.Model) -> list[Any]:
    """Return the operations in topological order, depth first.

    Keras orders them by distance from the output, which would keep the tensors of short branches alive too long.
    """
    made_by = {id(tensor): each for each in network.operations for tensor in keras.tree.flatten(each.output)}
    done: set[int] = set()
    order: list[Any] = []
    stack = [(each, False) for each in reversed(network.operations)]
    while stack:
        operation, ready = stack.pop()
        if id(operation) in done:
            continue
        if ready:
            done.add(id(operation))
            order.append(operation)
            continue
        stack.append((operation, True))
        stack += [(made_by[id(tensor)], False) for tensor in reversed(_inputs(operation))]
    return order


def _inputs(operation: Any) -> list[Any]:
    if isinstance(operation, keras.layers.InputLayer):
        return []
    tensors: list[Any] = operation._inbound_nodes[0].input_tensors
    return tensors
