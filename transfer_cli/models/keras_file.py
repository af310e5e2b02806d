"""Load Keras models from files without running code from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.keras_config import check_keras_file


def load_keras(path: Path) -> Any:
    """Return the model in a ``.keras`` file.

    Raises
    ------
    ModelError
        If the file holds anything but a network of this program (checked before Keras opens it), or Keras rejects it.
    """
    check_keras_file(path)
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types for a file that it rejects
        raise ModelError(f"Cannot load {path}: {error}.") from error
    if len(network.inputs) != 1 or len(network.outputs) != 1 or len(network.inputs[0].shape) != 4:
        raise ModelError(f"{path} is not a network from images to vectors.")
    return network
