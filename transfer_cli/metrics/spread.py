"""How far the scores of repeated trainings lie apart: mean, standard deviation and range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from transfer_cli.metrics.scores import HEADLINES, Metrics

MIN_REPEATS, MAX_REPEATS = 2, 50


@dataclass(frozen=True)
class Spread:
    """The values of one metric in several trainings; this is no confidence interval.

    Attributes
    ----------
    values : tuple of float
        Of each training, in order. If one is NaN, as the images cannot tell it, so is all that follows from them.

    Examples
    --------
    >>> spread = Spread((0.8, 0.9, 0.7))
    >>> round(spread.mean, 3), round(spread.standard_deviation, 3), spread.lowest, spread.highest
    (0.8, 0.1, 0.7, 0.9)
    >>> spread
    0.800 (standard deviation 0.100, range 0.700 to 0.900)
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return fmean(self.values)

    @property
    def standard_deviation(self) -> float:
        """The standard deviation of the values, with n - 1 in the denominator."""
        return stdev(self.values) if self._is_defined else self.mean

    @property
    def lowest(self) -> float:
        """The lowest value."""
        return min(self.values) if self._is_defined else self.mean

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(self.values) if self._is_defined else self.mean

    @property
    def _is_defined(self) -> bool:
        return self.mean == self.mean

    def __repr__(self) -> str:
        mean, deviation, span = self.texts()
        return f"{mean} (standard deviation {deviation}, range {span})" if self._is_defined else mean

    def texts(self) -> tuple[str, str, str]:
        """Return the mean, the standard deviation and the range as text."""
        if not self._is_defined:
            return "undefined", "-", "-"
        return f"{self.mean:.3f}", f"{self.standard_deviation:.3f}", f"{self.lowest:.3f} to {self.highest:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON can hold them."""
        names = ("mean", "standard_deviation", "lowest", "highest")
        return {**{name: getattr(self, name) for name in names}, "values": list(self.values)}


Spreads = Mapping[str, Mapping[str, Spread]]
"""``{part: {metric: Spread}}``."""


def spreads_of(metrics: Sequence[Metrics]) -> Spreads:
    """Return the spread of the main metric and of the log loss, for each part that all trainings have.

    Parameters
    ----------
    metrics : sequence of mapping
        Of each training, as in metrics.json.
    """
    parts = [part for part in metrics[0] if all(part in each for each in metrics)]
    names = {part: [name for name in (*HEADLINES, "log_loss") if name in metrics[0][part]] for part in parts}
    return {
        part: {name: Spread(tuple(each[part][name]["value"] for each in metrics)) for name in names[part]}
        for part in parts
    }


SPREAD_COLUMNS = ("part", "metric", "mean", "standard deviation", "range")


def spread_rows(spreads: Spreads) -> list[tuple[str, ...]]:
    """Return a row of text per metric, by `SPREAD_COLUMNS`."""
    return [
        (part, name.replace("_", " "), *spread.texts())
        for part, of_part in spreads.items()
        for name, spread in of_part.items()
    ]
