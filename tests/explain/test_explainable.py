"""Saliency maps of a trained model lie on the object of the class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest, explain_images
from transfer_cli.catalog import explainers
from transfer_cli.data.image_batches import batches
from transfer_cli.explain.explainable import Explainable
from transfer_cli.explain.overlay import upsampled
from transfer_cli.training.extract import extract

PAIRS = 40
Quarters = list[list[tuple[slice, slice]]]
MIN_CORRECT, MAX_CORRECT_BY_CHANCE = 0.75, 0.55


@pytest.fixture(scope="module")
def clothing(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a run on a few hundred garments, with pretrained weights."""
    root = tmp_path_factory.mktemp("clothing")
    for directory in sorted((shared / "data/clothing/train").iterdir()):
        (root / "few" / directory.name).mkdir(parents=True)
        for path in sorted(directory.glob("*.jpg"))[:20]:
            (root / "few" / directory.name / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(shared / "keras_home"))
        recipe = ExtractRecipe.load(None, ["backbone.name=mobilenet@0.25", "split.test=0"])
        extract(TrainingRequest(ImageFolder.scan(root / "few"), RunDirectory(root / "run"), offline=True), recipe)
        yield root / "run"


def two_garments(opened: Explainable, folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], Quarters]:
    """Return images with two garments in opposite quarters, both in the top 3; their classes and quarters."""
    names, size = opened.model.class_names, opened.model.image_size
    half = size // 2
    paths = sorted(map(str, folder.rglob("*.jpg")))
    tiles = next(batches(paths, size=half, resize="squash", batch_size=len(paths))).images
    classes = np.array([names.index(Path(path).parent.name) for path in paths])
    random = np.random.default_rng(5)
    images, columns, quarters = [], [], []
    while len(images) < PAIRS:
        two = random.choice(len(paths), 2, replace=False)
        rights = (0, 1) if random.integers(2) else (1, 0)
        image = np.full((size, size, 3), 128, np.uint8)
        sides = slice(0, half), slice(half, size)
        pair = [(sides[down], sides[right]) for down, right in enumerate(rights)]
        for tile, where in zip(tiles[two], pair, strict=True):
            image[where] = tile
        top3 = set(np.argsort(-opened.model.predict_proba(image[None])[0])[:3])
        if len(set(classes[two])) == 2 and set(classes[two]) <= top3:
            images.append(image)
            columns.append(classes[two])
            quarters.append(pair)
    return np.stack(images), np.stack(columns), quarters


def share_in_own_quarter(maps: NDArray[np.float32], quarters: Quarters) -> float:
    """Return the share of the maps (n, 2, h, w) with more energy in their own quarter than in the other one."""
    correct = []
    for two, pair in zip(maps, quarters, strict=True):
        energies = [[upsampled(map_, 224)[where].sum() for where in pair] for map_ in two]
        correct += [energies[0][0] > energies[0][1], energies[1][1] > energies[1][0]]
    return float(np.mean(correct))


@pytest.mark.parametrize("method", explainers.names())
def test_explainable_map_of_a_class_lies_on_its_garment(method: str, clothing: Path, shared: Path) -> None:
    opened = Explainable.open(str(clothing), method=method)
    images, columns, quarters = two_garments(opened, shared / "data/clothing/test")
    maps = opened.maps(images, columns)
    assert maps.shape[:2] == (PAIRS, 2)
    assert (maps.min(), maps.max()) == (0, 1)
    assert share_in_own_quarter(maps, quarters) >= MIN_CORRECT
    # Planted faults: the map of the other class, and the same map for both classes.
    assert share_in_own_quarter(maps[:, ::-1], quarters) <= 1 - MIN_CORRECT
    assert share_in_own_quarter(maps[:, [0, 0]], quarters) <= MAX_CORRECT_BY_CHANCE
    sums = maps.sum(axis=1, keepdims=True).repeat(2, axis=1)
    assert share_in_own_quarter(sums, quarters) <= MAX_CORRECT_BY_CHANCE
    second = explain_images(opened, images[:3], columns[:3, 1])
    np.testing.assert_allclose(second, maps[:3, 1], atol=1e-5)
    if opened.gradients:
        assert (opened.gradients.layer, opened.gradients.shape) == ("conv_pw_13_relu", (7, 7, 256))
        norm = explainers.ExplainerSpec("norm", lambda maps, _: np.linalg.norm(maps, axis=-1))
        norms = opened.gradients.maps(images, columns, norm)
        assert share_in_own_quarter(norms, quarters) <= MAX_CORRECT_BY_CHANCE
