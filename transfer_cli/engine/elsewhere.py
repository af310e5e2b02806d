"""An exported file in its own runtime, in a process that has nothing else: what it says of pictures, and how fast.

Run as ``python -m transfer_cli.engine.elsewhere FILE IMAGES.npy RESULT.npz``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.engine.runtimes import Run
from transfer_cli.errors import TransferError

_TIMED_SECONDS = 2.0
_BATCH = 32


def answers(path: Path, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Return the probabilities of some pictures, and milliseconds a picture.

    Parameters
    ----------
    path : Path
        Of an exported file or a SavedModel.
    images : ndarray of shape (n, size, size, 3), uint8
    """
    run = _saved_model(path) if path.is_dir() else _opened(path)
    rows = np.concatenate([run(np.ascontiguousarray(images[at : at + _BATCH])) for at in range(0, len(images), _BATCH)])
    # By now all that is done once is done.
    some = np.ascontiguousarray(images[:_BATCH])
    times: list[float] = []
    begun = time.perf_counter()
    while not times or time.perf_counter() - begun < _TIMED_SECONDS:
        start = time.perf_counter()
        run(some)
        times.append(time.perf_counter() - start)
    return rows, 1000 * float(np.median(times)) / len(some)


def _opened(path: Path) -> Run:
    from transfer_cli.engine.exported_files import facts_of, open_exported

    return open_exported(path, facts_of(path))


def _saved_model(path: Path) -> Run:
    # It must not need what wrote it.
    sys.modules["keras"] = None  # type: ignore[assignment]
    from transfer_cli.engine.startup import start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    loaded: Any = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        # What is loaded must live as long as its signature is used.
        assert loaded is not None
        return np.asarray(signature(images=tf.constant(images))["probabilities"], np.float32)

    return run


def main(path: str, images: str, result: str) -> None:
    """Write what the file at `path` says of the pictures in one file into another."""
    try:
        probabilities, milliseconds = answers(Path(path), np.load(images, mmap_mode="r"))
    except TransferError as error:
        sys.exit(str(error))
    np.savez(result, probabilities=probabilities, milliseconds=milliseconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
