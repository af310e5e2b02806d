"""The settings in which two recipes differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TABLES = (("--class-map", "map"), ("--omit", "omit_sha256"))
"""Options whose tables a recipe records, and the setting that tells them apart."""


def recipe_differences(before: dict[Any, Any], after: dict[Any, Any]) -> list[str]:
    """Return one phrase per setting that differs between two recipes, as read from TOML."""
    if before.get("method") != after["method"]:
        return [f"it is a run of {before.get('method')}"]
    tables = [
        _table_difference(option, *(_table(recipe, key) for recipe in (before, after))) for option, key in _TABLES
    ]
    before, after = ({key: value for key, value in recipe.items() if key != "classes"} for recipe in (before, after))
    changed = [f"{key} is {_shown(was)} there and {_shown(now)} here" for key, was, now in _changed(before, after)]
    return [*changed, *filter(None, tables)]


def _table(recipe: dict[Any, Any], key: str) -> Any:
    """Return what a recipe records of a table; None if it was made without it."""
    classes = recipe.get("classes")
    return classes.get(key) if isinstance(classes, dict) else None


def _table_difference(option: str, was: Any, now: Any) -> str:
    if was == now:
        return ""
    if was is None or now is None:
        there, here = ("given" if value is not None else "not given" for value in (was, now))
        return f"{option} is {there} there and {here} here"
    return f"{option} is another table there"


def _changed(before: dict[Any, Any], after: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(before.keys() | after.keys(), key=str):
        was, now = before.get(key), after.get(key)
        if isinstance(was, list) and isinstance(now, list):
            was, now = (dict(enumerate(items, start=1)) for items in (was, now))
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _changed(was, now, f"{prefix}{key}.")
        elif was != now:
            yield f"{prefix}{key}", was, now


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
