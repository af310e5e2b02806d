"""Keras models read from files, never running what they bring along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from transfer_cli.errors import ModelError


def load_keras(path: Path) -> Any:
    """Return the model in a ``.keras`` file.

    Raises
    ------
    ModelError
        When Keras does not take it.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds at a file it does not want
        raise ModelError(f"{path} could not be loaded: {error}.") from error
