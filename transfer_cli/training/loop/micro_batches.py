"""Micro-batches: how many images the network processes at a time; fewer when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted

Run = Callable[[NDArray[Any]], Any]


class MicroBatches:
    """The sizes of steps and of their micro-batches; micro-batches are halved each time that memory runs out.

    The number of images per step never changes: the gradients of its micro-batches are accumulated.

    Parameters
    ----------
    batch_size : int
        Images per micro-batch, at first.
    accumulate : int
        Micro-batches per step, at first.
    run : RunDirectory, optional
        Its event log receives each halving.
    progress : Progress

    Attributes
    ----------
    step : int
        Images per step.
    halvings : int
        How often micro-batches were halved; part of a checkpoint.
    """

    def __init__(
        self, batch_size: int, accumulate: int = 1, run: RunDirectory | None = None, progress: Progress = SILENT
    ) -> None:
        self._batch_size, self._run, self._progress = batch_size, run, progress
        self.step = batch_size * accumulate
        self.halvings = 0

    @classmethod
    def of(cls, recipe: FinetuneRecipe, run: RunDirectory | None = None, progress: Progress = SILENT) -> MicroBatches:
        """Return the micro-batches of a recipe."""
        return cls(recipe.batch_size, recipe.hardware.accumulate, run, progress)

    @property
    def size(self) -> int:
        """Images per micro-batch, now."""
        return -(-self._batch_size // (1 << self.halvings))

    def at_most(self, count: int) -> int:
        """Return how many of `count` images may run at once: all of them, until memory has run out."""
        return min(count, self.size) if self.halvings else count

    def chunks(self, count: int) -> list[list[int]]:
        """Return the sizes of the micro-batches of each step of an epoch of `count` images."""
        steps = [min(self.step, count - start) for start in range(0, count, self.step)]
        return [[min(self.size, step - start) for start in range(0, step, self.size)] for step in steps]

    def run_in_chunks(self, run: Run) -> Run:
        """Return a function that runs a batch whole, or in micro-batches once memory has run out."""

        def call(inputs: NDArray[Any]) -> NDArray[Any]:
            outputs: list[NDArray[Any]] = []
            done = 0
            while done < len(inputs):
                chunk = inputs[done : done + self.at_most(len(inputs))]
                try:
                    outputs.append(np.asarray(run(chunk)))
                except tf.errors.ResourceExhaustedError:
                    self.halve()
                else:
                    done += len(chunk)
            return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

        return call

    def fill(
        self,
        outputs: NDArray[Any],
        run: Run,
        images: NDArray[np.uint8],
        rows: NDArray[np.int64],
        advance: Callable[[int], None] = lambda count: None,
    ) -> NDArray[Any]:
        """Run a network on some rows of `images`, batch by batch; write what it returns into `outputs`, and return it.

        Parameters
        ----------
        outputs : ndarray of shape (n, ...)
        run : callable
        images : ndarray of shape (m, size, size, 3), uint8
        rows : ndarray of shape (n,), int
        advance : callable
            Called with the number of images of each batch.
        """
        call = self.run_in_chunks(run)
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            outputs[start : start + len(batch)] = call(images[batch])
            advance(len(batch))
        return outputs

    def halve(self) -> None:
        """Halve the micro-batches after memory has run out.

        Raises
        ------
        InputError
            When they hold a single image.
        """
        before = self.size
        if before == 1:
            raise _out_of_memory("even one image per micro-batch")
        self.halvings += 1
        accumulate = math.ceil(self.step / self.size)
        self._progress.warn(
            f"out of memory with micro-batches of {counted(before, 'image')}: continuing with "
            f"batch_size = {self.size}, "
            f"hardware.accumulate = {accumulate}; each step still trains on {counted(self.step, 'image')}"
        )
        if self._run is not None:
            self._run.log("out of memory", batch_size=self.size, accumulate=accumulate)


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Raise InputError with advice if memory runs out for something that is not split into micro-batches."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise _out_of_memory("this network and its optimizer state") from None


def _out_of_memory(use: str) -> InputError:
    return InputError(
        f"This machine has too little memory for {use}.",
        hint="Use a smaller batch (--set batch_size=8), smaller images (--set images.size=128), a smaller backbone "
        "(transfer-cli backbones list), or unfreeze fewer layers (--set stage.1.unfreeze=last:10%).",
    )
