"""How many pictures a network is given at a time; fewer where the memory of the machine is too small."""

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

Run = Callable[[NDArray[Any]], Any]


class MicroBatches:
    """The portions that pictures come in, halved each time that memory was too small for one.

    A step learns from as many pictures as ever: from several portions, whose gradients are averaged.

    Parameters
    ----------
    batch_size : int
        Pictures of a portion, to begin with.
    accumulate : int
        MicroBatches of a step, to begin with.
    run : RunDirectory, optional
        Whose log is told of a halving.
    progress : Progress

    Attributes
    ----------
    step : int
        Pictures a step learns from.
    halvings : int
        How often the portion was halved; part of a checkpoint.
    """

    def __init__(
        self, batch_size: int, accumulate: int = 1, run: RunDirectory | None = None, progress: Progress = SILENT
    ) -> None:
        self._batch_size, self._run, self._progress = batch_size, run, progress
        self.step = batch_size * accumulate
        self.halvings = 0

    @property
    def size(self) -> int:
        """Pictures of a portion, now."""
        return -(-self._batch_size // (1 << self.halvings))

    def at_most(self, count: int) -> int:
        """Return how many of `count` pictures may be run at once: all of them, until memory was too small."""
        return min(count, self.size) if self.halvings else count

    def cut(self, count: int) -> list[list[int]]:
        """Return the sizes of the portions of each step of an epoch of `count` pictures."""
        steps = [min(self.step, count - start) for start in range(0, count, self.step)]
        return [[min(self.size, step - start) for start in range(0, step, self.size)] for step in steps]

    def run_in_chunks(self, run: Run) -> Run:
        """Return a function of a batch that runs it whole, or in portions once memory was too small."""

        def call(inputs: NDArray[Any]) -> NDArray[Any]:
            parts: list[NDArray[Any]] = []
            done = 0
            while done < len(inputs):
                few = inputs[done : done + self.at_most(len(inputs))]
                try:
                    parts.append(np.asarray(run(few)))
                except tf.errors.ResourceExhaustedError:
                    self.halve()
                else:
                    done += len(few)
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return call

    def halve(self) -> None:
        """Halve the portion after memory was too small for it.

        Raises
        ------
        InputError
            When it is a single picture.
        """
        before = self.size
        if before == 1:
            raise _too_large("one picture at a time")
        self.halvings += 1
        micro_batches = math.ceil(self.step / self.size)
        self._progress.warn(
            f"memory was too small for {before} pictures at a time: going on with batch_size = {self.size}, "
            f"hardware.accumulate = {micro_batches}; a step learns from {self.step} as before"
        )
        if self._run is not None:
            self._run.log("out of memory", batch_size=self.size, accumulate=micro_batches)


def portions_of(recipe: FinetuneRecipe, run: RunDirectory | None = None, progress: Progress = SILENT) -> MicroBatches:
    """Return the portions that a recipe begins with."""
    return MicroBatches(recipe.batch_size, recipe.hardware.accumulate, run, progress)


@contextmanager
def memory_explained() -> Iterator[None]:
    """Say what can be done where memory was too small for something that comes in no portions."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise _too_large("this network and what its optimizer keeps") from None


def _too_large(what: str) -> InputError:
    return InputError(
        f"The memory of this machine is too small for {what}.",
        hint="Take fewer pictures at a time (--set batch_size=8), smaller ones (--set images.size=128), a smaller "
        "network (see transfer-cli backbones list), or unfreeze less of it (--set stage.1.unfreeze=last:10%).",
    )
