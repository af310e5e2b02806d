"""Batches made by other processes during training; a batch depends only on its number and the seed."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from formulas import Counts, Formulas, formulas
from numpy.typing import NDArray
from scenes import scene
from spoiling import spoilt

AHEAD = 6
"""Batches prepared ahead, per process."""


class Batch(NamedTuple):
    """Images and their labels."""

    images: NDArray[np.uint8]
    shape: NDArray[np.int32]
    fill: NDArray[np.int32]
    ground: NDArray[np.int32]
    colour: NDArray[np.int32]
    mask: NDArray[np.float32]
    layout: NDArray[np.float32]
    edges: NDArray[np.float32]
    outline: NDArray[np.float32]


class Feed(NamedTuple):
    """Settings of the batches; the first `easy` batches become gradually harder."""

    counts: Counts
    seed: int
    store: Path
    size: int
    batch: int
    easy: int = 0


def batch(classes: Formulas, feed: Feed, number: int, *, held_out: bool = False) -> Batch:
    """Return batch `number` of the training images, or of the held-out renderings."""
    scenes = []
    ease = 0.0 if held_out else max(0.0, 1 - number / max(feed.easy, 1))
    for row in range(feed.batch):
        random = np.random.default_rng([feed.seed, 4 + held_out, number, row])
        rendered = scene(classes, int(random.integers(classes.counts.shapes)), feed.size, random, ease)
        scenes.append(rendered._replace(image=spoilt(rendered.image, random)))
    columns = [np.stack(column) for column in zip(*scenes, strict=True)]
    return Batch(*(column.astype(np.int32) if column.ndim == 1 else column for column in columns))


def batches(feed: Feed, first: int, last: int, processes: int) -> Iterator[Batch]:
    """Yield batches `first` to `last` - 1 in order."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _initialize, (feed,)) as pool:
        waiting: deque[multiprocessing.pool.AsyncResult[Batch]] = deque()
        following = first
        while following < last or waiting:
            while following < last and len(waiting) < AHEAD * processes:
                waiting.append(pool.apply_async(_make, (following,)))
                following += 1
            yield waiting.popleft().get()


def _initialize(feed: Feed) -> None:
    global _mine
    cv2.setNumThreads(1)
    _mine = feed, formulas(feed.counts, feed.seed, feed.store)


def _make(number: int) -> Batch:
    feed, classes = _mine
    return batch(classes, feed, number)
