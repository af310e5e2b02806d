"""What the tests of exported files share: formats, planted faults, and files with changed bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transfer_cli.catalog import export_formats

F32 = [spec.name for spec in export_formats.EXPORT_FORMATS.values() if spec.precision == "f32"]
INT8 = [spec.name for spec in export_formats.EXPORT_FORMATS.values() if spec.precision == "int8"]


def with_swapped_channels(network: Any) -> Any:
    """Return a network that reads BGR instead of RGB."""
    import keras

    images = keras.Input(network.input_shape[1:], dtype="uint8")
    return keras.Model(images, network(images[..., ::-1]), name=network.name)


def with_ignored_input(network: Any) -> Any:
    """Return a network that predicts the same for all images."""
    import keras

    images = keras.Input(network.input_shape[1:], dtype="uint8")
    return keras.Model(images, network(keras.ops.zeros_like(images)), name=network.name)


FAULTS = {"channels swapped": with_swapped_channels, "input ignored": with_ignored_input}


def with_changed_bytes(path: Path, count: int, seed: int = 0) -> Iterator[int]:
    """Change one byte of a file, yield its offset, and restore it, for `count` bytes spread over the file."""
    original = path.read_bytes()
    random = np.random.default_rng(seed)
    for offset in np.linspace(0, len(original) - 1, count).astype(int).tolist():
        changed = bytearray(original)
        changed[offset] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        yield offset
    path.write_bytes(original)
