"""One synthetic image and its labels: a textured shape on a textured background.

Several shapes per image, colours and backgrounds help according to Anderson and Farrell. The labels are the class of
the shape, its texture and colour, the texture of the background, and the dense labels of `describing`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import colours
import cv2
import describing
import numpy as np
from formulas import STENCIL, Formulas
from numpy.typing import NDArray


class Scene(NamedTuple):
    """One image and its labels; `fill` and `ground` equal the number of textures if there is no texture."""

    image: NDArray[np.uint8]
    shape: int
    fill: int
    ground: int
    colour: int
    mask: NDArray[np.float32]
    layout: NDArray[np.float32]
    edges: NDArray[np.float32]
    outline: NDArray[np.float32]


def scene(formulas: Formulas, shape: int, size: int, random: np.random.Generator, ease: float = 0.0) -> Scene:
    """Return one image of a shape class, of shape (size, size, 3), without the degradations of `spoiling`.

    With more `ease` (0 to 1), only the shape or the background has a texture, and there are fewer other shapes:
    training from random weights starts faster.
    """
    alone = random.random() < ease
    behind = random.random() < 0.5
    canvas, ground = painted(formulas, size, random, plain=float(not behind) if alone else 0.3)
    for _ in range(int(np.searchsorted([0.65, 0.9], random.random() * (1 - ease)))):
        other = formulas.stencil(int(random.integers(formulas.counts.shapes)), random)
        paint, _ = painted(formulas, size, random, plain=0.4)
        canvas, _ = _draw(canvas, paint, other, random.uniform(0.2, 0.5), 1.0, random)
    paint, fill = painted(formulas, size, random, plain=float(behind) if alone else 0.35)
    stencil = formulas.stencil(shape, random)
    canvas, where = _draw(canvas, paint, stencil, random.uniform(0.5 + 0.3 * ease, 1.05), 0.25 * (1 - ease), random)
    return Scene(
        canvas,
        shape,
        fill,
        ground,
        colours.named(np.float32(cv2.mean(paint, where)[:3])),
        describing.mask(where),
        describing.layout(canvas),
        describing.edges(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY)),
        describing.edges(where),
    )


def painted(
    formulas: Formulas, size: int, random: np.random.Generator, *, plain: float
) -> tuple[NDArray[np.uint8], int]:
    """Return an image filled with one texture or a smooth gradient, and the number of the texture."""
    number = formulas.counts.textures
    if random.random() < plain:
        slope = random.uniform(-1, 1, 2) * random.uniform(0, 1)
        grey = np.clip(127 + slope[:1] * _line(size) + slope[1] * _line(size)[:, None], 0, 255).astype(np.uint8)
        contrast = 0.5
    else:
        number = int(random.integers(number))
        tile = formulas.tile(number, random)
        angle, zoom = random.normal(0, 0.2), np.exp(random.uniform(-0.35, 0.35)) * 96 / size
        cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
        shift = random.uniform(0, len(tile), 2)
        matrix = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        grey = cv2.warpAffine(tile, matrix, (size, size), flags=how, borderMode=cv2.BORDER_WRAP)
        contrast = float(random.uniform(0.15, 1.0))
    return cv2.LUT(cv2.merge([grey, grey, grey]), colours.palette(random, contrast)[None]), number


def _draw(
    canvas: NDArray[np.uint8],
    paint: NDArray[np.uint8],
    stencil: NDArray[np.uint8],
    scale: float,
    freedom: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the canvas with a shape drawn on it, and the mask of the shape."""
    size = len(canvas)
    angle, stretch, shear = random.normal(0, [0.25, 0.15, 0.1])
    side, stretch = random.choice([-1.0, 1.0]), np.exp(stretch)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[side * stretch, shear], [0, 1 / stretch]]) * (scale * size / STENCIL)
    place = size / 2 + random.uniform(-0.5, 0.5, 2) * size * max(freedom, 1 - scale)
    matrix = np.concatenate([linear, (place - linear @ [STENCIL / 2, STENCIL / 2])[:, None]], 1)
    where = cv2.convertScaleAbs(cv2.warpAffine(stencil, matrix, (size, size), flags=cv2.INTER_LINEAR), alpha=1.8)
    alpha = where.astype(np.float32) * np.float32(1 / 255)
    near = 2 * int(size * random.uniform(0.015, 0.06)) + 1
    soft = cv2.blur(cv2.blur(where, (near, near)), (near, near))
    chances = random.random(3)
    if chances[0] < 0.3:  # a shadow
        drop = np.concatenate([np.eye(2), random.normal(0, 0.05 * size, (2, 1))], 1)
        shadow = 1 - cv2.warpAffine(soft, drop, (size, size)) * np.float32(random.uniform(0.2, 0.6) / 255)
        canvas = cv2.blendLinear(canvas, np.zeros_like(canvas), shadow, 1 - shadow)
    if chances[1] < 0.6:  # the relief of the blurred shape, lit from a side
        towards = random.uniform(-np.pi, np.pi)
        relief = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * np.float32(np.cos(towards))
        relief += cv2.Sobel(soft, cv2.CV_32F, 0, 1) * np.float32(np.sin(towards))
        relief *= random.uniform(0.2, 0.6) / max(float(cv2.norm(relief, cv2.NORM_INF)), 1e-3)
        paint = cv2.multiply(paint, cv2.merge([relief + 1] * 3), dtype=cv2.CV_8U)
    if chances[2] < 0.25:  # an edge line
        edge = np.abs(cv2.Laplacian(alpha, cv2.CV_32F))
        edge = np.minimum(edge, 1)
        paint = cv2.blendLinear(paint, np.full_like(paint, colours.colour(random)), 1 - edge, edge)
    return cv2.blendLinear(paint, canvas, alpha, 1 - alpha), where


@cache
def _line(size: int) -> NDArray[np.float32]:
    return np.linspace(-127, 127, size, dtype=np.float32)
