"""Near-duplicates across the parts of a split, found within seconds: `audit.leakage` looks closer, and takes longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.duplicates import DuplicatePair, Duplicates, connected_components
from transfer_cli.data.split import Split
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.features.fingerprints import BITS, Fingerprints, Small
from transfer_cli.system import cpu_count

if TYPE_CHECKING:
    from transfer_cli.audit.image_alignment import ComparedImage

_BLOCK = 512
"""Held-out images that are compared with all others at a time."""
_MAX_DIFFERENT_BITS = 10
_MAX_DIFFERENT_BITS_ALIGNED = 18
"""Of images that are compared without alignment, which is fast: frames of a film with a moving animal differ in 16."""
_LEAST_EQUAL, _LEAST_EQUAL_ALIGNED = BITS - 2 * _MAX_DIFFERENT_BITS, BITS - 2 * _MAX_DIFFERENT_BITS_ALIGNED
_HASH_NEIGHBOURS = 3
_KEPT = 4096
"""Images whose details are kept between comparisons: 30 kB each."""
_MIN_COSINE = 0.7
_MIN_SCORE = 0.85
"""Of the small versions. Of 150 photographs of clothing, those that were re-encoded, halved or mirrored have at least
0.97, 95 % of those that were brightened 0.92; 1,700 pairs of different ones with similar features at most 0.84."""
_MIN_SCORE_ALIGNED = 0.75
"""Without alignment: frames of a film have at least 0.83, 4,000 pairs of different photographs at most 0.57."""

Parts = NDArray[np.int64]
"""The part of each row, as its place in `PARTS`."""
_Candidates = dict[int, list[int]]
_Edge = tuple[int, int, float | None, bool]
_ImageOf = Callable[[int], "ComparedImage"]
_Comparison = Callable[["ComparedImage", "ComparedImage"], tuple[float, bool]]


def held_out_copies(split: Split, prints: Fingerprints, features: NDArray[np.float32] | None) -> Duplicates:
    """Return pairs of images in different parts that show the same, with at least one pair for each held-out image.

    Identical files are found by their digests. Of other images, the nearest by perceptual hash and by features are
    candidates, and their small versions are compared. If `prints` has no small versions (above `MAX_COMPARED` images),
    images with equal hashes are near-duplicates.

    Parameters
    ----------
    split : Split
    prints : Fingerprints
        In the order of the split.
    features : ndarray of shape (n, width), float32, optional
        In the same order. Without features, most cropped near-duplicates are missed.

    Returns
    -------
    Duplicates
        Each held-out image has one pair, though it may have more near-duplicates. Pairs within a part are there if they
        link a held-out image to another part.
    """
    parts = np.array([PARTS.index(row.part) for row in split.rows], np.int64)
    edges: dict[tuple[int, int], _Edge] = {}
    found = [*_across(parts, [row.sha256 for row in split.rows], 1.0)]
    found += _near(parts, prints, features) if prints.has_small else _equal_hashes(parts, prints)
    for a, b, score, mirrored in found:
        low, high = sorted((a, b))
        edges.setdefault((low, high), (low, high, score, mirrored))
    rows, pairs = split.rows, []
    for a, b, score, mirrored in sorted(edges.values(), key=lambda edge: edge[:2]):
        exact = rows[a].sha256 == rows[b].sha256
        pairs.append(DuplicatePair(rows[a].path, rows[b].path, "exact" if exact else "near", score, mirrored))
    groups = connected_components(len(rows), [*edges]) if edges else []
    return Duplicates(tuple(pairs), tuple(tuple(rows[row].path for row in group) for group in groups))


def _across(parts: Parts, keys: Iterable[str | bytes | None], score: float | None) -> Iterator[_Edge]:
    """Yield edges between rows with equal keys that are in several parts; a row without key has None."""
    rows_of: dict[str | bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None:
            rows_of[key].append(row)
    for rows in rows_of.values():
        if len(rows) > 1 and len(np.unique(parts[rows])) > 1:
            # Each is linked to the first, and that to one of another part.
            first = min(rows, key=lambda row: int(parts[row]))
            yield from ((first, row, score, False) for row in rows if row != first)


def _equal_hashes(parts: Parts, prints: Fingerprints) -> list[_Edge]:
    hashes, mirrored = prints.packed_hashes
    keys: list[bytes | None] = []
    for one, other, is_detailed in zip(hashes, mirrored, prints.detailed.tolist(), strict=True):
        # The same key for an image and its mirror image.
        keys.append(min(one.tobytes(), other.tobytes()) if is_detailed else None)
    return [*_across(parts, keys, None)]


def _near(parts: Parts, prints: Fingerprints, features: NDArray[np.float32] | None) -> list[_Edge]:
    detailed, small = prints.detailed, prints.small
    held = np.flatnonzero((parts > 0) & detailed)
    if not len(held) or not (parts == 0).any():
        return []
    signs, mirrored = (_signs(packed) for packed in prints.packed_hashes)
    unit = None
    if features is not None:
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))
    elsewhere: _Candidates = defaultdict(list)
    inside: _Candidates = defaultdict(list)
    alike: _Candidates = defaultdict(list)
    for start in range(0, len(held), _BLOCK):
        rows = held[start : start + _BLOCK]
        same_part = parts[rows][:, None] == parts
        likeness = np.maximum(signs[rows] @ signs.T, signs[rows] @ mirrored.T)
        likeness[:, ~detailed] = -np.inf
        likeness[np.arange(len(rows)), rows] = -np.inf
        across = np.where(same_part, -np.inf, likeness)
        _add_nearest(alike, rows, across.copy(), _HASH_NEIGHBOURS, _LEAST_EQUAL_ALIGNED)
        _add_nearest(elsewhere, rows, across, _HASH_NEIGHBOURS, _LEAST_EQUAL)
        _add_nearest(inside, rows, np.where(same_part, likeness, -np.inf), _HASH_NEIGHBOURS, _LEAST_EQUAL_ALIGNED)
        if unit is not None:
            cosine = unit[rows] @ unit.T
            cosine[same_part | ~detailed] = -np.inf
            _add_nearest(elsewhere, rows, cosine, 1, _MIN_COSINE)
    edges = _first_copies(alike, elsewhere, small)
    # A frame between two others of a film links them: it may be close to both, and they not to each other.
    linked = {row for edge in edges for row in edge[:2]}
    of_linked_parts = np.unique(parts[[*linked]]).tolist() if linked else []
    alone = {row: near for row, near in inside.items() if row not in linked and parts[row] in of_linked_parts}
    return edges + _first_copies(alone, {}, small)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return hashes as 1 and -1: the product of two is the number of equal bits less the number of different bits."""
    return np.where(np.unpackbits(packed, axis=1, count=BITS), np.float32(1), np.float32(-1))


