"""TensorFlow's first import, without what its C++ side has to say about graphics cards that are not there."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def import_ahead(*modules: str) -> None:
    """Import modules in the background while the network works; whoever needs one waits for it as usual."""

    def load() -> None:
        for module in modules:
            # Whoever imports it in earnest gets the error, too; a process that ends meanwhile lets no thread begin.
            with suppress(ImportError, RuntimeError):
                importlib.import_module(module)

    threading.Thread(target=load, name="import-ahead").start()


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
