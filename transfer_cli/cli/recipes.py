"""``transfer-cli recipes``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import complete_recipes


@click.group("recipes")
def command() -> None:
    """List the recipes that come with the program, and make one of your own."""


@command.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the shipped recipes: what they do, what they cost, what they reached.

    \b
    Example:
        transfer-cli recipes list
    """
    from transfer_cli.recipe.recipes import Recipe, recipe_names, shipped
    from transfer_cli.recipe.toml_source import head_of

    console = ctx.ensure_object(Console)
    blocks, facts = [], []
    for name in recipe_names():
        method = Recipe.load(name).method
        head = head_of(shipped(name).read_text("utf-8"))
        lines = [f"{name} ({method})", head["summary"], *(f"{word}: {head[word]}" for word in ("cost", "score"))]
        blocks.append("\n  ".join(lines))
        facts.append({"name": name, "method": method, **head})
    console.result("\n".join(blocks), facts)
    console.note("next: transfer-cli recipes show NAME, or transfer-cli recipes copy NAME mine.toml")


@command.command("show")
@click.argument("name", shell_complete=complete_recipes)
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """Print a shipped recipe.

    \b
    Example:
        transfer-cli recipes show default
    """
    from transfer_cli.recipe.recipes import Recipe, shipped

    text = shipped(name).read_text("utf-8")
    ctx.ensure_object(Console).result(text.rstrip("\n"), Recipe.load(name).model_dump(mode="json"))


@command.command("copy")
@click.argument("name", shell_complete=complete_recipes)
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_context
def copy(ctx: click.Context, name: str, target: Path) -> None:
    """Copy a shipped recipe to TARGET, to be changed.

    \b
    Example:
        transfer-cli recipes copy default mine.toml
        transfer-cli recipes check mine.toml
        transfer-cli finetune photos --recipe mine.toml
    """
    from transfer_cli.recipe.recipes import Recipe, copy_shipped

    console = ctx.ensure_object(Console)
    written = copy_shipped(name, target)
    console.note(f"next: change {written}, then transfer-cli recipes check {written}")
    console.note(f"then: transfer-cli {Recipe.load(name).method} FOLDER --recipe {written}")
    console.result(str(written), {"recipe": str(written)})


@command.command("check")
@click.argument("source", metavar="FILE|NAME", shell_complete=complete_recipes)
@click.option("--set", "overrides", multiple=True, metavar="WORD=VALUE", help="Override a word of the recipe.")
@click.pass_context
def check(ctx: click.Context, source: str, overrides: tuple[str, ...]) -> None:
    """Say every fault of a recipe at once, or what it comes to.

    The recipe is written to stdout with nothing left out. Exit code 3 where it has faults.

    \b
    Example:
        transfer-cli recipes check mine.toml
    """
    from transfer_cli.catalog.tasks import MULTI_LABEL
    from transfer_cli.errors import RecipeError
    from transfer_cli.recipe.recipes import Recipe

    console = ctx.ensure_object(Console)
    recipe = Recipe.load(source, overrides)
    try:
        recipe = recipe.resolved()
    except RecipeError:
        # A word may be one of pictures with several labels; the fault of a recipe for neither is said.
        recipe = recipe.resolved(MULTI_LABEL)
    console.note(f"{source} has no fault: a recipe of {recipe.method}. Nothing left out, it says:")
    console.result(recipe.to_toml().rstrip("\n"), recipe.model_dump(mode="json"))
