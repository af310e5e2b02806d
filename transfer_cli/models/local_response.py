"""Local response normalisation (Krizhevsky et al. 2012, section 3.3) from standard layers and operations of Keras.

A layer of its own would be custom code in the files of a model, which no other program could load.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

WINDOW, OFFSET = 5, 2.0
"""n and k of the paper."""
ALPHA = 1e-4 * 127.5**2
"""The paper has 1e-4 for pixels from 0 to 255; here they are scaled to -1 to 1, and all maps with them."""


def local_response(maps: Any, name: str) -> Any:
    """Divide each value by ``(k + alpha * sum)**0.75``; the sum is that of the squares of 5 neighbouring channels.

    Parameters
    ----------
    maps : keras.KerasTensor of shape (n, height, width, channels), float32
    name : str
        Beginning of the names of its layers.
    """
    height, width, channels = maps.shape[1:]
    margin = WINDOW // 2
    # Channels become columns, which can be padded and shifted; pooling them would take twice as long.
    columns = layers.Reshape((height * width, channels, 1), name=f"{name}_columns")(maps * maps)
    columns = layers.ZeroPadding2D(((0, 0), (margin, margin)), name=f"{name}_padding")(columns)
    shifted = [
        layers.Cropping2D(((0, 0), (left, WINDOW - 1 - left)), name=f"{name}_shift{left}")(columns)
        for left in range(WINDOW)
    ]
    sums = layers.Reshape((height, width, channels), name=f"{name}_sums")(layers.Add(name=f"{name}_add")(shifted))
    root = keras.ops.sqrt(sums * ALPHA + OFFSET)
    return maps / (root * keras.ops.sqrt(root))
