"""Initialise the head from a linear probe: a tuned logistic regression on the features of the frozen backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.models.compile import inference_function
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop.class_balancing import Balancing

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import ClassifierNetwork
    from transfer_cli.training.loop.micro_batches import MicroBatches
    from transfer_cli.training.loop.training_data import TrainingData


def start_from_probe(
    network: ClassifierNetwork,
    recipe: FinetuneRecipe,
    data: TrainingData,
    micro_batches: MicroBatches,
    progress: Progress,
) -> float:
    """Fit a logistic regression on the training images, copy it into the head, and return its inverse penalty C."""
    train, size = data.train, recipe.batch_size
    run = micro_batches.run_in_chunks(inference_function(network.features))
    matrix = np.empty((len(train), network.features.output_shape[-1]), np.float32)
    with progress.track(f"features by {recipe.backbone.name}", len(train)) as advance:
        for start in range(0, len(train), size):
            rows = train[start : start + size]
            matrix[start : start + size] = run(data.images[rows])
            advance(len(rows))
    truth, classes = data.truth[train], network.head.output_shape[-1]
    balancing = Balancing.of(recipe.balance, truth, classes)
    fitted = fit.fit(
        classifiers.find("logistic"),
        matrix,
        truth,
        fit.FitOptions(
            classes=classes, weights=balancing.weights_per_class, tune=True, out_of_fold=False, seed=recipe.seed
        ),
        groups=None if data.groups is None else data.groups[train],
        progress=progress,
    )
    network.start_from_probe(fitted.pipeline, balancing.offsets)
    return fitted.value
