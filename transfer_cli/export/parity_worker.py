"""Predict with an exported file in its own runtime, and time it, in a process that loads nothing else.

`parity.predict_with_file` starts it with the arguments FILE IMAGES.npy RESULT.npz.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import TransferError
from transfer_cli.inference.exported_model import exported_metadata, open_exported
from transfer_cli.inference.formats.signature import INPUT, OUTPUT, Run
from transfer_cli.quiet_imports import import_tensorflow

_TIMED_SECONDS = 2.0
_BATCH = 32


def predict_and_time(run: Run, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Return the probabilities, float32 of shape (n, k), and the milliseconds per image."""
    starts = range(0, len(images), _BATCH)
    probabilities = np.concatenate([run(np.ascontiguousarray(images[start : start + _BATCH])) for start in starts])
    # The runs above were the warm-up.
    batch = np.ascontiguousarray(images[:_BATCH])
    seconds: list[float] = []
    began = time.perf_counter()
    while not seconds or time.perf_counter() - began < _TIMED_SECONDS:
        start_time = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start_time)
    return probabilities, 1000 * float(np.median(seconds)) / len(batch)


def _open_saved_model(path: Path) -> Run:
    # The SavedModel must not need the package that wrote it.
    sys.modules["keras"] = None  # type: ignore[assignment]
    import_tensorflow(with_keras=False)
    import tensorflow as tf

    loaded: Any = tf.saved_model.load(path)

    # The signature is looked up in each call, because it does not keep `loaded` alive.
    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        outputs = loaded.signatures["serving_default"](**{INPUT: tf.constant(images)})
        return np.asarray(outputs[OUTPUT], np.float32)

    return run


def main(path: str, images: str, result: str) -> None:
    """Predict the images in one file with the exported file at `path`, and write the probabilities into another."""
    try:
        file = Path(path)
        run = _open_saved_model(file) if file.is_dir() else open_exported(file, exported_metadata(file))
        probabilities, ms_per_image = predict_and_time(run, np.load(images, mmap_mode="r"))
    except TransferError as error:
        sys.exit(str(error))
    np.savez(result, probabilities=probabilities, ms_per_image=ms_per_image)


if __name__ == "__main__":
    main(*sys.argv[1:])
