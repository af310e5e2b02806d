"""Types of option values: shares, seeds, durations, lists of names."""

from __future__ import annotations

import re
from typing import Any

import click


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


class Seed(click.ParamType[int]):
    """A random seed, from 0 to 2^32 - 1 as NumPy requires."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        return int(click.IntRange(0, 2**32 - 1).convert(value, param, ctx))


class Duration(click.ParamType[float]):
    """A time span such as 90s, 10m, 1h or 1h30m, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(value).strip().replace(" ", "").lower())
        hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
        total = 3600 * hours + 60 * minutes + seconds
        if not total:
            self.fail(f"{value!r} is not a time span. Expected for example 90s, 10m, 1h or 1h30m.", param, ctx)
        return float(total)


class Names(click.ParamType[tuple[str, ...]]):
    """Several names, separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        if isinstance(value, tuple):
            return value
        return tuple(name.strip() for name in str(value).split(",") if name.strip())
