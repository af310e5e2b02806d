"""Time per augmented image: transfer-cli and Keras's ImageDataGenerator, alternating in one process.

python benchmarks/augment.py --size 224 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np

from transfer_cli.quiet_imports import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

from transfer_cli.recipe.augmentation import Augmentation  # noqa: E402
from transfer_cli.recipe.recipes import FinetuneRecipe  # noqa: E402
from transfer_cli.training.augmentation.image_data_generator import Generator  # noqa: E402

warnings.filterwarnings("ignore", category=DeprecationWarning)


def main() -> None:
    """Print one row of a Markdown table per recipe and fill mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=50)
    arguments = parser.parse_args()
    shape = (arguments.images, arguments.size, arguments.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    print("| augmentation | fill mode | ImageDataGenerator, ms | transfer-cli, ms | ratio |")
    print("|---|---|---|---|---|")
    for recipe in ("default", "classic-augmentation"):
        for fill_mode in ("nearest", "constant", "reflect", "wrap"):
            settings = FinetuneRecipe.load(recipe).augmentation.model_dump() | {"fill_mode": fill_mode}
            augmentation = Augmentation.model_validate(settings)
            kinds = [tf.keras.preprocessing.image.ImageDataGenerator, Generator]
            times: list[list[float]] = [[], []]
            for number in range(arguments.rounds):
                for which, kind in enumerate(kinds):
                    generator = kind(**augmentation.generator_arguments(), dtype="float32")
                    begun = time.perf_counter()
                    transform(generator, images, number)
                    times[which].append((time.perf_counter() - begun) / len(images))
            theirs, ours = (1000 * statistics.median(values) for values in times)
            print(f"| {recipe} | {fill_mode} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f} |", flush=True)


def transform(generator: Any, images: np.ndarray[Any, Any], seed: int) -> None:
    """Augment all images."""
    for index, image in enumerate(images):
        generator.apply_transform(image, generator.get_random_transform(image.shape, 1000 * seed + index))


if __name__ == "__main__":
    main()
