"""The frozen lower part of a network, run once for what a stage looks at many times."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import OutputError
from transfer_cli.io.array_store import Scratch
from transfer_cli.recipe.stages import Stage, Trunk
from transfer_cli.system import processors
from transfer_cli.training.augmentation.augmented_images import AugmentedImages

VIEWS = 8
"""Views of each picture that are kept under ``auto``, see docs/benchmarks.md for how that was chosen."""
FEWEST_VIEWS = 4
"""Where these do not fit, or would not be seen twice, ``auto`` takes fresh pictures in each epoch."""
_AHEAD = 4
_LARGE = 6e4
Rows = NDArray[np.int64]
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def views_of(trunk: Trunk, stage: Stage, images: int, shape: Sequence[int]) -> int:
    """Return how many views of each picture a stage keeps; 0: every epoch draws its pictures afresh.

    Parameters
    ----------
    trunk : Trunk
        The recipe's section.
    stage : Stage
    images : int
        How many are trained on.
    shape : sequence of int
        Of the trunk's output for one picture.
    """
    if trunk.views == "fresh":
        return 0
    if trunk.views != "auto":
        return min(trunk.views, stage.length)
    fit = int(trunk.gigabytes * 1e9 // (images * math.prod(shape) * np.dtype(np.float16).itemsize))
    # A view that is not seen twice or more saves nothing.
    views = min(VIEWS, stage.length // 2, fit)
    return views if views >= FEWEST_VIEWS else 0


def shown_in_batches(
    shown: AugmentedImages, batches: Iterable[Sequence[tuple[int, int]]]
) -> Iterator[NDArray[np.uint8]]:
    """Yield what is shown of pictures in batches, made by threads ahead of whoever takes them.

    Parameters
    ----------
    shown : Shown
    batches : iterable of sequence of (int, int)
        Row number and epoch of each picture to make.
    """
    with ThreadPoolExecutor(processors(), thread_name_prefix="augment") as pool:
        ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for batch in batches:
                ahead.append([pool.submit(shown, *job) for job in batch])
                if len(ahead) > _AHEAD:
                    yield np.stack([future.result() for future in ahead.popleft()])
            while ahead:
                yield np.stack([future.result() for future in ahead.popleft()])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Views:
    """What the trunk makes of some views of each picture that is trained on.

    Parameters
    ----------
    kept : ndarray of shape (views, n, ...)
        The outputs of the trunk.
    seed : int
        Decides with which view each picture begins.
    """

    def __init__(self, kept: NDArray[Any], seed: int) -> None:
        self.kept = kept
        self._first: Rows = np.random.default_rng((seed, len(kept))).integers(0, len(kept), kept.shape[1:2])

    def numbers(self, chosen: Rows, epoch: int) -> Rows:
        """Return which view of some pictures is seen in an epoch; each goes through all of its views in turn."""
        return np.asarray((self._first[chosen] + epoch) % len(self.kept))

    def take(self, chosen: Rows, epoch: int) -> NDArray[np.float32]:
        """Return the outputs of some pictures in one epoch."""
        rows: NDArray[Any] = self.kept[self.numbers(chosen, epoch), chosen]
        return rows.astype(np.float32, copy=False)


def plain(
    run: Run, images: NDArray[np.uint8], rows: Rows, shape: Sequence[int], scratch: Scratch, size: int
) -> NDArray[np.float32]:
    """Return what the trunk makes of some pictures as they are, float32 of shape (n, ...)."""
    kept = scratch.array((len(rows), *shape), np.float32)
    for start in range(0, len(rows), size):
        kept[start : start + size] = run(images[rows[start : start + size]])
    return kept


def several(
    run: Run,
    shown: AugmentedImages,
    rows: Rows,
    views: int,
    shape: Sequence[int],
    scratch: Scratch,
    size: int,
    advance: Callable[[int], None],
) -> NDArray[Any]:
    """Return what the trunk makes of some views of each picture, float16 of shape (views, n, ...).

    View v is what is shown in epoch v + 1. Half the digits are more than augmentation leaves of a picture; where an
    output is too large for them, all are kept.
    """
    kept = scratch.array((views, len(rows), *shape), np.float16)
    flat = kept.reshape(-1, *shape)
    jobs = [(int(row), view + 1) for view in range(views) for row in rows]
    done = 0
    for batch in shown_in_batches(shown, [jobs[start : start + size] for start in range(0, len(jobs), size)]):
        outputs = run(batch)
        if np.abs(outputs).max() > _LARGE and kept.dtype == np.float16:
            try:
                whole = scratch.array(kept.shape, np.float32)
            except OutputError:
                scratch.give_back(kept)
                raise
            whole.reshape(-1, *shape)[:done] = flat[:done]
            scratch.give_back(kept)
            kept, flat = whole, whole.reshape(-1, *shape)
        flat[done : done + len(batch)] = outputs
        done += len(batch)
        advance(len(batch))
    return kept
