"""Whether two images show the same pixels: align one with the other, then correlate their details."""

from __future__ import annotations

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
_DETAIL = 3.0
"""Sigma of the high-pass filter in pixels: light, background and outlines are coarser and do not count."""
_MAX_STRETCH = 1.2
"""A near-duplicate keeps its proportions; another garment could be stretched until its outline fits."""
_MIN_OVERLAP = 0.5
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)


def compare_images(first: Grey, second: Grey) -> tuple[float, bool]:
    """Return the similarity of two images in their details; brightness and contrast do not matter.

    Scale and shift are found by normalised cross-correlation [1]_, for the image and its mirror image, either within
    the other. An affine map is then fitted by the enhanced correlation coefficient [2]_. The score is the correlation
    of both images after a high-pass filter.

    Parameters
    ----------
    first, second : ndarray of shape (n, n), uint8

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
    flipped = np.ascontiguousarray(second[:, ::-1])
    candidates = ((first, second, False), (second, first, False), (first, flipped, True), (flipped, first, True))
    located = [(*_locate(outer, inner), outer, inner, mirrored) for outer, inner, mirrored in candidates]
    coarse, warp, outer, inner, mirrored = max(located, key=lambda each: each[0])
    return _score(outer, inner, warp) if coarse >= _MIN_COARSE_SIMILARITY else 0.0, mirrored


def _locate(outer: Grey, inner: Grey) -> tuple[float, NDArray[np.float32]]:
    """Return the best correlation of `inner` within `outer`, and the 2 x 3 map from `inner` to `outer`."""
    small = _resize(outer, _COARSE_SIDE)
    best, placement = -1.0, (1.0, 0.0, 0.0)
    for scale in _SCALES:
        side = round(scale * _COARSE_SIDE)
        # At full size the image can only be shifted if its margin is cropped.
        margin = _MARGIN if side == _COARSE_SIDE else 0
        template = _resize(inner, side)[margin : side - margin, margin : side - margin]
        _, value, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(small, template, cv2.TM_CCOEFF_NORMED))
        if value > best:
            best = value
            placement = (side / _COARSE_SIDE, (left - margin) / _COARSE_SIDE, (top - margin) / _COARSE_SIDE)
    scale, left, top = placement
    pixels = len(outer)
    return best, np.array([[scale, 0, left * pixels], [0, scale, top * pixels]], np.float32)


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
    return _correlation(_detail(moved)[common], _detail(inner)[common])


def _resize(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _detail(grey: Grey) -> NDArray[np.float32]:
    plain = grey.astype(np.float32)
    return np.asarray(plain - cv2.GaussianBlur(plain, (0, 0), _DETAIL))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm else 0.0
