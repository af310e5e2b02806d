"""The recipes that come with the program: where they are, what they are called, and copies to change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transfer_cli.errors import OutputError, UnknownNameError
from transfer_cli.io.atomic import write_text
from transfer_cli.recipe import toml_source


def recipes_folder() -> Path:
    """Return the folder of the built-in recipes: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "builtin"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "recipes"


RECOMMENDED: Mapping[str, str] = {
    "default": "start here",
    "imbalanced": "classes of very different sizes",
    "gentle-two-stage": "few images, or the default overfits",
    "quick": "a first look",
}
"""A few built-in recipes to choose from, and what for."""


def recipe_names(method: str | None = None) -> list[str]:
    """Return the names of the built-in recipes, or of those for one command."""
    files = sorted(recipes_folder().glob("*.toml"), key=lambda file: file.stem)
    return [file.stem for file in files if method is None or toml_source.read(file)[1].get("method") == method]


def builtin_recipe(name: str) -> Path:
    """Return the file of a built-in recipe; raise UnknownNameError if there is none of that name."""
    if name not in recipe_names():
        raise UnknownNameError.of("recipe", name, recipe_names(), "List all: transfer-cli recipes list")
    return recipes_folder() / f"{name}.toml"


def copy_builtin(name: str, target: Path) -> Path:
    """Copy a built-in recipe to `target`, or to NAME.toml in the folder `target`, and return its path.

    Raises
    ------
    UnknownNameError
        If there is no recipe of that name.
    OutputError
        If the file exists, or cannot be written.
    """
    source = builtin_recipe(name)
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise OutputError(f"{target} already exists.", hint="Choose the name of a new file.")
    write_text(target, source.read_text("utf-8"))
    return target
