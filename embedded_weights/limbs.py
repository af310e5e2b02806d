"""Bodies with limbs, one plan per class; the joints move between images.

Fractals and single contours are rigid, but many photographed objects have connected, movable parts (a hand, a shirt, a
chair). A class of this family is a trunk with limbs of one or two segments, with positions, directions, lengths and
widths, often symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from contours import fixed
from numpy.typing import NDArray


@dataclass(frozen=True)
class Plan:
    """The formula of one class.

    Attributes
    ----------
    trunk : ndarray of shape (4,)
        Height, and width at the top, in the middle and at the bottom.
    limbs : ndarray of shape (n, 8)
        Per limb: position along the trunk, side, direction, length, width at the start and at the end, bend and length
        of the second segment (0: none).
    round_ends : bool
    """

    trunk: NDArray[np.float64]
    limbs: NDArray[np.float64]
    round_ends: bool


def plan(random: np.random.Generator) -> Plan:
    """Return a random class."""
    trunk = np.array([random.uniform(0.4, 1.2), *random.uniform(0.15, 0.9, 3)])
    limbs: list[NDArray[np.float64]] = []
    symmetric = random.random() < 0.6
    for _ in range(int(random.integers(1, 4 if symmetric else 7))):
        limb = np.array(
            [
                random.uniform(0, 1),
                random.uniform(-1, 1),
                random.uniform(-np.pi, np.pi),
                random.uniform(0.3, 1.1),
                random.uniform(0.08, 0.35),
                random.uniform(0.05, 0.3),
                random.uniform(-1.2, 1.2),
                random.choice([0.0, random.uniform(0.3, 0.8)]),
            ]
        )
        limbs.append(limb)
        if symmetric:
            limbs.append(
                limb * np.array([1, -1, 1, 1, 1, 1, -1, 1]) + np.array([0, 0, np.pi - 2 * limb[2], 0, 0, 0, 0, 0])
            )
    return Plan(trunk, np.array(limbs), bool(random.random() < 0.5))


def render(formula: Plan, size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return one image of a class, white on black, with joints turned and parts stretched slightly."""
    height, top, middle, bottom = formula.trunk * random.uniform(0.9, 1.1, 4)
    levels = np.array([-0.5, 0, 0.5]) * height
    widths = np.array([top, middle, bottom]) / 2
    trunk = np.concatenate([np.stack([-widths, levels], 1), np.stack([widths, levels], 1)[::-1]])
    pieces = [trunk]
    rounds: list[tuple[NDArray[np.float64], float]] = []
    for place, side, direction, length, begin, end, bend, second in formula.limbs:
        width = float(np.interp((place - 0.5) * height, levels, widths))
        joint = np.array([side * width, (place - 0.5) * height])
        angle = direction + random.normal(0, 0.2)
        for reach, turn, first, last in ((length, 0.0, begin, end), (second, bend, end, end * 0.8)):
            if not reach:
                continue
            angle += turn + (random.normal(0, 0.2) if turn else 0)
            ahead = np.array([np.cos(angle), np.sin(angle)])
            across = np.array([-ahead[1], ahead[0]]) / 2
            tip = joint + ahead * reach * random.uniform(0.88, 1.12)
            pieces.append(
                np.stack([joint + across * first, tip + across * last, tip - across * last, joint - across * first])
            )
            rounds.append((joint, first / 2))
            if formula.round_ends:
                rounds.append((tip, last / 2))
            joint = tip
    every = np.concatenate(pieces)
    low, high = every.min(0), every.max(0)
    scale = 2 / float((high - low).max())
    centre = (low + high) / 2
    image = np.zeros((size, size), np.uint8)
    for piece in pieces:
        cv2.fillPoly(image, [fixed((piece - centre) * scale, size)], 255, cv2.LINE_AA, 4)
    for joint, radius in rounds:
        middle_point = fixed((joint - centre)[None] * scale, size)[0]
        cv2.circle(
            image,
            (int(middle_point[0]), int(middle_point[1])),
            round(radius * scale * 0.46 * size * 16),
            255,
            -1,
            cv2.LINE_AA,
            4,
        )
    return image
