"""Write docs/recipes.md from the recipes and the code: ``python docs/recipes.py``; ``--check`` only compares."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from transfer_cli.recipe.builtin_recipes import builtin_recipe, recipe_names
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe, Recipe
from transfer_cli.recipe.toml_source import head_of
from transfer_cli.recipe.unknown_settings import section_of

TARGET = Path(__file__).parent / "recipes.md"
HEAD = """# Recipes

This page is generated from the recipes and the code by `python docs/recipes.py`.

A recipe is a TOML file with all settings of an `extract` or `finetune` run; settings that are left out have their
default. `transfer-cli recipes copy default mine.toml` makes a copy to edit, `transfer-cli recipes check mine.toml`
lists its errors or prints it with all defaults filled in, and `--set SECTION.KEY=VALUE` overrides one setting for one
run (`--set stage.1.epochs=3`; stages count from 1). A recipe holds values only, never code.
"""


def page() -> str:
    """Return the whole page."""
    parts = [
        HEAD,
        "## Built-in recipes\n",
        "| name | command | purpose | cost | score |",
        "|---|---|---|---|---|",
    ]
    for name in recipe_names():
        head = head_of(builtin_recipe(name).read_text("utf-8"))
        cells = [f"[{name}](../recipes/{name}.toml)", str(Recipe.load(name).method)]
        parts.append(f"| {' | '.join([*cells, head['summary'], head['cost'], head['score']])} |")
    parts += ["\n## Settings\n", table("Top of the file", FinetuneRecipe, top=True)]
    sections = {**sections_of(ExtractRecipe, "extract"), **sections_of(FinetuneRecipe, "finetune")}
    for title, model in sections.items():
        parts.append(table(title, model))
    return "\n".join(parts)


def sections_of(recipe: type[Recipe], method: str) -> dict[str, type[BaseModel]]:
    """Return the sections of a recipe by their titles."""
    other = FinetuneRecipe if recipe is ExtractRecipe else ExtractRecipe
    found = {}
    for name, field in recipe.model_fields.items():
        model = section(field)
        if model is None:
            continue
        title = f"`[[{name}]]`" if get_origin(field.annotation) is tuple else f"`[{name}]`"
        same = name in other.model_fields and section(other.model_fields[name]) is model
        found[title if same else f"{title} of {method}"] = model
        for inner, each in model.model_fields.items():
            if part := section(each):
                found[f"`[[{name}.{inner}]]` of {method}"] = part
    return found


def section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section or of each item of a list of sections, or None if the field is a setting."""
    return section_of(field.annotation, lists=True)


def table(title: str, model: type[BaseModel], *, top: bool = False) -> str:
    """Return the settings of a section as a Markdown table."""
    lines = [f"### {title}\n", *([] if top else [f"{inspect.cleandoc(model.__doc__ or '')}\n"])]
    lines += ["| setting | values | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if section(field) is None:
            values, usual = kinds(field.annotation) + bounds(field), default(field)
            if top and name == "method":
                values, usual = "extract or finetune", "the command's"
            lines.append(f"| `{name}` | {values} | {usual} | {field.description} |")
    return "\n".join(lines) + "\n"


def kinds(annotation: Any) -> str:
    """Return the accepted values of a setting."""
    names = {int: "whole number", float: "number", bool: "true, false", str: "text"}
    if annotation in names:
        return names[annotation]
    if get_origin(annotation) is Annotated:
        kind, *rules = get_args(annotation)
        return kinds(kind) + "".join(bounds(rule) for rule in rules if isinstance(rule, FieldInfo))
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        given = [kinds(kind) for kind in get_args(annotation) if kind is not type(None)]
        return " or ".join(name for name in given if not (name == "whole number" and "number" in given))
    if get_origin(annotation) is tuple:
        return "list of numbers" if get_args(annotation)[-1] is Ellipsis else "two numbers"
    if get_origin(annotation) is dict:
        return "table of text"
    raise TypeError(annotation)


def bounds(field: FieldInfo) -> str:
    """Return the bounds of a number."""
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = [
        f"{word} {getattr(rule, sign)}"
        for rule in field.metadata
        for sign, word in words.items()
        if hasattr(rule, sign)
    ]
    return f", {' '.join(found)}" if found else ""


def default(field: FieldInfo) -> str:
    """Return the default of a setting."""
    if field.is_required():
        return "required"
    return (
        "-"
        if field.default is None
        else str(field.default).lower()
        if isinstance(field.default, bool)
        else str(field.default)
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == page() else f"{TARGET} is not up to date: python docs/recipes.py")
    TARGET.write_text(page())
