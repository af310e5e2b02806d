"""Pictures that are there twice: byte for byte, or as copies (re-encoded, resized, cropped, mirrored, brightened)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.image_alignment import SAME, compare
from transfer_cli.audit.image_stats import Looks, hashes
from transfer_cli.progress import SILENT, Progress
from transfer_cli.system import processors

_BLOCK = 1024
"""Rows of the matrix of all against all that are in memory at a time."""
_BITS_APART = 10
"""Of 63 bits of the hash. Copies that were re-encoded, halved, mirrored or brightened differ in 8 or fewer of them, all
but one in twenty; 54 of 500,000 pairs of other photographs of clothing are as near as 10."""
_BY_HASH = 20
_BY_FEATURE = 5
"""Neighbours of a picture that are looked at: in a folder of one kind of thing all are near, and no bar would do."""
_LEAST_COSINE = 0.7
_FLAT = 2.0
"""Grey levels: what varies less than this has no look that could be compared."""


@dataclass(frozen=True)
class Pair:
    """Two pictures that are one.

    Attributes
    ----------
    path_a, path_b : str
        In the order of the pictures.
    kind : {"exact", "near"}
        The same bytes, or the same picture.
    score : float
        How alike their details are, 1 for the same bytes.
    mirrored : bool
        Whether one is the mirror image of the other.
    """

    path_a: str
    path_b: str
    kind: Literal["exact", "near"]
    score: float
    mirrored: bool


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Attributes
    ----------
    pairs : tuple of Pair
        In the order of the pictures. Of many files with the same bytes each is paired with the first.
    groups : tuple of tuple of str
        The paths that pairs connect, in the order of the pictures.
    """

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[str, ...], ...]


def find(
    looks: Looks, features: NDArray[np.float32] | None, *, verify: bool = True, progress: Progress = SILENT
) -> Duplicates:
    """Return the pictures that are there more than once.

    A pair is a candidate where the perceptual hashes of the two, or of one and the other's mirror image, are near, or
    one is among the nearest of the other by the cosine of their features; then the pixels decide (see
    alignment.compare).

    Parameters
    ----------
    looks : Looks
    features : ndarray of shape (n, width), float32, optional
        In the order of `looks`. Without them most copies that were cropped are no candidates.
    verify : bool
        Let the pixels decide; without it every candidate is a pair, for comparison.
    progress : Progress
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(looks.digests):
        rows_of[digest].append(row)
    first = np.array([rows[0] for rows in rows_of.values()], np.int64)
    found = [(rows[0], row, 1.0, False) for rows in rows_of.values() for row in rows[1:]]
    exact = len(found)
    found += _near(looks, first, features, verify, progress)
    pairs = [
        Pair(looks.paths[a], looks.paths[b], "exact" if number < exact else "near", round(score, 3), mirrored)
        for number, (a, b, score, mirrored) in enumerate(found)
    ]
    place = {path: row for row, path in enumerate(looks.paths)}
    pairs.sort(key=lambda pair: (place[pair.path_a], place[pair.path_b]))
    groups = connected(len(looks.paths), [(a, b) for a, b, _, _ in found])
    return Duplicates(tuple(pairs), tuple(tuple(looks.paths[row] for row in group) for group in groups))


def connected(count: int, edges: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the connected components of two or more of `count` nodes, in order."""
    above = list(range(count))

    def top(node: int) -> int:
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for a, b in edges:
        one, other = sorted((top(a), top(b)))
        above[other] = one
    members: dict[int, list[int]] = defaultdict(list)
    for node in range(count):
        members[top(node)].append(node)
    return [tuple(nodes) for nodes in members.values() if len(nodes) > 1]


def _near(
    looks: Looks, rows: NDArray[np.int64], features: NDArray[np.float32] | None, verify: bool, progress: Progress
) -> list[tuple[int, int, float, bool]]:
    """Return the near duplicates among some rows, which have different bytes: two rows, score, mirrored."""
    # A picture of one colour has no detail, and all such are alike.
    rows = rows[looks.contrast[rows] > _FLAT]
    grey = looks.grey[rows]
    signs = hashes(grey)
    turned = hashes(image[:, ::-1] for image in grey)
    least = signs.shape[1] - 2 * _BITS_APART
    near = [_nearest(signs, signs, _BY_HASH, least), _nearest(signs, turned, _BY_HASH, least)]
    if features is not None:
        length = np.linalg.norm(features[rows], axis=1, keepdims=True)
        unit = features[rows] / np.maximum(length, 1e-12)
        near.append(_nearest(unit, unit, _BY_FEATURE, _LEAST_COSINE))
    candidates = sorted(set(chain(*near)))
    if not verify:
        return [(int(rows[a]), int(rows[b]), 0.0, False) for a, b in candidates]
    found = []
    with (
        ThreadPoolExecutor(processors(), thread_name_prefix="compare") as pool,
        progress.track("comparing pictures that look alike", len(candidates)) as advance,
    ):
        for start in range(0, len(candidates), _BLOCK):
            part = candidates[start : start + _BLOCK]
            compared = pool.map(lambda pair: compare(grey[pair[0]], grey[pair[1]]), part)
            for (a, b), alike in zip(part, compared, strict=True):
                if alike.score >= SAME:
                    found.append((int(rows[a]), int(rows[b]), alike.score, alike.mirrored))
            advance(len(part))
    return found


def _nearest(
    left: NDArray[np.float32], right: NDArray[np.float32], count: int, least: float
) -> Iterable[tuple[int, int]]:
    """Yield pairs of rows, the lower first: each row of `left` and the nearest of `right` by their product."""
    total = len(left)
    count = min(count, total - 1)
    if count < 1:
        return
    for start in range(0, total, _BLOCK):
        product = left[start : start + _BLOCK] @ right.T
        here = np.arange(len(product))
        product[here, start + here] = -np.inf
        columns = np.argpartition(-product, count - 1, axis=1)[:, :count]
        near, place = np.nonzero(np.take_along_axis(product, columns, axis=1) >= least)
        for a, b in zip((start + near).tolist(), columns[near, place].tolist(), strict=True):
            yield (a, b) if a < b else (b, a)
