"""Degradations of an image as by a camera: light, blur, noise, JPEG artefacts, occlusion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def spoilt(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image with some degradations, each applied at random."""
    size = len(image)
    if random.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1.2))
    gain = random.uniform(0.8, 1.2) * random.uniform(0.93, 1.07, 3)
    bias = random.uniform(-15, 15)
    line = np.arange(256, dtype=np.float32)
    curve = 255 * (line / 255) ** np.exp(random.normal(0, 0.15))
    table = np.clip(curve[:, None] * gain + bias, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    if random.random() < 0.08:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if random.random() < 0.25:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(random.integers(2**31)))
        cv2.randn(noise, 0, float(random.uniform(3, 14)))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if random.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(30, 85))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    if random.random() < 0.2:
        high, wide = random.integers(size // 8, size // 3, 2)
        top, left = random.integers(0, size - high), random.integers(0, size - wide)
        image[top : top + high, left : left + wide] = random.integers(0, 256, 3)
    return image
