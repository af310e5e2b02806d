"""Whether two images show the same pixels: align one with the other, then correlate their details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

SAME_IMAGE = 0.83
"""Two images with at least this score are near-duplicates. Chosen on the training images of two folders (clothing and
hands): different images score at most 0.81; photographs of clothing and their re-encoded, halved, mirrored, cropped or
brightened versions at least 0.85."""
_MIN_COARSE_SIMILARITY = 0.75
"""After scale and shift near-duplicates reach at least 0.82. Most other pairs do not, and the slow step is saved."""
_COARSE_SIDE = 32
_SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)
_MARGIN = 2
_DETAIL = 1 / 32
"""Sigma of the high-pass filter as a share of the side: light, background and outlines are coarser and do not count."""
_MAX_STRETCH = 1.2
"""A near-duplicate keeps its proportions; another garment could be stretched until its outline fits."""
_MIN_OVERLAP = 0.5
_TILES = 6
"""Tiles per side, whose details are compared one by one: a frame, a mask or a caption that all images of a camera share
is only a few of them."""
_MIN_TILE_SIMILARITY = 0.6
"""Median over the tiles. Photographs and their copies have at least 0.75, adjacent slices of a scan about 0.7, pairs of
different fish in equal black frames 0.3."""
_MIN_TILE_DETAIL = 0.5
"""Standard deviation of the details in grey levels; a tile with less has nothing to compare."""
_FLAT = 3
"""Range of grey levels within 3 x 3 pixels; a region with less that reaches the border is a frame or a background."""
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """A small grey image, with what each comparison needs of it, computed once.

    Attributes
    ----------
    grey : ndarray of shape (n, n), uint8
    """

    grey: Grey

    @cached_property
    def flipped(self) -> ComparedImage:
        """The mirror image."""
        return ComparedImage(np.ascontiguousarray(self.grey[:, ::-1]))

    @cached_property
    def scaled(self) -> list[Grey]:
        """The image at each of `_SCALES` of `_COARSE_SIDE`."""
        return [_resize(self.grey, round(scale * _COARSE_SIDE)) for scale in _SCALES]

    @cached_property
    def unit_detail(self) -> NDArray[np.float32]:
        """The details as a vector with mean 0 and length 1: the product of two is their correlation."""
        detail = _detail(self.grey).ravel()
        detail -= detail.mean()
        return np.asarray(detail / np.maximum(np.linalg.norm(detail), np.float32(1e-6)))


def compare_images(first: ComparedImage, second: ComparedImage) -> tuple[float, bool]:
    """Return the similarity of two images in their details; brightness and contrast do not matter.

    Scale and shift are found by normalised cross-correlation [1]_, for the image and its mirror image, either within
    the other. An affine map is then fitted by the enhanced correlation coefficient [2]_. The score is the correlation
    of both images after a high-pass filter; it is low if most of their parts do not agree, however strong the edges of
    a common frame are.

    Parameters
    ----------
    first, second : ComparedImage
        Of the same size.

    Returns
    -------
    (float, bool)
        The similarity, 0 to 1, and whether one is the mirror image of the other.

    References
    ----------
    .. [1] J. P. Lewis, "Fast normalized cross-correlation", 1995.
    .. [2] G. Evangelidis and E. Psarakis, "Parametric image alignment using enhanced correlation coefficient
       maximization", IEEE TPAMI 30(10), 2008.
    """
    flipped = second.flipped
    candidates = ((first, second, False), (second, first, False), (first, flipped, True), (flipped, first, True))
    located = [(*_locate(outer.scaled, inner.scaled), outer, inner, mirrored) for outer, inner, mirrored in candidates]
    coarse, placement, outer, inner, mirrored = max(located, key=lambda each: each[0])
    if coarse < _MIN_COARSE_SIMILARITY:
        return 0.0, mirrored
    scale, left, top = placement
    side = len(outer.grey)
    warp = np.array([[scale, 0, left * side], [0, scale, top * side]], np.float32)
    return _score(outer.grey, inner.grey, warp), mirrored


def compare_aligned(first: ComparedImage, second: ComparedImage) -> tuple[float, bool]:
    """Return the same as `compare_images` for images that need no alignment, within microseconds; else a low value."""
    direct, mirrored = (float(each.unit_detail @ second.unit_detail) for each in (first, first.flipped))
    if mirrored > direct:
        return _unless_frame_only(mirrored, first.flipped.grey, second.grey, None), True
    return _unless_frame_only(direct, first.grey, second.grey, None), False


def _locate(outer: Sequence[Grey], inner: Sequence[Grey]) -> tuple[float, tuple[float, float, float]]:
    """Return the best correlation of an image within another, and its scale, left and top as shares of the side."""
    best, placement = -1.0, (1.0, 0.0, 0.0)
    for scaled in inner:
        side = len(scaled)
        # At full size the image can only be shifted if its margin is cropped.
        margin = _MARGIN if side == _COARSE_SIDE else 0
        template = scaled[margin : side - margin, margin : side - margin]
        _, value, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(outer[0], template, cv2.TM_CCOEFF_NORMED))
        if value > best:
            best = value
            placement = (side / _COARSE_SIDE, (left - margin) / _COARSE_SIDE, (top - margin) / _COARSE_SIDE)
    return best, placement


def _score(outer: Grey, inner: Grey, warp: NDArray[np.float32]) -> float:
    try:
        _, warp = cv2.findTransformECC(inner, outer, warp, cv2.MOTION_AFFINE, _STEPS, None, 3)
    except cv2.error:  # does not converge: the images have nothing in common
        return 0.0
    stretch = np.linalg.svd(warp[:, :2], compute_uv=False)
    if stretch[0] > _MAX_STRETCH * stretch[1]:
        return 0.0
    size = inner.shape[::-1]
    moved = cv2.warpAffine(outer, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    full = np.full_like(outer, 255)
    covered = cv2.warpAffine(full, warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    common = cv2.erode(covered, np.ones((5, 5), np.uint8)) > 0
    if common.mean() < _MIN_OVERLAP:
        return 0.0
    return _unless_frame_only(_correlation(_detail(moved)[common], _detail(inner)[common]), moved, inner, common)


def _unless_frame_only(score: float, first: Grey, second: Grey, common: NDArray[np.bool_] | None) -> float:
    """Return a score, or a low one if the images agree in few of their parts: only in their frame, mask or caption."""
    if score < _MIN_TILE_SIMILARITY:
        return score
    counted = np.ones(first.shape, bool) if common is None else common
    radius = len(first) // 12
    frame = (_background(first) & _background(second)).astype(np.uint8)
    inside = counted & (cv2.dilate(frame, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) == 0)
    if inside.mean() > 0.1:  # else what the frame encloses is all there is, such as a letter on white
        counted = inside
    local = _tile_similarity(first, second, counted)
    return score if local is None or local >= _MIN_TILE_SIMILARITY else min(score, max(local, 0.0))


def _background(grey: Grey) -> NDArray[np.bool_]:
    """Return the flat regions that reach the border of an image."""
    kernel = np.ones((3, 3), np.uint8)
    flat = (cv2.dilate(grey, kernel) - cv2.erode(grey, kernel) <= _FLAT).astype(np.uint8)
    _, labels = cv2.connectedComponents(cv2.dilate(flat, kernel), connectivity=4)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, border[border > 0])


def _tile_similarity(first: Grey, second: Grey, counted: NDArray[np.bool_]) -> float | None:
    """Return the median correlation of the details of tiles; None if no tile has details."""
    side = len(first) // _TILES
    weights = _tiles(counted.astype(np.float32), side)
    kept = weights.sum(axis=1) > side * side / 2
    weights = weights[kept]
    count = weights.sum(axis=1)
    one, other = (_tiles(_detail(grey), side)[kept] * weights for grey in (first, second))
    one, other = ((each - each.sum(axis=1, keepdims=True) / count[:, None]) * weights for each in (one, other))
    spreads = [np.sqrt((each**2).sum(axis=1) / count) for each in (one, other)]
    detailed = np.maximum(*spreads) > _MIN_TILE_DETAIL
    if not detailed.any():
        return None
    product = np.maximum(spreads[0] * spreads[1], np.float32(1e-6))
    return float(np.median(((one * other).sum(axis=1) / count / product)[detailed]))


def _tiles(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the tiles of an image as rows, shape (_TILES ** 2, side * side)."""
    whole = values[: _TILES * side, : _TILES * side].reshape(_TILES, side, _TILES, side)
    return whole.swapaxes(1, 2).reshape(_TILES**2, side * side)


def _resize(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _detail(grey: Grey) -> NDArray[np.float32]:
    plain = grey.astype(np.float32)
    return np.asarray(plain - cv2.GaussianBlur(plain, (0, 0), _DETAIL * len(grey)))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm else 0.0
