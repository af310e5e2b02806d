"""Whether networks began as one and are built alike, so that the mean of their weights is one of them."""

from __future__ import annotations

import shlex
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling.members import Members
from transfer_cli.errors import InputError


def must_fit(members: Members) -> None:
    """Raise InputError where members are not fine-tuned networks that began as one."""
    for name, each, opened in zip(members.names, members.runs, members.bundles, strict=True):
        kind = opened.bundle.kind
        if kind != "network" or each.recipe.get("method") != "finetune":
            paths = shlex.join(str(run.directory.path) for run in members.runs)
            raise InputError(
                f"{name} is a run of {each.recipe.get('method')}, with a model of the kind {kind}. A soup is the mean "
                "of the weights of runs of finetune.",
                hint=f"Join the answers instead: transfer-cli ensemble {paths} --method average -o RUN",
            )
    first, name = members.bundles[0].bundle, members.names[0]
    for other, other_name in zip(members.bundles[1:], members.names[1:], strict=True):
        for word, one, two in _differences(first, other.bundle):
            raise _other(name, other_name, f"{word} is {_shown(one)} and {_shown(two)}")


def must_be_built_alike(first: Any, other: Any, names: tuple[str, str]) -> None:
    """Raise InputError where two networks do not have the same layers with the same weights.

    Parameters
    ----------
    first, other : keras.Model
    names : tuple of two str
        What their runs are called.
    """
    # Keras numbers layers without a name over the life of a process: names tell nothing.
    one, two = (
        [(type(layer).__name__, [tuple(each.shape) for each in layer.weights], layer.name) for layer in net.layers]
        for net in (first, other)
    )
    if len(one) != len(two):
        raise _other(*names, f"they have {len(one)} and {len(two)} layers")
    for (kind, shapes, name), (other_kind, other_shapes, _) in zip(one, two, strict=True):
        if (kind, shapes) != (other_kind, other_shapes):
            words = f"layer {name} is a {kind} of {shapes} and a {other_kind} of {other_shapes}"
            raise _other(*names, words)


def _differences(one: ModelBundle, two: ModelBundle) -> list[tuple[str, Any, Any]]:
    """Return in what two networks did not begin as one."""
    pairs = [(f"backbone.{word}", one.backbone.get(word), two.backbone.get(word)) for word in _of_backbone(one, two)]
    pairs += [("images.size", one.image_size, two.image_size), ("images.resize", one.resize, two.resize)]
    if one.backbone.get("weights") == "none":
        pairs.append(("seed, of the random weights that each began with,", one.recipe["seed"], two.recipe["seed"]))
    return [pair for pair in pairs if pair[1] != pair[2]]


def _of_backbone(one: ModelBundle, two: ModelBundle) -> list[str]:
    first = ("name", "weights", "layer", "pooling")
    return [*first, *sorted((one.backbone.keys() | two.backbone.keys()) - {*first})]


def _other(name: str, other: str, difference: str) -> InputError:
    return InputError(
        f"{name} and {other} are other networks, whose weights have no mean: {difference}.",
        hint=f"Join their answers instead: --method {ensemble_methods.AVERAGE}",
    )


def _shown(value: Any) -> str:
    return "the usual one" if value is None else str(value)
