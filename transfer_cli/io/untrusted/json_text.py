"""Parse untrusted JSON: limited size and depth, unique keys, and no numbers outside the JSON standard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from pydantic import ValidationError

MAX_DEPTH = 100
"""Much more than a manifest or a network needs; the parser's stack allows about ten times as much."""


def parse_json(data: bytes, *, most_bytes: int) -> Any:
    """Parse a JSON text in UTF-8; names that are not UTF-8 keep their bytes.

    Raises
    ------
    ValueError
        If it is longer than `most_bytes`, too deep, not JSON, has a key twice in one object, or a number such as NaN.
    """
    if len(data) > most_bytes:
        raise ValueError(f"{len(data):,} bytes of JSON, at most {most_bytes:,} are expected")
    try:
        text = data.decode("utf-8", "surrogateescape")
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for _ in iter_objects(value):
        pass
    return value


def iter_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value, itself included; raise ValueError below a depth of `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        yield from (each for each in level if isinstance(each, dict))
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for values in inside for each in values]
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError("it is nested too deeply")


def validation_summary(error: ValidationError) -> str:
    """Return the first three validation errors, without the values, which may be long."""
    errors = [f"{'.'.join(map(str, each['loc']))[:80]}: {each['msg'][:200]}" for each in error.errors()[:3]]
    return "; ".join(errors)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it has the key {duplicate!r} twice")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
