"""The class map and the omitted images of a run: copies of the tables, and what its model records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.manifest import bundle_directory, read_manifest
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.errors import TransferError
from transfer_cli.io.atomic import atomic_write, copy_file, remove
from transfer_cli.recipe.sections import Classes
from transfer_cli.runs.run_directory import RunDirectory


def write_tables(run: RunDirectory, selection: ImageSelection) -> None:
    """Copy the tables of a selection into a run, and remove those of an earlier one."""
    for path, table in ((run.class_map, selection.class_map), (run.omit, selection.omit)):
        if table is None:
            remove(path)
            continue
        with atomic_write(path) as draft:
            draft.write_bytes(table.data)


def copy_tables(source: RunDirectory, target: RunDirectory) -> None:
    """Copy the tables of one run to another; a table that it does not have is removed."""
    for before, after in ((source.class_map, target.class_map), (source.omit, target.omit)):
        if before.is_file():
            copy_file(before, after)
        else:
            remove(after)


def table_options(run: RunDirectory) -> list[str]:
    """Return the options that apply the tables of a run again."""
    tables = (("--class-map", run.class_map), ("--omit", run.omit))
    return [word for option, path in tables if path.is_file() for word in (option, str(path))]


def classes_of_recipes(recipes: Iterable[Mapping[str, Any]]) -> Classes:
    """Return the settings that all recipes have in common, as read from TOML or from a bundle."""
    found = [_classes_of(recipe) for recipe in recipes]
    return found[0] if found and all(each == found[0] for each in found) else Classes()


def class_map_of_model(model: str) -> Mapping[str, str]:
    """Return the class map that a run or a bundle was trained with; empty if there is none, or no such model."""
    try:
        manifest = read_manifest(bundle_directory(Path(model)) / MANIFEST)
    except TransferError:
        return {}  # loading the model tells what is wrong
    recipe = manifest.get("recipe")
    return classes_of_recipes([recipe if isinstance(recipe, dict) else {}]).map or {}


def _classes_of(recipe: Mapping[str, Any]) -> Classes:
    try:
        return Classes.model_validate(recipe.get("classes", {}))
    except ValidationError:
        return Classes()
