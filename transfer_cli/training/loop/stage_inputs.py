"""The inputs of a stage: augmented images, or the outputs of the frozen layers on them, computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.errors import OutputError
from transfer_cli.inference.compiled_network import CompiledNetwork, NetworkSource
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.models.compile import inference_function
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.loop import frozen_activations
from transfer_cli.training.loop.frozen_activations import CachedViews
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.mixed_precision import network_in_precision
from transfer_cli.training.loop.training_data import Rows, TrainingData

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
    def build(
        cls,
        network: ClassifierNetwork,
        frozen: Any,
        stage: Stage,
        recipe: FinetuneRecipe,
        data: TrainingData,
        store: ArrayStore,
        micro_batches: MicroBatches,
        progress: Progress,
    ) -> StageInputs:
        """Run the frozen layers (keras.Model or None) on the validation images and on views of the training images."""
        augmented = data.augmented(recipe, network.head.output_shape[-1])
        if frozen is None:
            return cls(data, augmented, store)
        shape, size = frozen.output.shape[1:], recipe.batch_size
        exact = micro_batches.run_in_chunks(inference_function(frozen))
        val = frozen_activations.compute(exact, data.images, data.val, shape, store, size)
        if recipe.augmentation.is_off:
            train = frozen_activations.compute(exact, data.images, data.train, shape, store, size)
            return cls(data, augmented, store, val, CachedViews(train[None], recipe.seed))
        count = frozen_activations.number_of_views(recipe.trunk, stage, len(data.train), shape)
        if not count:
            return cls(data, augmented, store, val)
        source = NetworkSource({}, lambda: frozen, name="the frozen layers")
        # There are many views: they are run on the fastest runtime. Val scores are compared over epochs, and are exact.
        fast = CompiledNetwork.build(source, recipe.inference, None, progress)
        task = f"{count} views of {len(data.train)} images through {len(frozen.layers)} frozen layers"
        # A converted graph has a precision of its own, and is checked against exact outputs.
        precision = network_in_precision(network, recipe) if fast.runtime == runtimes.KERAS else nullcontext()
        run = micro_batches.run_in_chunks(fast)
        try:
            with progress.track(task, count * len(data.train)) as advance, precision:
                outputs = frozen_activations.compute_views(
                    run, augmented, data.train, count, shape, store, size, advance
                )
        except OutputError as error:
            if recipe.trunk.views != "auto":
                raise
            progress.warn(f"the frozen layers run in every epoch instead of once, which is slower: {error}")
            return cls(data, augmented, store, val)
        return cls(data, augmented, store, val, CachedViews(outputs, recipe.seed))

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
