"""One layer of a network that a recipe describes: its arguments in Keras, and what it costs, before it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGES = "images"
"""Name of the input of a network: the scaled images."""


@dataclass(frozen=True)
class PlannedLayer:
    """A layer to build.

    Attributes
    ----------
    name : str
    kind : str
        Class of keras.layers.
    inputs : tuple of str
        Names of the layers that it is applied to, or `IMAGES`.
    shape : tuple of int
        Of its output for one image: (height, width, channels) or (width,).
    settings : mapping of str to object
        Arguments of its class, without the name.
    parameters, multiply_adds : int
        For one image, counted as `models.layer_summary` counts those of a Keras layer.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any]
    parameters: int = 0
    multiply_adds: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers its output has for one image."""
        return math.prod(self.shape)
