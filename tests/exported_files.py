"""What the tests of exported files share: formats, faults to plant, and the places of bytes to spoil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transfer_cli.catalog import export_formats

F32 = [spec.name for spec in export_formats.EXPORTERS.values() if spec.precision == "f32"]
INT8 = [spec.name for spec in export_formats.EXPORTERS.values() if spec.precision == "int8"]


def swapped(network: Any) -> Any:
    """Return a network that takes blue for red."""
    import keras

    images = keras.Input(network.input_shape[1:], dtype="uint8")
    return keras.Model(images, network(images[..., ::-1]), name=network.name)


def blind(network: Any) -> Any:
    """Return a network that ignores its input, but for its size."""
    import keras

    images = keras.Input(network.input_shape[1:], dtype="uint8")
    return keras.Model(images, network(keras.ops.zeros_like(images)), name=network.name)


FAULTS = {"channels swapped": swapped, "input ignored": blind}


def spoilt(path: Path, count: int, seed: int = 0) -> Iterator[int]:
    """Change one byte of a file after another, spread over it; yield its place, and put it right again."""
    whole = path.read_bytes()
    random = np.random.default_rng(seed)
    for place in np.linspace(0, len(whole) - 1, count).astype(int).tolist():
        changed = bytearray(whole)
        changed[place] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        yield place
    path.write_bytes(whole)
