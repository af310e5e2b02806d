"""Parse untrusted TOML: limited size and depth, so that neither memory nor Python's stack runs out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from transfer_cli.io.untrusted.json_text import iter_objects
from transfer_cli.regular_file import read_regular

MAX_BYTES = 300_000
"""The longest recipe, that of an ensemble of 100 members, has some 20 kB."""
_MAX_DOTS = 100
"""Dots in one line beside those of comments: the parser's time grows with their square."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML text; raise ValueError if it is not TOML, too long, too deep, or has integers beyond 64 bits."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} characters of TOML, at most {MAX_BYTES:,} are expected")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for _ in iter_objects(data):
        pass
    _check_integers(data)
    return data


def _check_integers(value: object) -> None:
    """Raise ValueError if an integer has more than the 64 bits of TOML: Python cannot even print the longest ones."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("an integer has more than 64 bits")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_integers(each)


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and the data of a TOML file, with or without a byte order mark.

    Raises
    ------
    OSError
        If it cannot be read, or is no regular file.
    ValueError
        As `parse_toml`, or if it is not UTF-8.
    """
    text = read_regular(path, most_bytes=MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
    return text, parse_toml(text)
