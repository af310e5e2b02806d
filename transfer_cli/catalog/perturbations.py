"""Perturbations of decoded images, each at several strengths: what a model must bear outside of its data set.

The kinds are those of Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR), and of courses on convolutional networks (shifts, turns, scale); the strengths are our own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Perturbation:
    """A kind of change to an image.

    Attributes
    ----------
    name : str
    strengths : tuple of float
        The weakest first.
    strength_format : str
        A strength in words, such as ``"{:g} %"``.
    apply : callable
        ``apply(image, strength, random)`` returns the changed image, of the same shape (size, size, 3), uint8. `random`
        is a generator that depends on the image. What moves in repeats the pixels of the edge, as ``nearest`` of
        ImageDataGenerator.
    below_neutral : int
        Number of strengths on one side of the image as it is, such as smaller scales; the others are on the other side.
    """

    name: str
    strengths: tuple[float, ...]
    strength_format: str
    apply: Callable[[Image, float, np.random.Generator], Image]
    below_neutral: int = 0

    def strength_text(self, strength: float) -> str:
        """Return a strength in words."""
        return self.strength_format.format(strength)


def _warp(image: Image, matrix: NDArray[np.float64]) -> Image:
    import cv2

    side = image.shape[0]
    # Image coordinates start in the middle of the first pixel; `matrix` turns and scales around the centre.
    centre = (side - 1) / 2
    offset = centre - matrix[:, :2] @ [centre, centre] + matrix[:, 2]
    whole = np.column_stack([matrix[:, :2], offset])
    warped = cv2.warpAffine(image, whole, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _shift(image: Image, percent: float, random: np.random.Generator) -> Image:
    angle, distance = random.uniform(0, 2 * np.pi), percent / 100 * image.shape[0]
    # Whole pixels: nothing is interpolated.
    across, down = np.rint([distance * np.cos(angle), distance * np.sin(angle)])
    return _warp(image, np.array([[1, 0, across], [0, 1, down]], np.float64))


def _turn(image: Image, degrees: float, random: np.random.Generator) -> Image:
    angle = np.deg2rad(degrees) * (1 if random.random() < 0.5 else -1)
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(image, np.array([[cosine, -sine, 0], [sine, cosine, 0]], np.float64))


def _scale(image: Image, percent: float, random: np.random.Generator) -> Image:
    return _warp(image, np.array([[percent / 100, 0, 0], [0, percent / 100, 0]], np.float64))


def _blur(image: Image, percent: float, random: np.random.Generator) -> Image:
    import cv2

    sigma = percent / 100 * image.shape[0]
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def _noise(image: Image, percent: float, random: np.random.Generator) -> Image:
    noise = random.standard_normal(image.shape, np.float32)
    return _to_uint8(image + np.float32(percent / 100 * 255) * noise)


def _darken(image: Image, percent: float, random: np.random.Generator) -> Image:
    return _to_uint8(image * np.float32(1 - percent / 100))


def _jpeg(image: Image, quality: float, random: np.random.Generator) -> Image:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)


def _to_uint8(pixels: NDArray[np.float32]) -> Image:
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


PERTURBATIONS = (
    # In a random direction, in percent of the side.
    Perturbation("shift", (5, 10, 20, 30), "{:g} %", _shift),
    Perturbation("turn", (5, 15, 45, 90), "{:g}°", _turn),
    # The size of what is on the image: smaller, then larger.
    Perturbation("scale", (50, 75, 150, 200), "{:g} %", _scale, below_neutral=2),
    # Standard deviation of the Gaussian in percent of the side.
    Perturbation("blur", (0.5, 1, 2, 4), "{:g} %", _blur),
    # Standard deviation in percent of the range of the pixels.
    Perturbation("noise", (3, 6, 12, 25), "{:g} %", _noise),
    Perturbation("darkness", (30, 50, 70, 90), "{:g} %", _darken),
    Perturbation("jpeg", (50, 25, 10, 5), "quality {:g}", _jpeg),
)
VARIANTS = tuple((row, strength) for row in PERTURBATIONS for strength in row.strengths)
"""Each perturbation at each strength."""