def _add_nearest(
    candidates: _Candidates, rows: NDArray[np.int64], likeness: NDArray[np.float32], count: int, least: float
) -> None:
    """Add the `count` columns with the highest likeness, at least `least`, to the candidates of each row."""
    here = np.arange(len(rows))
    for _ in range(count):
        best = likeness.argmax(axis=1)
        near = np.flatnonzero(likeness[here, best] >= least)
        if not len(near):
            return
        for row, column in zip(rows[near].tolist(), best[near].tolist(), strict=True):
            if column not in candidates[row]:
                candidates[row].append(column)
        likeness[here, best] = -np.inf


def _first_copies(alike: Mapping[int, list[int]], near: Mapping[int, list[int]], small: Small) -> list[_Edge]:
    """Return an edge from each row to the first of its candidates that shows the same.

    Those in `alike` are compared as they are, those in `near` also after an alignment.
    """
    from transfer_cli.audit.image_alignment import ComparedImage, compare_aligned, compare_images

    @lru_cache(_KEPT)
    def image_of(row: int) -> ComparedImage:
        return ComparedImage(small[row])

    edges = []
    for row in sorted({*alike, *near}):
        both = dict.fromkeys((*near.get(row, ()), *alike.get(row, ())))
        edges.append(_first_copy(row, both, image_of, compare_aligned, _MIN_SCORE_ALIGNED))
    done = {edge[0] for edge in edges if edge}
    # Threads pay only for the alignment, which takes a millisecond.
    with ThreadPoolExecutor(cpu_count(), thread_name_prefix="compare") as pool:
        rest = [row for row in sorted(near) if row not in done]
        edges += pool.map(lambda row: _first_copy(row, near[row], image_of, compare_images, _MIN_SCORE), rest)
    return [edge for edge in edges if edge]


def _first_copy(
    row: int, columns: Iterable[int], image_of: _ImageOf, compare: _Comparison, least: float
) -> _Edge | None:
    for column in columns:
        score, mirrored = compare(image_of(row), image_of(column))
        if score >= least:
            return row, column, round(score, 3), mirrored
    return None
