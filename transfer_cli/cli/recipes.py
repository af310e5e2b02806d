"""``transfer-cli recipes``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._completion import complete_recipes
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import set_option
from transfer_cli.cli._types import PATH
from transfer_cli.text import shell_command


@click.group("recipes", short_help="List, show, copy and check recipes (training settings).")
def command() -> None:
    """List, show, copy and check recipes (files with all training settings)."""


@command.command("list")
@click.option("--sort", type=click.Choice(["name", "method"]), default="name", help="Sort by this.  [name]")
@pass_console
def list_(console: Console, sort: str) -> None:
    """List the built-in recipes with training time and accuracy.

    \b
    Example:
        transfer-cli recipes list
        transfer-cli recipes list --sort method
    """
    from transfer_cli.recipe.builtin_recipes import RECOMMENDED, builtin_recipe, recipe_names
    from transfer_cli.recipe.recipes import Recipe
    from transfer_cli.recipe.toml_source import head_of

    data = []
    for name in recipe_names():
        head = head_of(builtin_recipe(name).read_text("utf-8"))
        data.append({"name": name, "method": Recipe.load(name).method, **head, "recommended": RECOMMENDED.get(name)})
    data.sort(key=lambda each: (each[sort], each["name"]))
    console.result("\n".join(map(_block, data)), data)
    console.note(*(f"* {name}: {reason}" for name, reason in RECOMMENDED.items()))
    console.note("next: transfer-cli recipes show NAME, or transfer-cli recipes copy NAME mine.toml")


def _block(recipe: dict[str, Any]) -> str:
    """Return the description of a recipe in lines of at most 80 characters."""
    lines = [recipe["summary"], *(f"{word}: {recipe[word]}" for word in ("cost", "score"))]
    wrapped = [textwrap.fill(line, 80, initial_indent="  ", subsequent_indent="    ") for line in lines]
    mark = " *" if recipe["recommended"] else ""
    return "\n".join([f"{recipe['name']} ({recipe['method']}){mark}", *wrapped])


@command.command("show")
@click.argument("name", shell_complete=complete_recipes)
@pass_console
def show(console: Console, name: str) -> None:
    """Print a built-in recipe.

    \b
    Example:
        transfer-cli recipes show default
    """
    from transfer_cli.recipe.builtin_recipes import builtin_recipe
    from transfer_cli.recipe.recipes import Recipe

    text = builtin_recipe(name).read_text("utf-8")
    console.result(text.rstrip("\n"), Recipe.load(name).model_dump(mode="json"))


@command.command("copy")
@click.argument("name", shell_complete=complete_recipes)
@click.argument("target", type=PATH)
@pass_console
def copy(console: Console, name: str, target: Path) -> None:
    """Copy a built-in recipe to the file TARGET, to edit it.

    \b
    Example:
        transfer-cli recipes copy default mine.toml
        transfer-cli recipes check mine.toml
        transfer-cli finetune photos --recipe mine.toml
    """
    from transfer_cli.recipe.builtin_recipes import copy_builtin
    from transfer_cli.recipe.recipes import Recipe

    written = copy_builtin(name, target)
    console.note(f"next: edit {shell_command(written)}, then transfer-cli recipes check {shell_command(written)}")
    console.note(f"then: transfer-cli {Recipe.load(name).method} FOLDER --recipe {written}")
    console.result(str(written), {"recipe": str(written)})


@command.command("check")
@click.argument("source", metavar="FILE|NAME", shell_complete=complete_recipes)
@set_option
@pass_console
def check(console: Console, source: str, overrides: tuple[str, ...]) -> None:
    """Validate a recipe and print it with all defaults filled in.

    If the recipe is invalid, all errors are listed, with exit code 3.

    \b
    Example:
        transfer-cli recipes check mine.toml
    """
    from transfer_cli.catalog.tasks import MULTI_LABEL
    from transfer_cli.errors import RecipeError
    from transfer_cli.recipe.recipes import Recipe

    recipe = Recipe.load(source, overrides)
    try:
        recipe = recipe.resolved()
    except RecipeError:
        # Some settings are valid only for images with several labels; if that fails, too, the error is shown.
        recipe = recipe.resolved(MULTI_LABEL)
    console.note(f"{source} is a valid recipe for {recipe.method}; with all defaults filled in:")
    console.result(recipe.to_toml().rstrip("\n"), recipe.model_dump(mode="json"))
