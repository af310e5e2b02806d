"""Check that networks have the same layers and initial weights, so that their weights can be averaged."""

from __future__ import annotations

from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling.members import Members
from transfer_cli.errors import InputError
from transfer_cli.text import counted, shell_command


def check_same_origin(members: Members) -> None:
    """Raise InputError unless all members are fine-tuned networks with the same initial weights."""
    for name, each, opened in zip(members.names, members.runs, members.bundles, strict=True):
        kind, method = opened.bundle.kind, each.recipe.get("method")
        if kind != "network" or method != "finetune":
            paths = shell_command(*(run.directory.path for run in members.runs))
            raise InputError(
                f"{name} is a run of {method} (model of kind {kind}). A soup averages weights, and needs runs of "
                "finetune.",
                hint=f"Average the predictions: transfer-cli ensemble {paths} --method average -o RUN",
            )
    first, name = members.bundles[0].bundle, members.names[0]
    for other, other_name in zip(members.bundles[1:], members.names[1:], strict=True):
        for setting, one, two in _differences(first, other.bundle):
            raise _incompatible(name, other_name, f"{setting} is {_text(one)} and {_text(two)}")


def check_same_architecture(first: Any, other: Any, names: tuple[str, str]) -> None:
    """Raise InputError unless two Keras networks have the same layers; `names` are those of their runs."""
    # The names of unnamed layers are numbered by Keras per process, so they cannot be compared.
    one, two = (
        [(type(layer).__name__, [tuple(each.shape) for each in layer.weights], layer.name) for layer in net.layers]
        for net in (first, other)
    )
    if len(one) != len(two):
        raise _incompatible(*names, f"they have {len(one)} and {counted(len(two), 'layer')}")
    for (kind, shapes, name), (other_kind, other_shapes, _) in zip(one, two, strict=True):
        if (kind, shapes) != (other_kind, other_shapes):
            raise _incompatible(
                *names, f"layer {name} is a {kind} with weights {shapes} and a {other_kind} with weights {other_shapes}"
            )


def _differences(one: ModelBundle, two: ModelBundle) -> list[tuple[str, Any, Any]]:
    """Return the settings that made two networks start from different weights."""
    keys = ["name", "weights", "layer", "pooling"]
    keys += sorted((one.backbone.keys() | two.backbone.keys()) - {*keys})
    pairs = [(f"backbone.{key}", one.backbone.get(key), two.backbone.get(key)) for key in keys]
    pairs += [("images.size", one.image_size, two.image_size), ("images.resize", one.resize, two.resize)]
    pairs += [("images.bit_depth", one.bit_depth, two.bit_depth)]
    if one.backbone.get("weights") == "none":
        pairs.append(("seed of the random initial weights", one.recipe["seed"], two.recipe["seed"]))
    return [pair for pair in pairs if pair[1] != pair[2]]


def _incompatible(name: str, other: str, difference: str) -> InputError:
    return InputError(
        f"The weights of {name} and {other} cannot be averaged: {difference}.",
        hint=f"Average their predictions: --method {ensemble_methods.AVERAGE}",
    )


def _text(value: Any) -> str:
    return "the default" if value is None else str(value)
