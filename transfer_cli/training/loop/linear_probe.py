"""Initialise the head from a linear probe: a tuned logistic regression on the features of the frozen backbone."""

from __future__ import annotations

import numpy as np

from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.models.compile import inference_function
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.context import StageContext, TrainingData


def start_from_probe(context: StageContext, data: TrainingData) -> float:
    """Fit a logistic regression on the training images, copy it into the head, and return its inverse penalty C."""
    network, recipe, train = context.network, context.recipe, data.train
    truth, classes = data.truth[train], network.head.output_shape[-1]
    matrix = np.empty((len(train), network.width), np.float32)
    with context.progress.track(f"features by {recipe.backbone.name}", len(train)) as advance:
        context.micro_batches.fill(matrix, inference_function(network.features), data.images, train, advance)
    balancing = Balancing.of(recipe.balance, truth, classes)
    fitted = fit.fit(
        classifiers.find("logistic"),
        matrix,
        truth,
        fit.FitOptions(
            classes=classes, weights=balancing.weights_per_class, tune=True, out_of_fold=False, seed=recipe.seed
        ),
        groups=None if data.groups is None else data.groups[train],
        progress=context.progress,
    )
    network.start_from_probe(fitted.pipeline, balancing.offsets)
    return fitted.value
