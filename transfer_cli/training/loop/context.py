"""The images of a training, and everything that its trainers share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks
from transfer_cli.data import bootstrap
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop import messages
from transfer_cli.training.loop.checkpoints import Arrays, TrainingRecorder
from transfer_cli.training.loop.early_stopping import EpochLimit
from transfer_cli.training.loop.network_setup import new_network
from transfer_cli.training.setup.image_store import Decoded

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import ClassifierNetwork
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages
    from transfer_cli.training.loop.micro_batches import MicroBatches

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """The images that a network is trained on, and those that choose the best epoch.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each image in its folder; seed, epoch and position determine its augmentation.
    truth : ndarray of shape (n,) or (n, k), int
        Class column of each image, or the indicator matrix of its labels.
    train, val : ndarray of int
        Row numbers; in a bootstrap sample (bagging) a row can occur several times in `train`.
    groups : ndarray of shape (n,), int, or None
        Group id of each image.
    """

    images: NDArray[np.uint8]
    indices: Rows
    truth: Rows
    train: Rows
    val: Rows
    groups: Rows | None = None

    @classmethod
    def of(cls, decoded: Decoded, split: Split, recipe: FinetuneRecipe, groups: Rows) -> TrainingData:
        """Return the images of a split; with a recipe of bagging, `train` is the bootstrap sample of this bag."""
        train, truth = np.flatnonzero(split.mask("train")), split.truth()
        if recipe.bag is not None:
            train = train[bootstrap.bootstrap_sample(recipe.bag, recipe.seed, truth[train], groups[train])]
        indices = np.array(decoded.indices, np.int64)
        return cls(decoded.images, indices, truth, train, np.flatnonzero(split.mask("val")), groups)

    def with_val_in_train(self) -> TrainingData:
        """Return the data of a refit: the validation images are training images, and none validates."""
        both = np.sort(np.concatenate([self.train, self.val]))
        return replace(self, train=both, val=np.empty(0, np.int64))

    def augmented(self, recipe: FinetuneRecipe, classes: int) -> AugmentedImages:
        """Return the images as the network sees them in each epoch."""
        from transfer_cli.training.augmentation.augmented_images import AugmentedImages

        return AugmentedImages(
            recipe.augmentation, recipe.seed, self.images, self.indices, self.truth, self.train, classes
        )


@dataclass(frozen=True)
class StageContext:
    """What any stage is trained with, in a run or without one.

    Attributes
    ----------
    network : ClassifierNetwork
    recipe : FinetuneRecipe
        Resolved.
    store : ArrayStore
        Holds the outputs of the frozen layers.
    micro_batches : MicroBatches
    progress : Progress
    """

    network: ClassifierNetwork
    recipe: FinetuneRecipe
    store: ArrayStore
    micro_batches: MicroBatches
    progress: Progress


@dataclass(frozen=True)
class TrainingContext(StageContext):
    """Everything that the trainers of one run share.

    Attributes
    ----------
    request : TrainingRequest
    split : Split
    split_digest : str
        Written into each checkpoint: a run is resumed with the same split only.
    trainable : set of str
        Names of the backbone layers that any stage trains.
    stages : tuple of Stage
        With their numbers of epochs.
    recorder : TrainingRecorder
    limit : EpochLimit or None
        Ends a stage before its last epoch, where time runs out.
    """

    request: TrainingRequest
    split: Split
    split_digest: str
    trainable: set[str]
    stages: tuple[Stage, ...]
    recorder: TrainingRecorder
    limit: EpochLimit | None

    @classmethod
    def build(
        cls,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        features: Any,
        data: TrainingData,
        split: Split,
        store: ArrayStore,
        limit: EpochLimit | None,
    ) -> TrainingContext:
        """Put a new head on a backbone and prepare its training.

        Raises
        ------
        RunError
            When the run has a checkpoint of another split, or one that cannot be read.
        """
        with request.progress.track("starting the training", None):
            from transfer_cli.models import freezing
            from transfer_cli.training.loop import multi_gpu
            from transfer_cli.training.loop.micro_batches import MicroBatches

        if line := messages.hardware_summary(multi_gpu.find_gpus(recipe.hardware.gpus), recipe.hardware.precision):
            request.progress.note(line)
        train, task = np.flatnonzero(split.mask("train")), tasks.TASKS[split.task]
        micro_batches = MicroBatches.of(recipe, request.run, request.progress)
        text = "\n".join(f"{row.path}\0{row.sha256}\0{row.truth}\0{row.part}" for row in split.rows)
        context = cls(
            new_network(recipe, features, data.images, len(split.class_names), task.activation, train),
            recipe,
            store,
            micro_batches,
            request.progress,
            request,
            split,
            hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
            {layer.name for stage in recipe.stage for layer in freezing.split_at(features, stage.unfreeze).layers},
            tuple(stage.for_images(len(data.train), micro_batches.step) for stage in recipe.stage),
            TrainingRecorder(request.run, task, tensorboard=request.tensorboard),
            limit,
        )
        last = context.recorder.checkpoints.read_state()
        if last and last.split_digest != context.split_digest:
            raise messages.split_changed(request, split)
        return context

    @property
    def run(self) -> RunDirectory:
        """The run that is written."""
        return self.request.run

    def weights(self) -> Arrays:
        """Return the weights of the head and of all layers that any stage trains."""
        return self.network.weights(self.trainable)

    def set_weights(self, weights: Arrays) -> None:
        """Set what `weights` returned."""
        self.network.set_weights(weights, self.trainable)
