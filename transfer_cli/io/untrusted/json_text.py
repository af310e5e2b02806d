"""JSON that somebody else may have written: of bounded size and depth, each name once, nothing but what JSON has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from pydantic import ValidationError

MOST_DEPTH = 100
"""Far more than a manifest or a network needs; a parser's stack takes about ten times as much."""


def parsed(data: bytes, *, most_bytes: int) -> Any:
    """Return what a JSON text says.

    Parameters
    ----------
    data : bytes
        UTF-8; names that are not keep their bytes.
    most_bytes : int
        A longer text is not parsed.

    Raises
    ------
    ValueError
        When it is too long, too deep, no JSON, says a name twice in one object, or holds a number that is none.
    """
    if len(data) > most_bytes:
        raise ValueError(f"{len(data):,} bytes of JSON, where {most_bytes:,} at most are expected")
    try:
        text = data.decode("utf-8", "surrogateescape")
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for _ in objects(value):
        pass
    return value


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a JSON value, itself included; raise ValueError below a depth of `MOST_DEPTH`."""
    level = [value]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                yield each
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return
        level = [each for each in below if isinstance(each, dict | list)]
    if level:
        raise ValueError("it is nested too deeply")


def faults_in_words(error: ValidationError) -> str:
    """Return the first few faults of what a JSON text says, without its words: these may be long."""
    faults = [f"{'.'.join(map(str, fault['loc']))[:80]}: {fault['msg'][:200]}" for fault in error.errors()[:3]]
    return "; ".join(faults)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it says {twice!r} twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
