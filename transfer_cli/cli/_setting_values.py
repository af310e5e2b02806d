"""Names and values of the settings of a recipe, for completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, optimizers, runtimes
from transfer_cli.errors import TransferError
from transfer_cli.recipe import toml_source
from transfer_cli.recipe.other_names import LAST_STAGE
from transfer_cli.recipe.recipes import METHODS, Recipe
from transfer_cli.recipe.sections import Backbone
from transfer_cli.recipe.stages import NORMS_AND_BIASES
from transfer_cli.recipe.unknown_settings import all_settings, section_of

_NAMES = {
    "backbone.name": backbones.names(),
    "backbone.weights": [backbones.IMAGENET, backbones.RANDOM, backbones.EMBEDDED],
    "classifier.name": [*classifiers.names(), classifiers.NONE],
    "head.kind": [*heads.HEADS],
    "balance.method": [*class_balancing.CLASS_BALANCING_METHODS],
    "inference.runtime": [runtimes.AUTO, *runtimes.names()],
    "stage.optimizer": [*optimizers.OPTIMIZERS],
    "stage.unfreeze": ["head", "all", "last:50%", NORMS_AND_BIASES],
}
"""Values of settings whose type does not tell them; `stage` stands for each stage."""


def setting_names(method: str | None, source: str | None) -> list[str]:
    """Return all settings of a recipe; those of a stage for each stage of the recipe `source`."""
    kind, data = _recipe(method, source)
    stages = range(1, max(1, len(data.get("stage", ()))) + 1)
    names: list[str] = []
    for name in all_settings(kind):
        is_of_stage = name.startswith(LAST_STAGE)
        names += [name.replace(LAST_STAGE, f"stage.{number}") for number in stages] if is_of_stage else [name]
    return sorted(name for name in names if name != "method")


def setting_values(method: str | None, source: str | None, key: str, layers: Sequence[str]) -> list[str]:
    """Return the values of a setting; none if it is a number or any text. `layers` are those of the backbone."""
    kind, _ = _recipe(method, source)
    section, *_, setting = key.split(".") if "." in key else ("", key)
    name = f"{section}.{setting}".lstrip(".")
    if name == "backbone.layer":
        return list(layers)
    known = _NAMES.get(name, []) + ([f"from:{layer}" for layer in layers] if name == "stage.unfreeze" else [])
    if known:
        return known
    model: Any = kind
    if section:
        model = section_of(model.model_fields[section].annotation, lists=True)
        model = section_of(model.model_fields["block"].annotation, lists=True) if ".block." in key else model
    return [*_choices(model.model_fields[setting].annotation)]


def backbone_of_recipe(method: str | None, source: str | None, overrides: Sequence[str]) -> str:
    """Return the backbone of a recipe."""
    _, data = _recipe(method, source)
    given = dict(toml_source.parse_override(each) for each in overrides if "=" in each)
    default = Backbone.model_fields["name"].default
    return str(given.get("backbone.name") or data.get("backbone", {}).get("name") or default)


def _recipe(method: str | None, source: str | None) -> tuple[type[Recipe], dict[str, Any]]:
    """Return the class of a recipe and the content of its file; empty if it cannot be read."""
    kind = METHODS.get(str(method), METHODS["finetune"])
    source = source or kind.default_source
    try:
        data = toml_source.read(kind.locate(source))[1] if source else {}
    except TransferError:
        data = {}
    return METHODS.get(str(data.get("method", method)), kind), data


def _choices(kind: Any) -> Iterator[str]:
    """Yield the words that a type has: those of Literal, true and false."""
    if kind is bool:
        yield from ("true", "false")
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for inner in get_args(kind):
            yield from _choices(inner)
