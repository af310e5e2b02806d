"""Write Keras models to files, and load them without running code from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from transfer_cli.errors import ModelError, OutputError
from transfer_cli.io.drafts import libraries_write_to, temporary_folder
from transfer_cli.io.reproducible_zip import make_reproducible
from transfer_cli.io.untrusted.keras_config import check_keras_file


def save_keras(network: keras.Model, path: Path) -> None:
    """Write a network to a ``.keras`` file; equal networks give equal bytes.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    # Keras creates a temporary folder, which must be removed after a kill, and must not be on a full disk.
    with temporary_folder(".keras-", path.parent) as folder, libraries_write_to(folder):
        network.save(path)
    make_reproducible(path)


def load_keras(path: Path) -> Any:
    """Return the model in a ``.keras`` file.

    Raises
    ------
    ModelError
        If the file holds anything but a network of this program (checked before Keras opens it), or Keras rejects it.
    """
    check_keras_file(path)
    try:
        with temporary_folder() as folder, libraries_write_to(folder):
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except OutputError:
        raise
    except Exception as error:  # Keras raises many types for a file that it rejects
        raise ModelError(f"Cannot load {path}: {error}.") from error
    if len(network.inputs) != 1 or len(network.outputs) != 1 or len(network.inputs[0].shape) != 4:
        raise ModelError(f"{path} is not a network from images to vectors.")
    return network
