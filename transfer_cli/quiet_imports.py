"""The first import of TensorFlow and of OpenVINO, without what they say to the terminal or send over the network."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def start_tensorflow() -> str:
    """Import TensorFlow and return the names of the devices it found.

    Its libraries write a dozen lines to file descriptor 2 that no setting turns off; they are shown only if the
    import fails.
    """
    with native_stderr_kept():
        import tensorflow as tf

        # A second training in one process traces the same functions for other shapes, which is no person's concern.
        tf.get_logger().setLevel("ERROR")
        for card in tf.config.list_physical_devices("GPU"):
            # Else TensorFlow takes all the memory of each card. Whoever has started it before has chosen already.
            with suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(card, True)
        return ", ".join(device.name for device in tf.config.list_logical_devices())


def start_openvino(*modules: str) -> Any:
    """Import OpenVINO, and modules that build on it, without their telemetry, and return OpenVINO.

    Importing it tells its makers that it was imported, unless a file in the person's home declines. Without the package
    that sends, it does its work as ever.

    Parameters
    ----------
    *modules : str
        What else to import: nncf has the same telemetry.

    Raises
    ------
    ImportError
        When one of them is not installed.
    """
    with _kept_out("openvino_telemetry"):
        openvino = importlib.import_module("openvino")
        for module in modules:
            importlib.import_module(module)
    return openvino


@contextmanager
def _kept_out(package: str) -> Iterator[None]:
    """Let a package be one that is not installed, unless it was imported before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(package, None)


@contextmanager
def import_ahead(*modules: str) -> Iterator[None]:
    """Import modules in the background while the block runs, which must need none of them itself.

    When the block ends they are there. Two threads that import modules which import one another would wait for each
    other for ever; Python sees that, and hands one of them a module that is half imported: scikit-learn's have such
    circles, and the import then fails where all is well.
    """

    def load() -> None:
        for module in modules:
            # Whoever imports it in earnest gets the error, too; a process that ends meanwhile lets no thread begin.
            with suppress(Exception):
                importlib.import_module(module)

    thread = threading.Thread(target=load, name="import-ahead")
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def native_stderr_kept(*, show: bool = True) -> Iterator[None]:
    """Keep what native libraries write to file descriptor 2, and show it, if at all, only if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(saved, kept.read() if show else b"")
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
