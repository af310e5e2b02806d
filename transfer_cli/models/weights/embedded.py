"""The weights that are shipped with the package: half-precision arrays in an npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from transfer_cli.errors import WeightsError

_REINSTALL = "Install transfer-cli again."


def load(network: keras.Model, path: Path) -> None:
    """Load the weights that embedded_weights/ship.py wrote into a network.

    Raises
    ------
    WeightsError
        If the file is damaged, or belongs to another network.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"Cannot read the weights in {path}: {error}.", hint=_REINSTALL) from error
    shapes = {name: array.shape for name, array in arrays.items()}
    wanted = {variable.path: tuple(variable.shape) for variable in network.weights}
    if shapes != wanted:
        odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        raise WeightsError(
            f"The weights in {path} belong to another network: {odd[0]} has shape {shapes.get(odd[0], 'none')}. "
            f"Expected {wanted.get(odd[0], 'none')}.",
            hint=_REINSTALL,
        )
    network.set_weights([arrays[variable.path].astype(np.float32) for variable in network.weights])
