"""The settings in which two recipes differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def recipe_differences(before: dict[Any, Any], after: dict[Any, Any]) -> list[str]:
    """Return one phrase per setting that differs between two recipes, as read from TOML."""
    if before.get("method") != after["method"]:
        return [f"it is a run of {before.get('method')}"]
    return [f"{key} is {_shown(was)} there and {_shown(now)} here" for key, was, now in _changed(before, after)]


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
