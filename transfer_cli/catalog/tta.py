"""Test-time augmentation: sets of image variants whose predictions are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transfer_cli.catalog.lookup import lookup
from transfer_cli.errors import UnknownNameError

FLIP = "flip"
MIN_CROPS, MAX_CROPS = 2, 100
"""Accepted numbers of random crops."""
_SEED = 0


class Variant(NamedTuple):
    """One variant of an image.

    Attributes
    ----------
    down, across : float
        Position of the crop in the larger image: 0 is top or left, 1 is bottom or right.
    mirrored : bool
        Flipped horizontally after the crop.
    """

    down: float
    across: float
    mirrored: bool


@dataclass(frozen=True)
class TtaSpec:
    """A test-time augmentation.

    Attributes
    ----------
    name : str
        As typed on the command line.
    variants : tuple of Variant
        Each costs one pass through the network.
    crops : bool
        Whether the variants are crops of a larger image.
    """

    name: str
    variants: tuple[Variant, ...]
    crops: bool

    @property
    def passes(self) -> int:
        """Number of passes through the network per image."""
        return len(self.variants)


def names() -> list[str]:
    """Return the names of all methods, the cheapest first."""
    return list(METHODS)


def find(name: str) -> TtaSpec:
    """Return the method called `name` or with that number of crops; raise UnknownNameError if there is none."""
    if name.isascii() and name.isdecimal():
        return _random_crops(int(name))
    return lookup(METHODS, "test-time augmentation", name, _EXPECTED)


def _random_crops(count: int) -> TtaSpec:
    if not MIN_CROPS <= count <= MAX_CROPS:
        raise UnknownNameError(f"Expected {MIN_CROPS} to {MAX_CROPS} crops. Received: {count}.", hint=_EXPECTED)
    # The central and random crops, some mirrored, the same for every image, as in training (Krizhevsky et al. 2012).
    # A larger number starts with the crops of a smaller one.
    random = np.random.default_rng(_SEED).random((MAX_CROPS, 3)).tolist()
    crops = tuple(Variant(down, across, mirrored=coin < 0.5) for down, across, coin in random[: count - 1])
    return TtaSpec(str(count), (_CENTRE, *crops), crops=True)


_CENTRE = Variant(0.5, 0.5, mirrored=False)
_CORNERS = tuple(Variant(down, across, mirrored=False) for down in (0.0, 1.0) for across in (0.0, 1.0))
_FIVE = (_CENTRE, *_CORNERS)


def _with_mirrored(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    return (*variants, *(each._replace(mirrored=True) for each in variants))


_ROWS = (
    # Simonyan and Zisserman 2015.
    TtaSpec(FLIP, _with_mirrored((_CENTRE,)), crops=False),
    # Krizhevsky et al. 2012.
    TtaSpec("five-crop", _FIVE, crops=True),
    TtaSpec("ten-crop", _with_mirrored(_FIVE), crops=True),
)
METHODS = {row.name: row for row in _ROWS}
_EXPECTED = f"Expected one of {', '.join(METHODS)}, or a number of crops from {MIN_CROPS} to {MAX_CROPS}."
