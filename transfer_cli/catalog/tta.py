"""Ways to ask a model about several variants of a picture, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transfer_cli.errors import UnknownNameError

FLIP = "flip"
FEWEST, MOST = 2, 100
"""So many crops may be drawn by chance; of one there is nothing to average."""
_SEED = 0


class Variant(NamedTuple):
    """One way to see a picture.

    Attributes
    ----------
    down, across : float
        Where the crop begins, as a share of what the larger picture has to spare: 0 top or left, 1 bottom or right.
    mirrored : bool
        Left and right exchanged, after the crop.
    """

    down: float
    across: float
    mirrored: bool


@dataclass(frozen=True)
class TtaSpec:
    """What the catalog knows of a test-time augmentation.

    Attributes
    ----------
    name : str
        As it is typed.
    summary : str
        What it does, in a few words.
    source : str
        Who described it.
    variants : tuple of Variant
        Each is a pass through the network.
    crops : bool
        Whether they are cut out of a larger picture, rather than the picture itself.
    """

    name: str
    summary: str
    source: str
    variants: tuple[Variant, ...]
    crops: bool

    @property
    def passes(self) -> int:
        """How often the network is run for a picture."""
        return len(self.variants)


def names() -> list[str]:
    """Return the names of all rows, the cheapest first."""
    return list(METHODS)


def find(name: str) -> TtaSpec:
    """Return the row called `name`, or that of a number of crops; raise UnknownNameError where there is none."""
    if name.isascii() and name.isdecimal():
        return _drawn(int(name))
    if name not in METHODS:
        raise UnknownNameError.of("test-time augmentation", name, METHODS, _EXPECTED)
    return METHODS[name]


def _drawn(count: int) -> TtaSpec:
    if not FEWEST <= count <= MOST:
        why = "Of one crop there is nothing to average." if count == 1 else f"{count} crops are not to be had."
        raise UnknownNameError(why, hint=_EXPECTED)
    # One row for each that may be asked for: a larger number begins with the crops of a smaller one.
    drawn = np.random.default_rng(_SEED).random((MOST, 3)).tolist()
    crops = tuple(Variant(down, across, mirrored=coin < 0.5) for down, across, coin in drawn[: count - 1])
    summary = f"the middle and {count - 1} crops drawn by chance, mirrored or not, the same for every picture"
    return TtaSpec(str(count), summary, "Krizhevsky et al. 2012, who trained so", (_MIDDLE, *crops), crops=True)


_MIDDLE = Variant(0.5, 0.5, mirrored=False)
_CORNERS = tuple(Variant(down, across, mirrored=False) for down in (0.0, 1.0) for across in (0.0, 1.0))
_FIVE = (_MIDDLE, *_CORNERS)


def _and_mirrored(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    return (*variants, *(each._replace(mirrored=True) for each in variants))


_ROWS = (
    TtaSpec(
        FLIP, "the picture and its mirror image", "Simonyan and Zisserman 2015", _and_mirrored((_MIDDLE,)), crops=False
    ),
    TtaSpec("five-crop", "the middle and the four corners", "Krizhevsky et al. 2012", _FIVE, crops=True),
    TtaSpec(
        "ten-crop", "these five and their mirror images", "Krizhevsky et al. 2012", _and_mirrored(_FIVE), crops=True
    ),
)
METHODS = {row.name: row for row in _ROWS}
_EXPECTED = f"Expected one of {', '.join(METHODS)}, or a number of crops from {FEWEST} to {MOST}."
