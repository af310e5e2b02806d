"""Duplicate images: equal files, and near-duplicates (re-encoded, resized, cropped, mirrored or brightened)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.image_alignment import SAME_IMAGE, ComparedImage, compare_images
from transfer_cli.audit.image_stats import ImageStats, perceptual_hashes
from transfer_cli.progress import SILENT, Progress
from transfer_cli.system import cpu_count
from transfer_cli.text import counted

_BLOCK = 1024
"""Rows of the n x n similarity matrix that are in memory at once."""
_MAX_DIFFERENT_BITS = 10
"""Of the 63 bits of the hash. 95 % of near-duplicates that were re-encoded, halved, mirrored or brightened differ in at
most 8 bits; of 500,000 pairs of different photographs of clothing 54 differ in at most 10."""
_HASH_NEIGHBOURS = 20
_FEATURE_NEIGHBOURS = 5
"""Candidates per image by features. A fixed threshold would not do: in a folder of one kind of object all are close."""
_MIN_COSINE = 0.7
_MIN_CONTRAST = 2.0
"""Standard deviation in grey levels; an image with less has no detail to compare."""

Match = tuple[int, int, float, bool]
"""Rows of the two images, similarity score, whether one is mirrored."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two files with the same image.

    Attributes
    ----------
    path_a, path_b : str
        In input order.
    kind : {"exact", "near"}
        Equal bytes, or the same image after a small change.
    score : float or None
        Correlation of the details of both images, 0 to 1; 1 for equal bytes; None if only their hashes were compared.
    mirrored : bool
        Whether one is the mirror image of the other.
    """

    path_a: str
    path_b: str
    kind: Literal["exact", "near"]
    score: float | None
    mirrored: bool


@dataclass(frozen=True)
class Duplicates:
    """All duplicates of a list of images.

    Attributes
    ----------
    pairs : tuple of DuplicatePair
        In input order. Of several files with equal bytes each is paired with the first.
    groups : tuple of tuple of str
        Connected components of the pairs: paths, in input order.
    """

    pairs: tuple[DuplicatePair, ...]
    groups: tuple[tuple[str, ...], ...]


def find_duplicates(
    stats: ImageStats, features: NDArray[np.float32] | None, *, verify: bool = True, progress: Progress = SILENT
) -> Duplicates:
    """Return the images that occur more than once.

    Two images are a candidate pair if their perceptual hashes (or one and the hash of the other's mirror image) are
    close, or if one is among the nearest neighbours of the other by cosine similarity of their features. The pixels of
    each candidate are then compared, see `image_alignment.compare_images`.

    Parameters
    ----------
    stats : ImageStats
    features : ndarray of shape (n, width), float32, optional
        Features in the order of `stats`. Without features most cropped duplicates are missed.
    verify : bool
        Compare pixels; if False, every candidate is returned (for benchmarks).
    progress : Progress
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(stats.digests):
        rows_of[digest].append(row)
    distinct = np.array([rows[0] for rows in rows_of.values()], np.int64)
    exact: list[Match] = [(rows[0], row, 1.0, False) for rows in rows_of.values() for row in rows[1:]]
    matches = sorted(exact + _near_duplicates(stats, distinct, features, verify, progress))
    paths, digests = stats.paths, stats.digests
    pairs = tuple(
        DuplicatePair(paths[a], paths[b], "exact" if digests[a] == digests[b] else "near", round(score, 3), mirrored)
        for a, b, score, mirrored in matches
    )
    groups = connected_components(len(paths), [(a, b) for a, b, _, _ in matches])
    return Duplicates(pairs, tuple(tuple(paths[row] for row in group) for group in groups))


def connected_components(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the connected components of at least two of the nodes 0 to `count` - 1, in order.

    Examples
    --------
    >>> connected_components(5, [(0, 3), (3, 4)])
    [(0, 3, 4)]
    """
    from scipy.sparse import coo_array, csgraph

    ends = tuple(np.array(edges, np.int64).reshape(-1, 2).T)
    _, components = csgraph.connected_components(coo_array((np.ones(len(edges)), ends), (count, count)), directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    for node, component in enumerate(components.tolist()):
        members[component].append(node)
    return [tuple(nodes) for nodes in members.values() if len(nodes) > 1]


def _near_duplicates(
    stats: ImageStats, rows: NDArray[np.int64], features: NDArray[np.float32] | None, verify: bool, progress: Progress
) -> list[Match]:
    """Return the near-duplicates among some rows, all of different bytes."""
    rows = rows[stats.contrast[rows] > _MIN_CONTRAST]
    grey = stats.grey[rows]
    with progress.track(f"searching near-duplicates of {counted(len(rows), 'image')}", None):
        candidates = _candidates(grey, None if features is None else features[rows])
    if not verify:
        return [(int(rows[a]), int(rows[b]), 0.0, False) for a, b in candidates]
    matches = []
    with (
        ThreadPoolExecutor(cpu_count(), thread_name_prefix="compare") as pool,
        progress.track("comparing similar images", len(candidates)) as advance,
    ):
        for start in range(0, len(candidates), _BLOCK):
            block = candidates[start : start + _BLOCK]
            images = {row: ComparedImage(grey[row]) for pair in block for row in pair}
            compared = pool.map(compare_images, *zip(*((images[a], images[b]) for a, b in block), strict=True))
            for (a, b), (score, mirrored) in zip(block, compared, strict=True):
                if score >= SAME_IMAGE:
                    matches.append((int(rows[a]), int(rows[b]), score, mirrored))
            advance(len(block))
    return matches


def _candidates(grey: NDArray[np.uint8], features: NDArray[np.float32] | None) -> list[tuple[int, int]]:
    """Return pairs of images that may be near-duplicates, by hash and by features."""
    hashes = perceptual_hashes(grey)
    mirrored = perceptual_hashes(image[:, ::-1] for image in grey)
    least = hashes.shape[1] - 2 * _MAX_DIFFERENT_BITS
    neighbours = [_nearest(hashes, right, _HASH_NEIGHBOURS, least) for right in (hashes, mirrored)]
    if features is not None:
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        neighbours.append(_nearest(unit, unit, _FEATURE_NEIGHBOURS, _MIN_COSINE))
    return sorted(set(chain(*neighbours)))


def _nearest(
    left: NDArray[np.float32], right: NDArray[np.float32], count: int, least: float
) -> Iterable[tuple[int, int]]:
    """Yield pairs of rows, the lower first: each row of `left` and its `count` nearest of `right` by inner product."""
    if (count := min(count, len(left) - 1)) < 1:
        return
    for start in range(0, len(left), _BLOCK):
        product = left[start : start + _BLOCK] @ right.T
        here = np.arange(len(product))
        product[here, start + here] = -np.inf
        columns = np.argpartition(-product, count - 1, axis=1)[:, :count]
        near, place = np.nonzero(np.take_along_axis(product, columns, axis=1) >= least)
        for a, b in zip((start + near).tolist(), columns[near, place].tolist(), strict=True):
            yield (a, b) if a < b else (b, a)
