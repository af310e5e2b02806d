"""Keras models read from files, never running what they bring along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.keras_config import must_be_known


def load_keras(path: Path) -> Any:
    """Return the model in a ``.keras`` file.

    Raises
    ------
    ModelError
        When it has more than a network of this program, which Keras then does not see; or when Keras does not take it.
    """
    must_be_known(path)
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds at a file it does not want
        raise ModelError(f"{path} could not be loaded: {error}.") from error
    if len(network.inputs) != 1 or len(network.outputs) != 1 or len(network.inputs[0].shape) != 4:
        raise ModelError(f"{path} was refused: it is not a network from pictures to rows.")
    return network
