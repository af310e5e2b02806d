"""Which layers of a backbone a stage trains, and where the rest can be cut off."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from transfer_cli.errors import RecipeError, UnknownNameError, nearest

_REACH = 0.1
POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D, keras.layers.Flatten)


@dataclass(frozen=True)
class FrozenSplit:
    """What a stage trains of a backbone.

    Attributes
    ----------
    layers : tuple of keras.Layer
        The layers that learn, in the order of the graph; none for the head alone.
    trunk : keras.Model or None
        From pictures to the tensor above which everything that learns lies; None where that is the picture itself.
    upper : keras.Model or None
        From that tensor to the features; None where that is the same.
    whole_block : str or None
        Where the first layer lies within a residual or dense block, of which other ways stay frozen: the first layer of
        that block.
    """

    layers: tuple[keras.Layer, ...]
    trunk: keras.Model | None
    upper: keras.Model | None
    whole_block: str | None = None


def backbone_layers(network: keras.Model) -> list[keras.Layer]:
    """Return the layers of a backbone in the order of its graph, without its input and the pooling on top."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    return layers[:-1] if layers and isinstance(layers[-1], POOLINGS) else layers


def split_at(network: keras.Model, unfreeze: str) -> FrozenSplit:
    """Return what a stage trains, and the network parted below it.

    Parameters
    ----------
    network : keras.Model
        From pictures to features, with a flat graph.
    unfreeze : str
        ``head``, ``last:N`` (Keras's ``layers[-N:]`` of the backbone), ``last:N%`` (that share of the layers, moved to
        the nearest place where the graph is a single thread, so that no block is parted, if there is one with layers
        to train above it within a tenth of the layers), ``from:LAYER``, ``all``.

    Raises
    ------
    UnknownNameError
        When there is no layer of that name.
    RecipeError
        When nothing of it learns.
    """
    layers = backbone_layers(network)
    first = _first(network, layers, unfreeze)
    threads = single_threads(network)
    learning = {layer.name for layer in layers[first:] if layer.weights}
    below = _names_below(network, learning)
    cuts = [operation for operation in threads if operation.name in below]
    if unfreeze == "head":
        return FrozenSplit((), network, None)
    if not learning:
        raise RecipeError(
            f"unfreeze = {unfreeze!r} holds no layer with weights: there would be nothing to train but the head.",
            hint='Take more layers, or say unfreeze = "head".',
        )
    chosen = tuple(layers[first:])
    block = _block_of(layers, first, {operation.name for operation in threads})
    # The highest cut below all that learns; nothing above it needs anything else of what is below.
    trunk = keras.Model(network.inputs[0], cuts[-1].output, name="trunk")
    if not trunk.weights:
        return FrozenSplit(chosen, None, network, block)
    return FrozenSplit(chosen, trunk, keras.Model(cuts[-1].output, network.output, name="upper"), block)


def depths(layers: Iterable[keras.Layer]) -> list[int]:
    """Return for each layer how many layers with a kernel lie above it, itself included; the norm after it is with it.

    Parameters
    ----------
    layers : iterable of keras.Layer
        In the order of the graph.
    """
    numbers: list[int] = []
    for layer in layers:
        has_kernel = any(len(variable.shape) > 1 for variable in layer.weights)
        numbers.append((numbers[-1] if numbers else 0) + has_kernel)
    return [max(1, numbers[-1] - number + 1) for number in numbers]


def single_threads(network: keras.Model) -> list[Any]:
    """Return the operations through whose output everything passes, in the order of the graph.

    The graph can be cut after each of them, and only there, into two models joined by one tensor.
    """
    waiting: dict[int, int] = {}
    for operation in network.operations:
        for tensor in _inputs(operation):
            waiting[id(tensor)] = waiting.get(id(tensor), 0) + 1
    found = []
    alive: set[int] = set()
    for operation in _in_order(network):
        for tensor in _inputs(operation):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.discard(id(tensor))
        outputs = keras.tree.flatten(operation.output)
        alive |= {id(tensor) for tensor in outputs}
        if len(outputs) == 1 and alive == {id(outputs[0])}:
            found.append(operation)
    return found


def set_trainable(network: keras.Model, learning: Iterable[keras.Layer]) -> None:
    """Mark the layers that learn as trainable and all others of the network as frozen."""
    chosen = {id(layer) for layer in learning}
    network.trainable = True
    for layer in network.layers:
        layer.trainable = id(layer) in chosen


def _first(network: keras.Model, layers: list[keras.Layer], unfreeze: str) -> int:
    kind, _, what = unfreeze.partition(":")
    if kind == "head":
        return len(layers)
    if kind == "all":
        return 0
    if kind == "from":
        return _index(network, layers, what)
    if not what.endswith("%"):
        return max(0, len(layers) - int(what))
    wanted = len(layers) - math.ceil(len(layers) * int(what[:-1]) / 100)
    ends = {operation.name for operation in single_threads(network)}
    # A place with nothing to learn above it is none: NASNet's two threads meet in its last activation only.
    last = max((index for index, layer in enumerate(layers) if layer.weights), default=0)
    starts = [0, *(index + 1 for index, layer in enumerate(layers[:last]) if layer.name in ends)]
    nearest_start = min(starts, key=lambda start: (abs(start - wanted), -start))
    return nearest_start if abs(nearest_start - wanted) <= _REACH * len(layers) else wanted


def _block_of(layers: list[keras.Layer], first: int, ends: set[str]) -> str | None:
    """Return the first layer of the block that begins before `first` and ends behind it, or None."""
    start = first
    while start and layers[start - 1].name not in ends:
        start -= 1
    # A network whose ways never meet, as NASNet's two, has no place to move to.
    return layers[start].name if 0 < start < first else None


def _index(network: keras.Model, layers: list[keras.Layer], name: str) -> int:
    names = [layer.name for layer in layers]
    if name in names:
        return names.index(name)
    near = nearest(name, names)
    guess = f" Did you mean {near}?" if near else ""
    raise UnknownNameError(
        f"there is no layer {name!r} to unfreeze from.{guess}", hint="See all: transfer-cli backbones show NAME"
    )


def _names_below(network: keras.Model, learning: set[str]) -> set[str]:
    """Return the names of the operations that need nothing of what learns and come before all of it."""
    below = set()
    for operation in _in_order(network):
        if operation.name in learning:
            break
        below.add(operation.name)
    return below


def _in_order(network: keras.Model) -> list[Any]:
    """Return the operations so that each comes after those it needs.

    Keras lists them by their distance from the output: a short branch comes late in it, which would keep tensors alive
    longer than they are needed.
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
