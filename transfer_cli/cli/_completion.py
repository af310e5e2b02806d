"""What the Tab key completes: commands, runs, networks, layers, recipes and their settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from transfer_cli.catalog import backbones, export_formats, layers, tta

Item = CompletionItem[str]
Completer = Callable[[click.Context, click.Parameter, str], list[Item]]
_IMAGENET = "imagenet:"


def complete_commands(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of a command, or of a sub-command below those that were typed."""
    group = ctx.find_root().command
    for name in ctx.params.get(str(parameter.name)) or ():
        below = group.get_command(ctx, name) if isinstance(group, click.Group) else None
        group = below or click.Command(None)
    return _items(group.list_commands(ctx) if isinstance(group, click.Group) else (), incomplete)


def complete_backbones(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of a backbone."""
    return _items(backbones.names(), incomplete)


def complete_backbone_lists(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the last of several names of backbones, separated by commas."""
    return _last_item(backbones.names(), incomplete)


def complete_formats(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the last of several export formats, separated by commas."""
    return _last_item([*export_formats.EXPORT_FORMATS, export_formats.ALL], incomplete)


def complete_tta(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of a test-time augmentation."""
    return _items(tta.names(), incomplete)


def complete_weights(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of initial weights, or of a file."""
    return _or_files((backbones.IMAGENET, backbones.RANDOM, backbones.EMBEDDED), incomplete)


def complete_recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of a recipe for the command, or of a file."""
    from transfer_cli.recipe.builtin_recipes import recipe_names

    return _or_files(recipe_names(_method(ctx)), incomplete)


def complete_settings(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete KEY= of a setting of the recipe, and the value where there are few."""
    from transfer_cli.cli._setting_values import setting_names, setting_values

    key, equals, _ = incomplete.partition("=")
    source = ctx.params.get("recipe") or _argument(ctx, "source")
    if not equals:
        return _items((f"{name}=" for name in setting_names(_method(ctx), source)), incomplete)
    return _items((f"{key}={value}" for value in setting_values(_method(ctx), source, key, _layers(ctx))), incomplete)


def complete_layers(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the name of a layer of the network that the command uses."""
    return _items(_layers(ctx), incomplete)


def complete_layer_lists(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete the last of several layers, separated by commas."""
    return _last_item(_layers(ctx), incomplete)


def complete_models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Item]:
    """Complete a run: in the folder `runs`, or in the folder that was typed; else imagenet:NAME, or any path."""
    typed = ctx.params.get(str(parameter.name))
    used = {str(each) for each in typed} if isinstance(typed, tuple) else set()
    found = [path for path in dict.fromkeys([*_models_in("runs/"), *_models_in(incomplete)]) if path not in used]
    items = [CompletionItem(path, is_path=True) for path in found if path.startswith(incomplete)]
    if incomplete and _IMAGENET in str(parameter.metavar):
        names = (name for name in backbones.names() if backbones.find(name).has_imagenet)
        items += _items((f"{_IMAGENET}{name}" for name in names), incomplete)
    return items or [CompletionItem(incomplete, type="file")]


def _items(names: Iterable[str], incomplete: str) -> list[Item]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _or_files(names: Iterable[str], incomplete: str) -> list[Item]:
    return _items(names, incomplete) or [CompletionItem(incomplete, type="file")]


def _last_item(names: Iterable[str], incomplete: str) -> list[Item]:
    before, comma, _ = incomplete.rpartition(",")
    used = before.split(",")
    return _items((f"{before}{comma}{name}" for name in names if name not in used), incomplete)


def _models_in(incomplete: str) -> Iterator[str]:
    """Yield the runs and bundles in the folder of an unfinished path."""
    from transfer_cli.runs.run_of_model import is_model

    folder = incomplete[: incomplete.rfind("/") + 1]
    with suppress(OSError):
        for path in sorted(Path(folder or ".").expanduser().iterdir()):
            if not path.name.startswith(".") and path.is_dir() and is_model(path):
                yield folder + path.name


def _method(ctx: click.Context) -> str | None:
    """Return the command whose recipes a command takes; None if it takes all."""
    return {"extract": "extract", "recipes": None}.get(ctx.command_path.split()[1], "finetune")


def _argument(ctx: click.Context, name: str) -> str:
    """Return the first argument of a command if it has this name, else nothing."""
    first = next((each for each in ctx.command.params if isinstance(each, click.Argument)), None)
    if first is None or first.name != name:
        return ""
    # Where the last option has no value yet, click has not assigned the arguments.
    return str(ctx.params.get(name) or next(iter(ctx.args), ""))


def _layers(ctx: click.Context) -> tuple[str, ...]:
    """Return the layers of the backbone that a command names, else of its recipe or model."""
    from transfer_cli.cli._setting_values import backbone_of_recipe

    model = _argument(ctx, "model")
    if model.startswith(_IMAGENET):
        return layers.names(model.removeprefix(_IMAGENET))
    if model:
        places = (Path(model), Path(os.path.realpath(model)).parent)
        source = next((str(file) for place in places if (file := place / "recipe.toml").is_file()), None)
        return layers.names(backbone_of_recipe(None, source, ())) if source else ()
    overrides: Any = ctx.params.get("overrides") or ()
    name = ctx.params.get("backbone") or backbone_of_recipe(_method(ctx), ctx.params.get("recipe"), overrides)
    return layers.names(name)
