"""Outputs of the frozen layers of a network, computed once for all epochs of a stage."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import OutputError
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.recipe.stages import Stage, Trunk
from transfer_cli.system import cpu_count

if TYPE_CHECKING:
    # It imports Keras.
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

VIEWS = 8
"""Augmented views of each image that ``auto`` caches; docs/benchmarks.md has the measurement."""
FEWEST_VIEWS = 4
"""If fewer fit, or would be used less than twice, ``auto`` augments images anew in each epoch."""
_BATCHES_AHEAD = 4
_FLOAT16_LIMIT = 6e4
Rows = NDArray[np.int64]
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def number_of_views(trunk: Trunk, stage: Stage, images: int, shape: Sequence[int]) -> int:
    """Return how many views of each image a stage caches; 0 if every epoch augments its images anew.

    Parameters
    ----------
    trunk : Trunk
        The section of the recipe.
    stage : Stage
    images : int
        Number of training images.
    shape : sequence of int
        Of the frozen layers' output for one image.
    """
    if trunk.views == "fresh":
        return 0
    if trunk.views != "auto":
        return min(trunk.views, stage.length)
    fit = int(trunk.gigabytes * 1e9 // (images * math.prod(shape) * np.dtype(np.float16).itemsize))
    # A view that is used only once saves nothing.
    views = min(VIEWS, stage.length // 2, fit)
    return views if views >= FEWEST_VIEWS else 0


def augmented_batches(
    augmented: AugmentedImages, batches: Iterable[Sequence[tuple[int, int]]]
) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of augmented images, computed ahead by threads.

    Parameters
    ----------
    augmented : AugmentedImages
    batches : iterable of sequence of (int, int)
        Row number and epoch of each image.
    """
    with ThreadPoolExecutor(cpu_count(), thread_name_prefix="augment") as pool:
        ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for batch in batches:
                ahead.append([pool.submit(augmented, *job) for job in batch])
                if len(ahead) > _BATCHES_AHEAD:
                    yield np.stack([future.result() for future in ahead.popleft()])
            while ahead:
                yield np.stack([future.result() for future in ahead.popleft()])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class CachedViews:
    """Outputs of the frozen layers on several augmented views of each training image.

    Parameters
    ----------
    outputs : ndarray of shape (views, n, ...)
    seed : int
        Determines the view that each image begins with.
    """

    def __init__(self, outputs: NDArray[Any], seed: int) -> None:
        self.outputs = outputs
        self._first: Rows = np.random.default_rng((seed, len(outputs))).integers(0, len(outputs), outputs.shape[1:2])

    def numbers(self, positions: Rows, epoch: int) -> Rows:
        """Return the view of each image that an epoch uses; the epochs cycle through all views."""
        return np.asarray((self._first[positions] + epoch) % len(self.outputs))

    def take(self, positions: Rows, epoch: int) -> NDArray[np.float32]:
        """Return the outputs for some images in an epoch."""
        rows: NDArray[Any] = self.outputs[self.numbers(positions, epoch), positions]
        return rows.astype(np.float32, copy=False)


def compute_views(
    run: Run,
    augmented: AugmentedImages,
    rows: Rows,
    views: int,
    shape: Sequence[int],
    store: ArrayStore,
    size: int,
    advance: Callable[[int], None],
) -> NDArray[Any]:
    """Return the outputs of the frozen layers on augmented images, float16 of shape (views, n, ...).

    View v is the image as augmented in epoch v + 1. float16 loses less than augmentation changes; if an output is too
    large for it, all are float32.
    """
    outputs = store.array((views, len(rows), *shape), np.float16)
    flat = outputs.reshape(-1, *shape)
    jobs = [(int(row), view + 1) for view in range(views) for row in rows]
    done = 0
    for images in augmented_batches(augmented, [jobs[start : start + size] for start in range(0, len(jobs), size)]):
        batch = run(images)
        if np.abs(batch).max() > _FLOAT16_LIMIT and outputs.dtype == np.float16:
            try:
                wider = store.array(outputs.shape, np.float32)
            except OutputError:
                store.release(outputs)
                raise
            wider.reshape(-1, *shape)[:done] = flat[:done]
            store.release(outputs)
            outputs, flat = wider, wider.reshape(-1, *shape)
        flat[done : done + len(batch)] = batch
        done += len(batch)
        advance(len(batch))
    return outputs
