"""How alike given images are, by the features of a pretrained network: no run and no training is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.catalog import backbones
from transfer_cli.data.image_inputs import item_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError
from transfer_cli.features.feature_network import FeatureNetwork
from transfer_cli.features.nearest import unit_rows
from transfer_cli.io.cache import Cache
from transfer_cli.io.discovery import expand_paths, require_paths
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.text import counted, shell_command

MAX_IMAGES = 100
"""All pairs of more images are a table that nobody reads."""
MIN_REFERENCE = 20
"""Images whose pairs say what is usual; 20 have 190 pairs."""
_MAX_REFERENCE = 2000
_BATCH = 64
_DIGITS = 6


@dataclass(frozen=True)
class ImagePair:
    """Two images.

    Attributes
    ----------
    path_a, path_b : str
    cosine : float
        Cosine similarity of their features: 1 for identical images.
    percentile : float or None
        Percentage of the other pairs that are less alike; None if there are too few images to say so.
    """

    path_a: str
    path_b: str
    cosine: float
    percentile: float | None


@dataclass(frozen=True)
class ImagePairs:
    """The similarities of pairs of images.

    Attributes
    ----------
    pairs : tuple of ImagePair
        Most alike first; with a folder by image, the most alike ones of the folder first.
    images : int
        Number of images that were read.
    reference : int
        Number of images whose pairs give the percentiles; 0 if there are too few.
    skipped : tuple of Skipped
        Files that could not be read.
    left_out : mapping of str to int
        Number of files in folders that are not images, by reason.
    """

    pairs: tuple[ImagePair, ...]
    images: int
    reference: int
    skipped: tuple[Skipped, ...]
    left_out: Counter[str]


def image_pairs(
    paths: Iterable[StrPath],
    backbone: str = "mobilenet_v2",
    *,
    preprocess: str | None = None,
    count: int = 5,
    runtime: str | None = None,
    strict: bool = False,
    offline: bool = False,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> ImagePairs:
    """Return how alike images are: each pair of them, or, with a folder, each with the most similar ones of the folder.

    Parameters
    ----------
    paths : iterable of path
        Two or more images; or images and a folder to search.
    backbone : str
        Pretrained network that computes the features, as for `extract`, or a ``.keras`` file.
    preprocess : str, optional
        How a network in a file expects its pixels.
    count : int
        Number of images of the folder per image.
    runtime : str, optional
        Engine that runs the network: a row of `catalog.runtimes`. Default: decided by the number of images.
    strict : bool
        Raise ImageError at the first unreadable file.
    offline : bool
        Never open an internet connection.
    cache : Cache, optional
        Where converted networks are stored; the user's cache by default.
    progress : Progress

    Raises
    ------
    InputError
        If there are too few or too many images, or none can be read.
    UnknownNameError
        If there is no such backbone.
    WeightsError
        If pretrained weights are missing and cannot be downloaded.
    """
    given = [as_text(path, "each image") for path in paths]
    folders = [path for path in given if Path(path).is_dir()]
    left_out: Counter[str] = Counter()
    images = [path for path in given if path not in folders]
    _check_images(images, folders)
    gallery = [*require_paths(expand_paths(folders, left_out), left_out)] if folders else []
    if not backbones.is_network_file(backbone):
        backbones.find(backbone)
    choices = {"backbone.name": backbone, "backbone.preprocess": preprocess, "inference.runtime": runtime}
    recipe = ExtractRecipe.load(None, [], choices)
    network = FeatureNetwork.of_recipe(
        recipe, images=len(images) + len(gallery), offline=offline, cache=cache, progress=progress
    )
    with progress.track(f"features by {recipe.backbone.name}", len(images) + len(gallery)) as advance:
        asked, found = (_Features.read(network, paths, advance, strict) for paths in (images, gallery))
    read = asked.with_more(found)
    queries, searched = range(len(asked.paths)), range(len(asked.paths), len(read.paths))
    if not queries or len(read.paths) < 2:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in read.skipped[:20])
        raise InputError(f"Two images are needed for a comparison. Received: {len(read.paths)} readable.{reasons}")
    chosen = _nearest(read, queries, searched, count) if folders else _all_pairs(read)
    reference = searched if folders else queries
    pairs = _with_percentiles(read, chosen, reference, among_chosen=not folders)
    used = len(reference) if len(reference) >= MIN_REFERENCE else 0
    return ImagePairs(tuple(pairs), len(read.paths), used, read.skipped, left_out)


def _check_images(images: Sequence[str], folders: Sequence[str]) -> None:
    if not images or (len(images) < 2 and not folders):
        received = f"{counted(len(images), 'image')} and {counted(len(folders), 'folder')}"
        folder = folders[0] if folders else "FOLDER"
        raise InputError(
            f"Expected two or more images, or images and a folder to search. Received: {received}.",
            hint="To compare all images of a folder: "
            + shell_command("transfer-cli", "extract", folder, "--classifier", "none"),
        )
    if len(images) > MAX_IMAGES:
        raise InputError(
            f"Expected {MAX_IMAGES} images at most. Received: {len(images)}.",
            hint="To search in many images, put them into a folder: transfer-cli similar IMAGE FOLDER --backbone NAME. "
            "To do so often: transfer-cli extract FOLDER --classifier none, then transfer-cli similar RUN IMAGES",
        )


@dataclass(frozen=True)
class _Features:
    """The images that could be read, and their features with length 1, of shape (n, width)."""

    paths: tuple[str, ...]
    unit: NDArray[np.floating]
    skipped: tuple[Skipped, ...]

    @classmethod
    def read(
        cls, network: FeatureNetwork, paths: Sequence[str], advance: Callable[[int], None], strict: bool
    ) -> _Features:
        found: list[str] = []
        skipped: list[Skipped] = []
        rows = [np.empty((0, network.width), np.float32)]
        for batch in item_batches(paths, network.views, batch_size=_BATCH, strict=strict):
            if batch.paths:
                rows.append(network.features(batch.images))
            found += batch.paths
            skipped += batch.skipped
            advance(len(batch.paths) + len(batch.skipped))
        return cls(tuple(found), unit_rows(np.concatenate(rows).astype(np.float64)), tuple(skipped))

    def with_more(self, other: _Features) -> _Features:
        unit = np.concatenate([self.unit, other.unit])
        return _Features((*self.paths, *other.paths), unit, (*self.skipped, *other.skipped))

    def cosine(self, one: int, other: int) -> float:
        return float(self.unit[one] @ self.unit[other])


def _all_pairs(read: _Features) -> list[tuple[int, int, float]]:
    """Return all pairs, the most alike first."""
    pairs = ((one, other, read.cosine(one, other)) for one, other in combinations(range(len(read.paths)), 2))
    return sorted(pairs, key=lambda pair: -round(pair[2], _DIGITS))


def _nearest(
    read: _Features, queries: Sequence[int], searched: Sequence[int], count: int
) -> list[tuple[int, int, float]]:
    """Return each query with the most similar of the searched images, without the file itself."""
    found = []
    for query in queries:
        own = Path(read.paths[query]).resolve()
        others = [row for row in searched if Path(read.paths[row]).resolve() != own]
        pairs = [(query, row, read.cosine(query, row)) for row in others]
        found += sorted(pairs, key=lambda pair: -round(pair[2], _DIGITS))[:count]
    return found


def _with_percentiles(
    read: _Features, chosen: Sequence[tuple[int, int, float]], reference: Sequence[int], *, among_chosen: bool
) -> list[ImagePair]:
    """Return pairs with the percentage of the pairs of reference images that are less alike."""
    usual = _usual(read, reference)
    pairs = []
    for one, other, cosine in chosen:
        percentile = None
        if len(usual):
            # A pair is not compared with itself.
            less = int((usual < round(cosine, _DIGITS)).sum())
            percentile = round(100 * less / (len(usual) - among_chosen), 1)
        pairs.append(ImagePair(read.paths[one], read.paths[other], round(cosine, _DIGITS), percentile))
    return pairs


def _usual(read: _Features, rows: Sequence[int]) -> NDArray[np.floating]:
    """Return the cosine similarities of all pairs of some images, none if there are too few images."""
    if len(rows) < MIN_REFERENCE:
        return np.empty(0)
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MAX_REFERENCE)).astype(int))
    unit = read.unit[np.array(rows)[some]]
    return np.asarray((unit @ unit.T)[np.triu_indices(len(unit), 1)].round(_DIGITS))
