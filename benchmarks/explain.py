"""How often the map of a class lies on what is of that class: two pictures of different classes in one.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/explain.py RUN ../shared/data/clothing/test

Two pictures are put into opposite quarters of a grey one. Where both classes are among the model's three most probable,
the map of each should have more energy in its own quarter than in the other's. Beside each method: the map of a class
that is not on the picture, and the norm of the activations, which knows of no class and so is right once in two.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import explainers
from transfer_cli.data.image_batches import batches
from transfer_cli.explain.explain import Explainable
from transfer_cli.explain.overlay import upsampled
from transfer_cli.quiet_imports import import_tensorflow

GREY = 128
TOP = 3


def main() -> None:
    """Print one line of a Markdown table for each method and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images", type=Path, help="a folder with one sub-folder a class")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=200, help="of which both classes are among the first three")
    parser.add_argument("--layer", help="whose maps grad-cam looks at")
    parser.add_argument("--method", choices=explainers.names(), help="this one alone")
    arguments = parser.parse_args()
    import_tensorflow()
    print("| draw | method | pictures | maps in their quarter | both maps of a picture | ms a map |")
    print("|---|---|---|---|---|---|")
    for method in [arguments.method] if arguments.method else explainers.names():
        layer = arguments.layer if explainers.find(method).needs_gradient else None
        opened = Explainable(arguments.run, method=method, layer=layer)
        for draw in range(arguments.draws):
            images, columns, corners = pairs(opened, arguments.images, arguments.pairs, draw)
            begun = time.perf_counter()
            maps = opened.maps(images, columns)
            took = 1000 * (time.perf_counter() - begun) / columns.size
            report(f"{draw} | {method}", in_quarters(maps, corners), took)
            absent = np.array([(set(range(TOP)) - set(row)).pop() for row in columns])
            wrong = opened.maps(images, np.stack([absent, absent], axis=1))
            report(f"{draw} | {method}, another class", in_quarters(wrong, corners), took)
            report(f"{draw} | {method}, classes swapped", in_quarters(maps[:, ::-1], corners), took)
            if opened.gradients:
                report(f"{draw} | norm of {opened.gradients.layer}", in_quarters(norms(opened, images), corners), took)


def report(name: str, found: NDArray[np.bool_], took: float) -> None:
    """Print a line."""
    print(f"| {name} | {len(found)} | {found.mean():.3f} | {found.all(axis=1).mean():.3f} | {took:.0f} |", flush=True)


def pairs(
    opened: Explainable, folder: Path, count: int, draw: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return pictures of two classes that the model sees both of, their columns, and the corners they lie in.

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
    """Return which of the maps (n, 2, h, w) have more energy in their own quarter than in the other's."""
    found = np.empty(maps.shape[:2], bool)
    for number, two in enumerate(maps):
        for place, map_ in enumerate(two):
            energy = [quarter(map_, corner) for corner in corners[number]]
            found[number, place] = energy[place] > energy[1 - place]
    return found


def quarter(map_: NDArray[np.float32], corner: NDArray[np.int64]) -> float:
    """Return what of a map lies in a quarter, in the pixels of the picture."""
    size = 224
    whole, half = upsampled(map_, size), size // 2
    down, right = corner * half
    return float(whole[down : down + half, right : right + half].sum())


def norms(opened: Explainable, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the norm of the layer's activations, twice for each picture: a map that knows of no class."""

    def norm(activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.linalg.norm(activations, axis=-1)

    blind = explainers.ExplainerSpec("norm", "the norm of the activations", "", norm)
    assert opened.gradients is not None
    return opened.gradients.maps(images, np.zeros((len(images), 2), np.int64), blind)


if __name__ == "__main__":
    main()
