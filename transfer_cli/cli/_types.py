"""Types of option values: paths, shares, seeds, durations, lists of names."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from transfer_cli.text import parse_duration

_MAX_EPOCHS = 10_000
PATH = click.Path(path_type=Path)
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)


class Share(click.ParamType[float]):
    """A number from 0 to 1; a percentage is refused, with the number that was probably meant."""

    name = "share"

    def __init__(self, *, above_zero: bool = False) -> None:
        self._range = click.FloatRange(0, 1, min_open=above_zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        try:
            return float(self._range.convert(value, param, ctx))
        except click.BadParameter:
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(value))
            share = float(match[1]) / 100 if match else 2.0
            guess = f" Did you mean {share:g}?" if share <= 1 else ""
            self.fail(f"Expected a number from 0 to 1. Received: {value}.{guess}", param, ctx)


def seed(value: Any) -> int:
    """Return a random seed, from 0 to 2^32 - 1 as NumPy requires."""
    return int(click.IntRange(0, 2**32 - 1)(value))


def epochs(text: str) -> int | str:
    """Return a number of epochs, or the word auto."""
    word = text.strip().lower()
    if word == "auto":
        return word
    if word.isdecimal() and 1 <= int(word) <= _MAX_EPOCHS:
        return int(word)
    raise click.BadParameter(f"Expected a whole number from 1 to {_MAX_EPOCHS}, or auto. Received: {text}.")


def learning_rate(text: str) -> float:
    """Return a learning rate above 0, at most 10."""
    with suppress(ValueError):
        if 0 < (rate := float(text)) <= 10:
            return rate
    raise click.BadParameter(f"Expected a number above 0 and at most 10, such as 0.001 or 3e-4. Received: {text}.")


def duration(text: str) -> float:
    """Return a time span such as 90s, 10m, 1h or 1h30m in seconds."""
    if seconds := parse_duration(text):
        return seconds
    raise click.BadParameter(f"{text!r} is not a time span. Expected for example 90s, 10m, 1h or 1h30m.")


def class_level(text: str) -> int | str:
    """Return the depth of the class folders, from 1, or the word last."""
    if text.strip().lower() == "last":
        return "last"
    if text.strip().isdecimal() and (level := int(text)) > 0:
        return level
    raise click.BadParameter(f"Expected a number from 1 (the sub-folders of FOLDER), or last. Received: {text}.")


def comma_separated(text: str) -> tuple[str, ...]:
    """Return several names, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
