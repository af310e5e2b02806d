"""Decoding speed of JPEG files to 224 x 224 pixels: transfer-cli and the two functions of Keras.

python benchmarks/decode.py ../shared/data/clothing
"""

from __future__ import annotations

import tempfile
import warnings
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import measuring

from transfer_cli.quiet_imports import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from transfer_cli.data.image_batches import batches  # noqa: E402

warnings.filterwarnings("ignore", category=DeprecationWarning)
SIZES = {"0.2 MP": (500, 375, 400), "1 MP": (1155, 866, 200), "12 MP": (4000, 3000, 48)}


def main() -> None:
    """Print images/s of each decoder for three sizes of JPEG files."""
    options = measuring.arguments(__doc__)
    rows = []
    for name, (width, height, count) in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = measuring.make_images(options.photographs, Path(place) / "images", count, width, height)
            ways = {
                "ImageDataGenerator": partial(generator, folder),
                "image_dataset_from_directory": partial(dataset, folder),
                "transfer-cli": partial(own, folder),
            }
            seconds = measuring.alternate_apart(ways, options.rounds)
        rates = {way: count / measuring.median(values) for way, values in seconds.items()}
        row: dict[str, Any] = {"JPEG": f"{name}, {width} x {height}", **rates}
        row |= {f"ratio to {way}": rates["transfer-cli"] / rates[way] for way in list(rates)[:2]}
        rows.append(row)
    measuring.report("decode, images/s", rows, options.json)


def own(folder: Path) -> None:
    """Decode all files with transfer-cli."""
    paths = sorted(map(str, folder.rglob("*.jpg")))
    for _ in batches(paths, size=224, resize="squash", batch_size=32):
        pass


def generator(folder: Path) -> None:
    """Decode all files with ImageDataGenerator."""
    with redirect_stdout(StringIO()):
        flow = tf.keras.preprocessing.image.ImageDataGenerator().flow_from_directory(
            folder, target_size=(224, 224), batch_size=32, shuffle=False
        )
    for number in range(len(flow)):
        flow[number]


def dataset(folder: Path) -> None:
    """Decode all files with image_dataset_from_directory."""
    for _ in keras.utils.image_dataset_from_directory(
        folder, image_size=(224, 224), batch_size=32, shuffle=False, verbose=False
    ).prefetch(tf.data.AUTOTUNE):
        pass


if __name__ == "__main__":
    main()
