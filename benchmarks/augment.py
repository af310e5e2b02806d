"""Time per augmented image: transfer-cli and Keras's ImageDataGenerator, alternating in one process.

Then the time of each setting that ImageDataGenerator does not have.

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
from transfer_cli.training.augmentation.augmenter import Augmenter  # noqa: E402
from transfer_cli.training.augmentation.image_data_generator import Generator  # noqa: E402

warnings.filterwarnings("ignore", category=DeprecationWarning)

OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "random_crop": {"random_crop": 0.125},
    "random_resized_crop": {"random_resized_crop": (0.08, 1)},
    "hue and saturation": {"hue": 0.1, "saturation": 0.4},
    "pca_colour": {"pca_colour": 0.1},
    "random_erasing": {"random_erasing": 1},
    "randaugment": {"randaugment": 0.1},
}


def main() -> None:
    """Print one row of a Markdown table per recipe and fill mode, and one per further setting."""
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
    print("\n| setting | ms |\n|---|---|")
    for name, words in OWN_SETTINGS.items():
        augment = Augmenter(Augmentation(**words), seed=0)
        spent = [time_of(augment, images.astype(np.uint8), number) for number in range(arguments.rounds)]
        print(f"| {name} | {1000 * statistics.median(spent):.2f} |", flush=True)


def time_of(augment: Augmenter, images: np.ndarray[Any, Any], epoch: int) -> float:
    """Return the seconds that augmenting one image takes."""
    begun = time.perf_counter()
    for index, image in enumerate(images):
        augment(image, epoch, index)
    return (time.perf_counter() - begun) / len(images)


def transform(generator: Any, images: np.ndarray[Any, Any], seed: int) -> None:
    """Augment all images."""
    for index, image in enumerate(images):
        generator.apply_transform(image, generator.get_random_transform(image.shape, 1000 * seed + index))


if __name__ == "__main__":
    main()
