"""Lines over axes, as numbers that a template draws as SVG: small, and in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 16, 40


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    label : str
    points : sequence of (float, float)
    kind : str
        How it is drawn: ``line``, ``line second``, ``faint``.
    dots : bool
        Whether its points are marked.
    column : int or None
        The class whose colour it has.
    """

    label: str
    points: Sequence[tuple[float, float]]
    kind: str = "line"
    dots: bool = False
    column: int | None = None


@dataclass(frozen=True)
class Mark:
    """A vertical line: a place on the first axis that has a name."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    title : str
    words : str
        What it shows, for who cannot see it.
    axes : (str, str)
        What is on the first axis, and on the second.
    lines : sequence of Line
    ranges : ((float, float), (float, float))
    marks : sequence of Mark
    bars : sequence of (float, float, float)
        From, to and height, drawn behind the lines.
    log : bool
        Whether the first axis is logarithmic.
    """

    title: str
    words: str
    axes: tuple[str, str]
    lines: Sequence[Line]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    marks: Sequence[Mark] = ()
    bars: Sequence[tuple[float, float, float]] = ()
    log: bool = False
    width: int = WIDTH
    height: int = HEIGHT

    def x(self, value: float) -> float:
        """Return where a value of the first axis is."""
        low, high = self.ranges[0]
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / ((high - low) or 1)
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        """Return where a value of the second axis is."""
        low, high = self.ranges[1]
        share = (min(max(value, low), high) - low) / ((high - low) or 1)
        return round(self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM), 1)

    def path(self, line: Line) -> str:
        """Return the points of a line as SVG has them."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in line.points)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Place and text of the marks of the first axis."""
        low, high = self.ranges[0]
        if self.log:
            powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
            return [(self.x(10.0**power), f"{10.0**power:g}") for power in powers]
        return [(self.x(value), f"{value:g}") for value in ticks(low, high, 6)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Place and text of the marks of the second axis."""
        return [(self.y(value), f"{value:g}") for value in ticks(*self.ranges[1], 5)]

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is drawn in."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers from `low` to `high`, about `count`."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
