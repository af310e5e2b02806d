"""Whether mirror images may augment the training: by cross-validation of a linear probe, with and without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.metrics.scores import log_loss_per_image
from transfer_cli.models.compile import inference_function
from transfer_cli.training.loop import messages
from transfer_cli.training.loop.context import TrainingContext, TrainingData

Rows = NDArray[np.int64]
Matrix = NDArray[np.float32]
Losses = NDArray[np.float64]


def with_chosen_flips(context: TrainingContext, data: TrainingData) -> TrainingContext:
    """Return the context of a training whose recipe says whether images are flipped.

    ``horizontal_flip = "auto"`` becomes true unless a linear probe on the pretrained network predicts the training
    images worse, out of fold, when it is trained on mirror images, too: by more than one standard error of the log
    loss, as for hands or arrows whose direction is their class. A resumed run keeps what was chosen.
    """
    if context.recipe.augmentation.horizontal_flip != "auto":
        return context
    events = [event for event in context.run.read_events() if event["event"] == "flips"]
    if events:
        used = bool(events[-1]["used"])
    else:
        without, with_flips = log_losses(context, data)
        loss = with_flips - without
        used = len(loss) < 2 or bool(loss.mean() <= loss.std(ddof=1) / np.sqrt(len(loss)))
        means = float(without.mean()), float(with_flips.mean())
        context.run.log("flips", used=used, log_loss=means[0], log_loss_with_flips=means[1])
        context.progress.note(messages.flips_summary(used, *means))
    return replace(context, recipe=context.recipe.with_settings("augmentation", horizontal_flip=used))


def log_losses(context: TrainingContext, data: TrainingData) -> tuple[Losses, Losses]:
    """Return the log loss of each training image out of fold, without and with mirror images in the other folds.

    Images of a class that no other fold has are left out.
    """
    rows = np.unique(data.train)
    plain, mirrored = _features(context, data, rows)
    truth = data.truth[rows]
    # An image and its mirror image are in one fold.
    groups = np.arange(len(rows)) if data.groups is None else data.groups[rows]
    without = _out_of_fold(context, plain, truth, groups)
    both = np.concatenate([plain, mirrored])
    with_flips = _out_of_fold(context, both, np.concatenate([truth, truth]), np.tile(groups, 2))[: len(rows)]
    known = ~np.isnan(without[:, 0]) & ~np.isnan(with_flips[:, 0])
    return log_loss_per_image(truth[known], without[known]), log_loss_per_image(truth[known], with_flips[known])


def _features(context: TrainingContext, data: TrainingData, rows: Rows) -> tuple[Matrix, Matrix]:
    """Return the features of images and of their mirror images, each of shape (n, width)."""
    network, batches = context.network, context.micro_batches
    run = inference_function(network.features)
    plain, mirrored = (np.empty((len(rows), network.width), np.float32) for _ in range(2))
    with context.progress.track("features of mirror images", 2 * len(rows)) as advance:
        batches.fill(plain, run, data.images, rows, advance)
        batches.fill(mirrored, lambda images: run(np.ascontiguousarray(images[:, :, ::-1])), data.images, rows, advance)
    return plain, mirrored


def _out_of_fold(context: TrainingContext, features: Matrix, truth: Rows, groups: Rows) -> Matrix:
    spec = classifiers.find(classifiers.default(context.split.task))
    options = fit.FitOptions(classes=context.network.head.output_shape[-1], tune=True, seed=context.recipe.seed)
    fitted = fit.fit(spec, features, truth, options, groups=groups)
    assert fitted.out_of_fold is not None
    return fitted.out_of_fold
