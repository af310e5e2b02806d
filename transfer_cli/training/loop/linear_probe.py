"""The head's beginning: the best regularised logistic regression on the features of the frozen backbone."""

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
    from transfer_cli.models.classifier_network import Network
    from transfer_cli.training.loop.images import Pictures
    from transfer_cli.training.loop.micro_batches import MicroBatches


def start_from_probe(
    network: Network, recipe: FinetuneRecipe, data: Pictures, micro_batches: MicroBatches, progress: Progress
) -> float:
    """Let the head of a network begin as a logistic regression on train pictures; return its regularisation, C."""
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
        classes=classes,
        weights=balancing.fitted_weights,
        groups=None if data.groups is None else data.groups[train],
        tune=True,
        out_of_fold=False,
        seed=recipe.seed,
        progress=progress,
    )
    network.start_from_probe(fitted.pipeline, balancing.offsets)
    return fitted.value
