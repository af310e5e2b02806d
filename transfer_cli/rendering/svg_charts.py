"""Line charts as numbers, which the template ``charts.html`` draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 16, 40


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    label : str
    points : sequence of (float, float)
    kind : str
        CSS classes: ``line``, ``line second``, ``faint``.
    dots : bool
        Whether to draw a dot at each point.
    column : int or None
        Index of the class whose colour the line has.
    """

    label: str
    points: Sequence[tuple[float, float]]
    kind: str = "line"
    dots: bool = False
    column: int | None = None


@dataclass(frozen=True)
class Mark:
    """A labelled vertical line at a value of the x-axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    title : str
    description : str
        Text alternative, for screen readers.
    axes : (str, str)
        Labels of the x-axis and the y-axis.
    lines : sequence of Line
    ranges : ((float, float), (float, float))
        Lowest and highest value of the x-axis, and of the y-axis.
    marks : sequence of Mark
    bars : sequence of (float, float, float)
        Left end, right end and height of each bar, drawn behind the lines.
    log : bool
        Whether the x-axis is logarithmic.
    """

    title: str
    description: str
    axes: tuple[str, str]
    lines: Sequence[Line]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    marks: Sequence[Mark] = ()
    bars: Sequence[tuple[float, float, float]] = ()
    log: bool = False
    width: int = WIDTH
    height: int = HEIGHT

    def x(self, value: float) -> float:
        """Return the x-coordinate of a value in pixels."""
        low, high = self.ranges[0]
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / ((high - low) or 1)
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the y-coordinate of a value in pixels; values outside the range are clipped."""
        low, high = self.ranges[1]
        share = (min(max(value, low), high) - low) / ((high - low) or 1)
        return round(self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM), 1)

    def path(self, line: Line) -> str:
        """Return the points of a line as the `points` attribute of an SVG polyline."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in line.points)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Coordinate and text of each tick of the x-axis."""
        low, high = self.ranges[0]
        if self.log:
            powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
            return [(self.x(10.0**power), f"{10.0**power:g}") for power in powers]
        return [(self.x(value), f"{value:g}") for value in ticks(low, high, 6)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Coordinate and text of each tick of the y-axis."""
        return [(self.y(value), f"{value:g}") for value in ticks(*self.ranges[1], 5)]

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plot area in pixels."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers from `low` to `high`.

    Examples
    --------
    >>> ticks(0, 18, 5)
    [0, 5, 10, 15]
    """
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
