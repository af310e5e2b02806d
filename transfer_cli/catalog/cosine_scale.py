"""What cosine similarities of the default features are usual: measured, since 0.8 means unrelated for some networks.

Of all features that are never negative, as after ReLU, any two point into similar directions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CosineScale:
    """The 5th and 95th percentile of the cosine similarity of two photographs.

    Attributes
    ----------
    unrelated : tuple of float
        Of different image folders, such as a monkey and a brain scan.
    same_class : tuple of float
        Of one class, such as two monkeys of one species.
    """

    unrelated: tuple[float, float]
    same_class: tuple[float, float]


SCALES = {
    "mobilenet_v2": CosineScale((0.69, 0.77), (0.80, 0.95)),
    "mobilenet": CosineScale((0.76, 0.84), (0.85, 0.96)),
    "mobilenet@0.25": CosineScale((0.84, 0.91), (0.91, 0.98)),
    "embedded": CosineScale((0.76, 0.92), (0.88, 0.98)),
}
"""By name of the network, ``python benchmarks/cosine_scale.py``: 172 images of nine folders, pretrained weights."""
