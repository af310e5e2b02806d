"""Convert a Keras network to a LiteRT graph, which other runtimes read as well."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from transfer_cli.errors import ModelError
from transfer_cli.inference.tensorflow_private import litert_converter
from transfer_cli.quiet_imports import captured_native_stderr


def convert(network: keras.Model, path: Path) -> None:
    """Write a network as a LiteRT graph with its weights as constants.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    path : Path

    Raises
    ------
    ModelError
        If the network cannot be converted.
    """
    try:
        with silent_converter():
            data = litert_converter(network).convert()
    except Exception as error:  # the converter raises many types for an unsupported operation
        raise ModelError(f"{network.name} cannot be converted to LiteRT: {error}.") from error
    path.write_bytes(data)


@contextmanager
def silent_converter() -> Iterator[None]:
    """Suppress the converter's messages to developers."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), captured_native_stderr(show=False):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
