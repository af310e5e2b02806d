"""Import TensorFlow and OpenVINO without their messages on the terminal and without telemetry."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def import_tensorflow() -> str:
    """Import TensorFlow and return the names of its devices.

    Its native libraries write a dozen lines to stderr that no setting turns off; they are shown only if the import
    fails.
    """
    with captured_native_stderr():
        import tensorflow as tf

        # Hide the warning about retracing when one process trains twice.
        tf.get_logger().setLevel("ERROR")
        for gpu in tf.config.list_physical_devices("GPU"):
            # By default TensorFlow allocates all memory of each GPU. An error means that it was initialised before.
            with suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(gpu, True)
        return ", ".join(device.name for device in tf.config.list_logical_devices())


def import_openvino(*modules: str) -> Any:
    """Import OpenVINO and modules that depend on it without telemetry, and return OpenVINO.

    OpenVINO reports its import to its vendor unless a file in the user's home folder declines. Hiding the package that
    sends the report turns this off.

    Parameters
    ----------
    *modules : str
        Further modules to import: nncf has the same telemetry.

    Raises
    ------
    ImportError
        If one of them is not installed.
    """
    with _hidden_package("openvino_telemetry"):
        openvino = importlib.import_module("openvino")
        for module in modules:
            importlib.import_module(module)
    return openvino


@contextmanager
def _hidden_package(package: str) -> Iterator[None]:
    """Make a package look as if it were not installed, unless it was imported before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(package, None)


@contextmanager
def import_in_background(*modules: str) -> Iterator[None]:
    """Import modules in a thread while the block runs; they are imported when the block ends.

    The block must not import any of them. If two threads import modules that import each other, Python breaks the
    deadlock by returning a partially imported module to one of them, and its import fails. Some scikit-learn modules
    import each other.
    """

    def load() -> None:
        for module in modules:
            # An error is raised again by the real import; at the exit of the process no thread can start.
            with suppress(Exception):
                importlib.import_module(module)

    thread = threading.Thread(target=load, name="import-in-background")
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def captured_native_stderr(*, show: bool = True) -> Iterator[None]:
    """Capture what native libraries write to stderr; with `show`, write it out if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(saved, captured.read() if show else b"")
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
