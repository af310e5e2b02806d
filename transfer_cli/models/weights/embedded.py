"""The weights that are shipped with the package: half-precision arrays in an npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import WeightsError


def write(path: Path, network: keras.Model, arrays: Sequence[NDArray[np.float32]]) -> None:
    """Write the arrays, in the order of the network's weights, in half precision under their variable names.

    Raises
    ------
    WeightsError
        If a value is too large for half precision.
    """
    stored: dict[str, NDArray[np.float16]] = {}
    for variable, array in zip(network.weights, arrays, strict=True):
        with np.errstate(over="ignore"):
            half = np.asarray(array, np.float16)
        if not np.isfinite(half).all():
            raise WeightsError(f"{variable.path} does not fit half precision: {np.min(array):g} to {np.max(array):g}.")
        stored[variable.path] = half
    np.savez_compressed(path, **stored)  # type: ignore[arg-type]


def load(network: keras.Model, path: Path) -> None:
    """Load the weights that `write` wrote into a network.

    Raises
    ------
    WeightsError
        If the file is damaged, or belongs to another network.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(
            f"Cannot read the weights in {path}: {error}.", hint="Install transfer-cli again."
        ) from error
    shapes = {name: array.shape for name, array in arrays.items()}
    wanted = {variable.path: tuple(variable.shape) for variable in network.weights}
    if shapes != wanted:
        odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        raise WeightsError(
            f"The weights in {path} belong to another network: {odd[0]} has shape {shapes.get(odd[0], 'none')}. "
            f"Expected {wanted.get(odd[0], 'none')}.",
            hint="Install transfer-cli again.",
        )
    network.set_weights([arrays[variable.path].astype(np.float32) for variable in network.weights])
