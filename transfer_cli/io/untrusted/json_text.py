"""Parse untrusted JSON: limited size and depth, unique keys, and no numbers outside the JSON standard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from transfer_cli.regular_file import read_regular

MAX_DEPTH = 100
"""Much more than a manifest or a network needs; the parser's stack allows about ten times as much."""


MAX_BYTES = 64_000_000
"""Largest file that this program writes as JSON: a ranking or metrics of thousands of classes has a few MB."""
MAX_VALUES = 2_000_000
"""The manifest of 100,000 classes has less than a quarter. A value of two bytes may take a hundred bytes of memory."""


def parse_json(data: bytes, *, most_bytes: int, most_values: int = MAX_VALUES) -> Any:
    """Parse a JSON text in UTF-8; names that are not UTF-8 keep their bytes.

    Raises
    ------
    ValueError
        If it is longer than `most_bytes`, has more than `most_values` values, is too deep, not JSON, has a key twice in
        one object, or a number such as NaN.
    """
    if len(data) > most_bytes:
        raise ValueError(f"{len(data):,} bytes of JSON, at most {most_bytes:,} are expected")
    # Before the parser makes objects of them; those in texts are counted as well, but there are few.
    if (values := sum(map(data.count, (b"{", b"[", b",")))) > most_values:
        raise ValueError(f"about {values:,} values in JSON, at most {most_values:,} are expected")
    try:
        text = data.decode("utf-8", "surrogateescape")
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for _ in iter_objects(value):
        pass
    return value


def read_json(path: Path, *, most_bytes: int = MAX_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises
    ------
    OSError
        If it cannot be read, or is no regular file.
    ValueError
        As `parse_json`.
    """
    return parse_json(read_regular(path, most_bytes=most_bytes), most_bytes=most_bytes, most_values=MAX_VALUES)


def iter_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value, itself included; raise ValueError below a depth of `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        yield from (each for each in level if isinstance(each, dict))
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for values in inside for each in values]
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError("it is nested too deeply")


def check_items(data: Any, limits: Mapping[str, int], kinds: Mapping[str, type] | None = None) -> None:
    """Check lists and objects in a JSON object before pydantic does, which makes an error of every wrong item.

    Parameters
    ----------
    data : object
        Anything; only an object is checked.
    limits : mapping of str to int
        Maximum number of items of a list or object, by its name.
    kinds : mapping of str to {str, float}, optional
        What all items of a list must be.

    Raises
    ------
    ValueError
        If there are more items, or one is of another kind.
    """
    found = data if isinstance(data, dict) else {}
    for name, most in limits.items():
        if isinstance(found.get(name), list | dict) and len(found[name]) > most:
            raise ValueError(f"{name}: it has {len(found[name]):,}, at most {most} are expected")
    for name, kind in (kinds or {}).items():
        accepted = str if kind is str else int | float
        if isinstance(found.get(name), list) and not all(isinstance(item, accepted) for item in found[name]):
            raise ValueError(f"{name}: it has an item that is not a {'text' if kind is str else 'number'}")


def validation_summary(error: ValidationError) -> str:
    """Return the first three validation errors, without the values, which may be long."""
    errors = [
        f"{'.'.join(map(str, each['loc']))[:80]}: {each['msg'].removeprefix('Value error, ')[:200]}".removeprefix(": ")
        for each in error.errors()[:3]
    ]
    return "; ".join(errors)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it has the key {duplicate!r} twice")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
