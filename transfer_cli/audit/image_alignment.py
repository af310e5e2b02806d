"""Whether two pictures show the same pixels: laid over each other as well as can be, then compared in their detail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

SAME = 0.83
"""From which score on two pictures are one. Chosen on the train pictures of two folders (clothing and hands), where
different ones come to 0.81 at most and copies of photographs of clothing, re-encoded, at half the size, mirrored,
cropped or brightened, to 0.85 at least."""
_SIMILAR = 0.75
"""Of two copies laid over each other by scale and shift; they come to 0.82 at least, and most other pairs are out."""
_COARSE = 32
_SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)
_MARGIN = 2
_DETAIL = 3.0
"""Pixels: what is coarser than this (light, background, the outline of a kind of thing) does not count."""
_MOST_STRETCH = 1.2
"""A copy has its proportions; another garment can be stretched until its outline fits."""
_LEAST_COMMON = 0.5
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)


@dataclass(frozen=True)
class Alike:
    """How alike two pictures are, 0 to 1, and whether one is the mirror image of the other."""

    score: float
    mirrored: bool


@dataclass(frozen=True)
class _Placed:
    """How the second of two pictures lies in the first: `outer` shows all of `inner`, at a scale and a shift."""

    likeness: float
    outer: Grey
    inner: Grey
    warp: NDArray[np.float32]


def compare(first: Grey, second: Grey) -> Alike:
    """Return how alike two pictures are in their detail.

    A scale and a shift are searched by normalised cross-correlation (Lewis 1995, "Fast normalized cross-correlation"),
    mirrored and not, either within the other; then an affine map is fitted by the enhanced correlation coefficient
    (Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation coefficient maximization").
    The score is the correlation of what is finer than a few pixels. Neither brightness nor contrast changes it.

    Parameters
    ----------
    first, second : ndarray of shape (n, n), uint8
    """
    plain = _place(first, second)
    turned = _place(first, np.ascontiguousarray(second[:, ::-1]))
    best = max(plain, turned, key=lambda placed: placed.likeness)
    score = _score(best) if best.likeness >= _SIMILAR else 0.0
    return Alike(score, best is turned)


def _place(first: Grey, second: Grey) -> _Placed:
    likeness, warp = _within(first, second)
    other, back = _within(second, first)
    return _Placed(likeness, first, second, warp) if likeness >= other else _Placed(other, second, first, back)


def _within(outer: Grey, inner: Grey) -> tuple[float, NDArray[np.float32]]:
    """Return how like `outer` is to `inner` where it is put best, and the map from `inner` to `outer`."""
    little = _small(outer, _COARSE)
    best, found = -1.0, (1.0, 0.0, 0.0)
    for scale in _SCALES:
        side = round(scale * _COARSE)
        # At its own size a picture can only move if its margin is left out.
        margin = _MARGIN if side == _COARSE else 0
        template = _small(inner, side)[margin : side - margin, margin : side - margin]
        _, value, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(little, template, cv2.TM_CCOEFF_NORMED))
        if value > best:
            best, found = value, (side / _COARSE, (left - margin) / _COARSE, (top - margin) / _COARSE)
    scale, left, top = found
    pixels = len(outer)
    return best, np.array([[scale, 0, left * pixels], [0, scale, top * pixels]], np.float32)


def _score(placed: _Placed) -> float:
    outer, inner = placed.outer, placed.inner
    try:
        _, warp = cv2.findTransformECC(inner, outer, placed.warp, cv2.MOTION_AFFINE, _STEPS, None, 3)
    except cv2.error:  # it does not converge: there is nothing common to be laid over each other
        return 0.0
    stretch = np.linalg.svd(warp[:, :2], compute_uv=False)
    if stretch[0] > _MOST_STRETCH * stretch[1]:
        return 0.0
    size = inner.shape[::-1]
    moved = cv2.warpAffine(outer, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    full = np.full_like(outer, 255)
    covered = cv2.warpAffine(full, warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    common = cv2.erode(covered, np.ones((5, 5), np.uint8)) > 0
    if common.mean() < _LEAST_COMMON:
        return 0.0
    return _correlation(_detail(moved)[common], _detail(inner)[common])


def _small(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _detail(grey: Grey) -> NDArray[np.float32]:
    plain = grey.astype(np.float32)
    return np.asarray(plain - cv2.GaussianBlur(plain, (0, 0), _DETAIL))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm else 0.0
