"""An exported file in its own runtime, in a process that has nothing else: what it says of pictures, and how fast.

Run as ``python -m transfer_cli.export.parity_worker FILE IMAGES.npy RESULT.npz [PICTURE...]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import TransferError
from transfer_cli.inference.formats.signature import OUTPUT
from transfer_cli.inference.runtimes import Run

_TIMED_SECONDS = 2.0
_BATCH = 32


def answers(run: Run, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Return the probabilities of some pictures, and milliseconds a picture.

    Parameters
    ----------
    run : callable
    images : ndarray of shape (n, size, size, 3), uint8
    """
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
    from transfer_cli.inference.exported_model import facts_of, open_exported

    return open_exported(path, facts_of(path))


def _saved_model(path: Path) -> tuple[Run, Callable[[list[bytes]], NDArray[np.float32]]]:
    """Return what a SavedModel says of pictures, and of the files they are decoded from."""
    # It must not need what wrote it.
    sys.modules["keras"] = None  # type: ignore[assignment]
    from transfer_cli.quiet_imports import start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    loaded: Any = tf.saved_model.load(path)

    # What is loaded must live as long as its signatures are used: they are looked up each time.
    def of_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = loaded.signatures["serving_default"](images=tf.constant(images))
        return np.asarray(given[OUTPUT], np.float32)

    def of_bytes(files: list[bytes]) -> NDArray[np.float32]:
        return np.asarray(loaded.signatures["serving_bytes"](bytes=tf.constant(files))[OUTPUT], np.float32)

    return of_images, of_bytes


def main(path: str, images: str, result: str, *encoded: str) -> None:
    """Write what the file at `path` says of the pictures in one file into another.

    Parameters
    ----------
    path, images, result : str
    *encoded : str
        JPEG and PNG files, for a SavedModel, which decodes by itself.
    """
    found: dict[str, Any] = {}
    try:
        if Path(path).is_dir():
            run, of_bytes = _saved_model(Path(path))
            if encoded:
                found["of_files"] = of_bytes([Path(each).read_bytes() for each in encoded])
        else:
            run = _opened(Path(path))
        found["probabilities"], found["milliseconds"] = answers(run, np.load(images, mmap_mode="r"))
    except TransferError as error:
        sys.exit(str(error))
    np.savez(result, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
