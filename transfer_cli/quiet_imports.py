"""Use TensorFlow, OpenVINO and libtiff without their messages on the terminal, and without telemetry."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_KERAS_SETTINGS = ("KERAS_HOME", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")


def import_tensorflow(*, with_keras: bool = True) -> str:
    """Import TensorFlow, and Keras unless a process does without it, and return the names of the devices.

    TensorFlow's native libraries write a dozen lines to stderr that no setting turns off; they are shown only if the
    import fails.
    """
    with captured_native_stderr():
        with _without_keras_settings():
            import tensorflow as tf

            if with_keras:
                _set_up_keras()

        # Hide the warning about retracing when one process trains twice.
        tf.get_logger().setLevel("ERROR")
        for gpu in tf.config.list_physical_devices("GPU"):
            # By default TensorFlow allocates all memory of each GPU. An error means that it was initialised before.
            with suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(gpu, True)
        return ", ".join(device.name for device in tf.config.list_logical_devices())


def _set_up_keras() -> None:
    from keras.src.backend import config

    config._KERAS_DIR = os.environ.get("KERAS_HOME") or str(Path.home() / ".keras")
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")


@contextmanager
def _without_keras_settings() -> Iterator[None]:
    """Hide settings of Keras while it and TensorFlow, which holds an old Keras, are imported.

    They are in keras.json and in environment variables: float16 or channels_first would give other features, or
    networks into which the weights do not fit, and damaged settings an error in Keras.
    """
    hidden = {name: os.environ.pop(name) for name in _KERAS_SETTINGS if name in os.environ}
    # A folder that cannot exist, so that there are no settings to read; Keras does without.
    os.environ["KERAS_HOME"] = str(Path(os.devnull) / "keras")
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        os.environ.update(hidden)


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


@cache
def silence_libtiff() -> None:
    """Keep libtiff from writing its errors to the terminal; Pillow raises an exception for each of them anyway.

    The library is found through Pillow, which is linked to it. Where it is a part of Pillow itself (Windows), its
    functions have no names, and its messages stay.
    """
    from PIL import _imaging

    with suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


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
