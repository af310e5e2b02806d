"""How often the saliency map of a class lies on the object of that class, in images composed of two images.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/explain.py RUN ../shared/data/clothing/test

Two images of different classes are pasted into opposite quarters of a grey image. If both classes are among the top 3
predictions, the map of each should have more energy in its own quarter than in the other one. Baselines: the map of a
class that is not in the image, and the norm of the activations, which does not depend on the class (correct in 50 %).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import explainers
from transfer_cli.data.image_batches import batches
from transfer_cli.explain.explainable import Explainable
from transfer_cli.explain.overlay import upsampled
from transfer_cli.quiet_imports import import_tensorflow

GREY = 128
TOP = 3


def main() -> None:
    """Print one row of a Markdown table per method and random draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images", type=Path, help="folder with one sub-folder per class")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=200, help="number of images with both classes in the top 3")
    parser.add_argument("--layer", help="layer that Grad-CAM uses")
    parser.add_argument("--method", choices=explainers.names(), help="only this method")
    arguments = parser.parse_args()
    import_tensorflow()
    print("| draw | method | images | maps in own quarter | both maps of an image | ms/map |")
    print("|---|---|---|---|---|---|")
    for method in [arguments.method] if arguments.method else explainers.names():
        layer = arguments.layer if explainers.find(method).needs_gradient else None
        opened = Explainable.open(arguments.run, method=method, layer=layer)
        for draw in range(arguments.draws):
            images, columns, corners = pairs(opened, arguments.images, arguments.pairs, draw)
            start = time.perf_counter()
            maps = opened.maps(images, columns)
            milliseconds = 1000 * (time.perf_counter() - start) / columns.size
            report(f"{draw} | {method}", in_quarters(maps, corners), milliseconds)
            absent = np.array([(set(range(TOP)) - set(row)).pop() for row in columns])
            wrong = opened.maps(images, np.stack([absent, absent], axis=1))
            report(f"{draw} | {method}, another class", in_quarters(wrong, corners), milliseconds)
            report(f"{draw} | {method}, classes swapped", in_quarters(maps[:, ::-1], corners), milliseconds)
            if opened.gradients:
                report(
                    f"{draw} | norm of {opened.gradients.layer}",
                    in_quarters(norms(opened, images), corners),
                    milliseconds,
                )


def report(name: str, correct: NDArray[np.bool_], milliseconds: float) -> None:
    """Print one row."""
    print(
        f"| {name} | {len(correct)} | {correct.mean():.3f} | {correct.all(axis=1).mean():.3f} | {milliseconds:.0f} |",
        flush=True,
    )


def pairs(
    opened: Explainable, folder: Path, count: int, draw: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return images of two classes that the model both detects, the classes, and their quarters.

    Returns
    -------
    images : ndarray of shape (n, size, size, 3), uint8
    columns : ndarray of shape (n, 2), int
    corners : ndarray of shape (n, 2, 2), int
        Row and column of each quarter, 0 or 1.
    """
    size, names = opened.model.image_size, opened.model.class_names
    half = size // 2
    paths = [path for path in sorted(map(str, folder.rglob("*.jpg"))) if Path(path).parent.name in names]
    tiles = next(batches(paths, size=half, resize=opened.model.resize, batch_size=len(paths))).images
    classes = np.array([names.index(Path(path).parent.name) for path in paths])
    random = np.random.default_rng(draw)
    images, columns, corners = [], [], []
    while len(images) < count:
        two = random.choice(len(tiles), 2, replace=False)
        corner = np.array([[0, 0], [1, 1]] if random.integers(2) else [[0, 1], [1, 0]])
        image = np.full((size, size, 3), GREY, np.uint8)
        for tile, (down, right) in zip(tiles[two], corner, strict=True):
            image[down * half : (down + 1) * half, right * half : (right + 1) * half] = tile
        first = np.argsort(-opened.model.predict_proba(image[None])[0])[:TOP]
        if len(set(classes[two])) == 2 and set(classes[two]) <= set(first):
            images.append(image)
            columns.append(classes[two])
            corners.append(corner)
    return np.stack(images), np.stack(columns), np.stack(corners)


def in_quarters(maps: NDArray[np.float32], corners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the maps (n, 2, h, w) have more energy in their own quarter than in the other one."""
    correct = np.empty(maps.shape[:2], bool)
    for number, two in enumerate(maps):
        for place, map_ in enumerate(two):
            energy = [quarter(map_, corner) for corner in corners[number]]
            correct[number, place] = energy[place] > energy[1 - place]
    return correct


def quarter(map_: NDArray[np.float32], corner: NDArray[np.int64]) -> float:
    """Return the sum of a map over a quarter of the image."""
    size = 224
    whole, half = upsampled(map_, size), size // 2
    down, right = corner * half
    return float(whole[down : down + half, right : right + half].sum())


def norms(opened: Explainable, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the norm of the layer's activations, twice per image: a map that does not depend on the class."""

    def norm(activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.linalg.norm(activations, axis=-1)

    baseline = explainers.ExplainerSpec("norm", norm)
    assert opened.gradients is not None
    return opened.gradients.maps(images, np.zeros((len(images), 2), np.int64), baseline)


if __name__ == "__main__":
    main()
