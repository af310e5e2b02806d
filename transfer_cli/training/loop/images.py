"""The images of a training, and which of them train and validate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.training.loop.frozen_activations import Rows


@dataclass(frozen=True)
class Pictures:
    """What a fine-tuning learns from and is compared on.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each picture in its folder.
    truth : ndarray of shape (n,) or (n, k), int
        Column of its class, or the indicator matrix of its labels.
    train, val : ndarray of int
        Row numbers.
    groups : ndarray of shape (n,), int, or None
        The same number for relatives.
    """

    images: NDArray[np.uint8]
    indices: Rows
    truth: Rows
    train: Rows
    val: Rows
    groups: Rows | None = None
