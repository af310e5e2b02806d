"""Write docs/recipes.md from the recipes and their words: ``python docs/recipes.py``; with ``--check`` only compare."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe, Recipe, recipe_names, shipped
from transfer_cli.recipe.toml_source import head_of, meanings

TARGET = Path(__file__).parent / "recipes.md"
HEAD = """# Recipes

This page is made by `python docs/recipes.py` from the recipes and the words they are made of.

A recipe is a TOML file with every choice of an `extract` or a `finetune`; a word that is not there has its default.
`transfer-cli recipes copy default mine.toml` makes one of your own, `transfer-cli recipes check mine.toml` says its
faults and all it comes to, `--set SECTION.WORD=VALUE` overrides a word for one run (`--set stage.1.epochs=3`; stages
are counted from 1). A recipe holds values and nothing that is run.
"""


def page() -> str:
    """Return the whole page."""
    parts = [
        HEAD,
        "## Those that come with the program\n",
        "| name | command | what | cost | score |",
        "|---|---|---|---|---|",
    ]
    for name in recipe_names():
        head = head_of(shipped(name).read_text("utf-8"))
        cells = [f"[{name}](../recipes/{name}.toml)", str(Recipe.load(name).method)]
        parts.append(f"| {' | '.join([*cells, head['summary'], head['cost'], head['score']])} |")
    parts += ["\n## The words\n", table("The top of the file", FinetuneRecipe, top=True)]
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
    return found


def section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section, or None where the field is a word."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def table(title: str, model: type[BaseModel], *, top: bool = False) -> str:
    """Return the words of a section as Markdown."""
    lines = [f"### {title}\n", *([] if top else [f"{(model.__doc__ or '').strip()}\n"])]
    lines += ["| word | values | default | meaning |", "|---|---|---|---|"]
    explained = meanings(model)
    for name, field in model.model_fields.items():
        if section(field) is None:
            meaning = explained[name].replace("\n", " ")
            values, usual = kinds(field.annotation) + bounds(field), default(field)
            if top and name == "method":
                values, usual = "extract or finetune", "the command's"
            lines.append(f"| `{name}` | {values} | {usual} | {meaning} |")
    return "\n".join(lines) + "\n"


def kinds(annotation: Any) -> str:
    """Return what a word takes, for a person."""
    names = {int: "whole number", float: "number", bool: "true, false", str: "text"}
    if annotation in names:
        return names[annotation]
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        given = [kinds(kind) for kind in get_args(annotation) if kind is not type(None)]
        return " or ".join(name for name in given if not (name == "whole number" and "number" in given))
    if get_origin(annotation) is tuple:
        return "list of numbers" if get_args(annotation)[-1] is Ellipsis else "two numbers"
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
    """Return what a word is where it is not given."""
    if field.is_required():
        return "must be given"
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
