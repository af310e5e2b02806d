"""Channels of a layer of a network, as a command names them: LAYER, LAYER:N or LAYER:N,M."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from transfer_cli.errors import UnknownNameError
from transfer_cli.explain.feature_maps import find_feature_map

DEFAULT_CHANNELS = 6
"""Number of channels, evenly spread, of a layer without channel numbers."""


@dataclass(frozen=True)
class Channels:
    """Some channels of a feature map.

    Attributes
    ----------
    layer : str
    operation : keras.Operation
        The layer.
    numbers : tuple of int
        From 0.
    """

    layer: str
    operation: Any
    numbers: tuple[int, ...]

    @classmethod
    def find(cls, network: keras.Model, text: str) -> Channels:
        """Return the channels that a text names.

        Parameters
        ----------
        network : keras.Model
        text : str
            ``LAYER`` for `DEFAULT_CHANNELS` channels, evenly spread; ``LAYER:3`` or ``LAYER:3,17`` for these.

        Raises
        ------
        UnknownNameError
            If there is no such layer with a feature map, or it has no such channel.
        """
        layer, _, listed = text.partition(":")
        operation = find_feature_map(network, layer)
        count = int(operation.output.shape[-1])
        if not listed:
            spread = np.linspace(0, count - 1, min(DEFAULT_CHANNELS, count)).round().astype(int)
            return cls(layer, operation, tuple(spread.tolist()))
        numbers = [_number(word.strip(), layer, count) for word in listed.split(",")]
        return cls(layer, operation, tuple(dict.fromkeys(numbers)))

    def mean_activations(self, activations: Any) -> Any:
        """Return the mean over the positions of each channel, of shape (n, channels)."""
        means = np.asarray(keras.ops.convert_to_numpy(activations), np.float32).mean(axis=(1, 2))
        return means[:, list(self.numbers)]


def _number(word: str, layer: str, count: int) -> int:
    if word.isascii() and word.isdecimal() and int(word) < count:
        return int(word)
    near = f" The nearest is {count - 1}." if word.isascii() and word.isdecimal() else ""
    raise UnknownNameError(
        f"{layer} has {count:,} channels, 0 to {count - 1}. Received: {word!r}.{near}",
        hint=f"Name one of them, {layer}:{count // 2}, or leave out the number for some of them: {layer}",
    )
