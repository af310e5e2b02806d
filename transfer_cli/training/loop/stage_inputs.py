"""The inputs of a stage: augmented images, or the outputs of the frozen layers on them, computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.errors import OutputError
from transfer_cli.inference.compiled_network import CompiledNetwork, NetworkSource
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models.compile import inference_function
from transfer_cli.recipe.stages import Stage
from transfer_cli.text import counted
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.loop import frozen_activations
from transfer_cli.training.loop.context import Rows, StageContext, TrainingData
from transfer_cli.training.loop.frozen_activations import CachedViews
from transfer_cli.training.loop.mixed_precision import network_in_precision

Batch = tuple[NDArray[Any], NDArray[np.float32]]
"""Inputs, and targets of shape (n, classes)."""


@dataclass(frozen=True)
class StageInputs:
    """What the trained layers of a stage read.

    Attributes
    ----------
    data : TrainingData
    augmented : AugmentedImages
    store : ArrayStore
        Holds the arrays of `val` and `views`.
    val : ndarray of shape (v, ...), float32, or None
        Outputs of the frozen layers on the validation images; None if the stage has no frozen layers.
    views : CachedViews or None
        Outputs of the frozen layers on several augmented views of each training image; None if each step augments its
        images and runs the frozen layers on them.
    """

    data: TrainingData
    augmented: AugmentedImages
    store: ArrayStore
    val: NDArray[np.float32] | None = None
    views: CachedViews | None = None

    @classmethod
    def build(cls, context: StageContext, stage: Stage, data: TrainingData, frozen: Any) -> StageInputs:
        """Run the frozen layers (keras.Model or None) on the validation images and on views of the training images."""
        recipe, store, micro_batches = context.recipe, context.store, context.micro_batches
        augmented = data.augmented(recipe, context.network.head.output_shape[-1])
        if frozen is None:
            return cls(data, augmented, store)
        shape, exact = frozen.output.shape[1:], inference_function(frozen)

        def exact_outputs(rows: Rows) -> NDArray[np.float32]:
            return micro_batches.fill(store.array((len(rows), *shape), np.float32), exact, data.images, rows)

        inputs = cls(data, augmented, store, exact_outputs(data.val))
        if recipe.augmentation.is_off:
            return replace(inputs, views=CachedViews(exact_outputs(data.train)[None], recipe.seed))
        count = frozen_activations.number_of_views(recipe.trunk, stage, len(data.train), shape)
        if not count:
            return inputs
        source = NetworkSource({}, lambda: frozen, name="the frozen layers")
        # There are many views: they are run on the fastest runtime. Val scores are compared over epochs, and are exact.
        fast = CompiledNetwork.build(source, recipe.inference, None, context.progress)
        task = (
            f"{counted(count, 'view')} of {counted(len(data.train), 'image')} through "
            f"{counted(len(frozen.layers), 'frozen layer')}"
        )
        # A converted graph has a precision of its own, and is checked against exact outputs.
        precision = network_in_precision(context) if fast.runtime == runtimes.KERAS else nullcontext()
        run, size = micro_batches.run_in_chunks(fast), recipe.batch_size
        try:
            with context.progress.track(task, count * len(data.train)) as advance, precision:
                outputs = frozen_activations.compute_views(
                    run, augmented, data.train, count, shape, store, size, advance
                )
        except OutputError as error:
            if recipe.trunk.views != "auto":
                raise
            context.progress.warn(f"the frozen layers run in every epoch instead of once, which is slower: {error}")
            return inputs
        return replace(inputs, views=CachedViews(outputs, recipe.seed))

    def batches(self, sizes: Sequence[int], order: Rows, epoch: int) -> Iterator[Batch]:
        """Yield the micro-batches of an epoch.

        Parameters
        ----------
        sizes : sequence of int
            Images per micro-batch.
        order : ndarray of int
            Positions in `data.train`.
        epoch : int
            Counted over all stages.
        """
        train, chunks = self.data.train, np.split(order, np.cumsum(sizes)[:-1])
        if self.views is not None:
            for chunk in chunks:
                # View v is the image as augmented in epoch v + 1.
                epochs = self.views.numbers(chunk, epoch) + 1
                yield self.views.take(chunk, epoch), self.augmented.targets(train[chunk], epochs)
            return
        jobs = [[(int(row), epoch) for row in train[chunk]] for chunk in chunks]
        images = frozen_activations.augmented_batches(self.augmented, jobs)
        for chunk, batch in zip(chunks, images, strict=True):
            yield batch, self.augmented.targets(train[chunk], np.full(len(chunk), epoch))

    def val_batches(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield the validation inputs, `size` per batch."""
        rows = self.data.val
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            yield self.data.images[rows[chunk]] if self.val is None else self.val[chunk]

    def close(self) -> None:
        """Give the memory of the outputs back."""
        for array in (self.val, None if self.views is None else self.views.outputs):
            if array is not None:
                self.store.release(array)
