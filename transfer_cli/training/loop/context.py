"""Everything that the trainers of one run share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli.catalog import tasks
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop import messages
from transfer_cli.training.loop.checkpoints import Arrays
from transfer_cli.training.loop.early_stopping import EpochLimit
from transfer_cli.training.loop.recorder import TrainingRecorder
from transfer_cli.training.loop.training_data import TrainingData

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import ClassifierNetwork
    from transfer_cli.training.loop.micro_batches import MicroBatches

BATCHNORM_IMAGES = 64
"""Training images from which the BatchNorm layers of a randomly initialised network get their scale."""


@dataclass(frozen=True)
class TrainingContext:
    """Everything that the trainers of one run share.

    Attributes
    ----------
    request : TrainingRequest
    recipe : FinetuneRecipe
    split : Split
    split_digest : str
        Written into each checkpoint: a run is resumed with the same split only.
    network : ClassifierNetwork
    trainable : set of str
        Names of the backbone layers that any stage trains.
    stages : tuple of Stage
        With their numbers of epochs.
    micro_batches : MicroBatches
    store : ArrayStore
    recorder : TrainingRecorder
    limit : EpochLimit or None
        Ends a stage before its last epoch, where time runs out.
    """

    request: TrainingRequest
    recipe: FinetuneRecipe
    split: Split
    split_digest: str
    network: ClassifierNetwork
    trainable: set[str]
    stages: tuple[Stage, ...]
    micro_batches: MicroBatches
    store: ArrayStore
    recorder: TrainingRecorder
    limit: EpochLimit | None = None

    @classmethod
    def build(
        cls,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        features: Any,
        data: TrainingData,
        split: Split,
        store: ArrayStore,
        limit: EpochLimit | None = None,
    ) -> TrainingContext:
        """Put a new head on a backbone and prepare its training.

        Raises
        ------
        RunError
            When the run has a checkpoint of another split, or one that cannot be read.
        """
        with request.progress.track("starting the training", None):
            from transfer_cli.models import backbone, classifier_network, freezing
            from transfer_cli.training.loop import multi_gpu
            from transfer_cli.training.loop.micro_batches import MicroBatches

        if line := messages.hardware_summary(multi_gpu.find_gpus(recipe.hardware.gpus), recipe.hardware.precision):
            request.progress.note(line)
        if recipe.backbone.weights == "none":
            train = np.flatnonzero(split.mask("train"))
            backbone.rescale_random_batchnorms(features, data.images[train[:BATCHNORM_IMAGES]])
        task, classes = tasks.TASKS[split.task], len(split.class_names)
        micro_batches = MicroBatches.of(recipe, request.run, request.progress)
        context = cls(
            request,
            recipe,
            split,
            _digest(split),
            classifier_network.ClassifierNetwork(features, recipe.head, classes, recipe.seed, task.activation),
            {layer.name for stage in recipe.stage for layer in freezing.split_at(features, stage.unfreeze).layers},
            tuple(stage.for_images(len(data.train), micro_batches.step) for stage in recipe.stage),
            micro_batches,
            store,
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

    @property
    def progress(self) -> Progress:
        """Receives the messages of the training."""
        return self.request.progress

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.split.class_names)

    def weights(self) -> Arrays:
        """Return the weights of the head and of all layers that any stage trains."""
        return self.network.weights(self.trainable)

    def set_weights(self, weights: Arrays) -> None:
        """Set what `weights` returned."""
        self.network.set_weights(weights, self.trainable)


def _digest(split: Split) -> str:
    text = "\n".join(f"{row.path}\0{row.sha256}\0{row.truth}\0{row.part}" for row in split.rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
