"""Near-duplicates and wrong labels that are added on purpose, to count how many are found."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

Photograph = Image.Image
_QUALITY = 92
_LOW_QUALITY = 40


def _cropped(photograph: Photograph, draw: random.Random) -> Photograph:
    left, top = (draw.uniform(0, 0.1) * side for side in photograph.size)
    box = (int(left), int(top), int(left + 0.9 * photograph.width), int(top + 0.9 * photograph.height))
    return photograph.crop(box)


def _half(photograph: Photograph) -> Photograph:
    return photograph.resize((photograph.width // 2, photograph.height // 2))


def _bright(photograph: Photograph) -> Photograph:
    return ImageEnhance.Brightness(photograph).enhance(1.4)


KINDS: dict[str, Callable[[Photograph, random.Random], tuple[Photograph, int]]] = {
    "re-encoded": lambda photograph, draw: (photograph, _LOW_QUALITY),
    "half": lambda photograph, draw: (_half(photograph), _QUALITY),
    "mirrored": lambda photograph, draw: (ImageOps.mirror(photograph), _QUALITY),
    "cropped": lambda photograph, draw: (_cropped(photograph, draw), _QUALITY),
    "brightened": lambda photograph, draw: (_bright(photograph), _QUALITY),
    "mirrored, cropped": lambda photograph, draw: (_cropped(ImageOps.mirror(photograph), draw), _QUALITY),
    "cropped, brightened": lambda photograph, draw: (_bright(_cropped(photograph, draw)), _QUALITY),
    "half, mirrored, re-encoded": lambda photograph, draw: (ImageOps.mirror(_half(photograph)), _LOW_QUALITY),
}
"""Changes of a photograph; each returns the image and the JPEG quality to save it with."""
SINGLE = tuple(KINDS)[:5]


def plant_copies(
    images: Sequence[Path], target: Path, seed: int, kinds: Sequence[str], each: int
) -> dict[Path, tuple[Path, str]]:
    """Write near-duplicates of photographs to TARGET/CLASS; return the source and the change of each."""
    draw = random.Random(seed)
    chosen = draw.sample(sorted(images), each * len(kinds))
    planted = {}
    for number, source in enumerate(chosen):
        kind = kinds[number % len(kinds)]
        with Image.open(source) as opened:
            changed, quality = KINDS[kind](ImageOps.exif_transpose(opened).convert("RGB"), draw)
        written = io.BytesIO()
        changed.save(written, "JPEG", quality=quality)
        # The name does not reveal the source.
        path = target / source.parent.name / f"copy-{seed}-{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written.getvalue())
        planted[path] = source, kind
    return planted


def plant_wrong_labels(labels: Sequence[int], classes: int, count: int, seed: int) -> tuple[list[int], set[int]]:
    """Return labels of which `count` random ones are wrong, and the rows of these."""
    draw = random.Random(seed)
    wrong = set(draw.sample(range(len(labels)), count))
    return [
        draw.choice([other for other in range(classes) if other != label]) if row in wrong else label
        for row, label in enumerate(labels)
    ], wrong
