"""The learning rate range test: train a stage for a few steps at increasing rates, and see where the loss decreases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli.catalog import heads
from transfer_cli.errors import FolderError, InputError, RecipeError
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.io.drafts import temporary_folder
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.network_setup import build_network, new_network
from transfer_cli.training.setup.claim import check_weights_available, report_folder
from transfer_cli.training.setup.preflight import decode_rows, survey
from transfer_cli.training.setup.resolve import resolve_recipe
from transfer_cli.training.sweep import BELOW_LOWEST, Sweep, diverged, draw_sweep, read_sweep, smooth

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import ClassifierNetwork

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
_FEW = 500
"""With fewer training images, the test is repeated with another seed, since its result is noisy."""


def lr_find(
    request: TrainingRequest,
    recipe: FinetuneRecipe,
    target: Path,
    *,
    stage: int = 1,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
) -> Sweep:
    """Train a stage at exponentially increasing learning rates, and plot its loss.

    The steps are those of a real run, on training images, from the pretrained backbone and a random head: a head that
    starts from the linear probe has nothing left to learn in a few steps, so that the loss would show divergence only.
    Gradients are not clipped, which would hide the divergence that ends the sweep. No earlier stage is trained.
    Validation and test images are not decoded, and nothing but the plot is written.

    Parameters
    ----------
    request : TrainingRequest
        Its run is ignored.
    recipe : FinetuneRecipe
    target : Path
        The PNG file to write.
    stage : int
        Counted from 1.
    lowest, highest : float
        Range of the learning rates.
    steps : int

    Raises
    ------
    InputError
        If the loss does not decrease at any of these rates. The plot is written nevertheless.
    RecipeError
        If the recipe has no such stage.

    References
    ----------
    Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
    """
    # An earlier run in the same place must not determine the split.
    request = replace(request, run=RunDirectory(target.with_name(f".{target.name}.run")))
    recipe = resolve_recipe(request, recipe, keeps_model=False)
    unclipped = tuple(each.model_copy(update={"gradient_clip": None}) for each in recipe.stage)
    recipe = recipe.with_settings("head", start=heads.RANDOM).model_copy(update={"stage": unclipped})
    if not 1 <= stage <= len(recipe.stage):
        raise RecipeError(f"The recipe has no stage {stage}. Expected 1 to {len(recipe.stage)}.")
    if not 0 < lowest < highest:
        raise InputError(
            f"Expected learning rates above 0, and the lowest below the highest. Received: {lowest:g} and {highest:g}."
        )
    check_weights(recipe.backbone.weights, recipe.spec)
    check_weights_available(request, recipe)
    report_folder(request)
    rates = [lowest * (highest / lowest) ** (step / max(steps - 1, 1)) for step in range(steps)]
    sweep, images = _sweep_of_seed(request, recipe, stage, rates)
    if images < _FEW and sweep.suggestion is not None:
        request.progress.note(f"few training images ({images}): the same with another seed, to see how far they differ")
        other, _ = _sweep_of_seed(request, recipe.model_copy(update={"seed": recipe.seed + 1}), stage, rates)
        sweep = replace(sweep, with_other_seed=other.suggestion)
    draw_sweep(sweep, target)
    if sweep.suggestion is None:
        raise InputError(
            f"The loss does not decrease at any learning rate from {lowest:g} to "
            f"{sweep.rates[-1] if sweep.rates else lowest:g}: it was {sweep.start:.3f} at the start and "
            f"{sweep.lowest:.3f} at its minimum (see {target}).",
            hint="Try higher rates (--highest 10) or more steps (--steps 300), or check the classes of the folder.",
        )
    return sweep


def _sweep_of_seed(
    request: TrainingRequest, recipe: FinetuneRecipe, stage: int, rates: Sequence[float]
) -> tuple[Sweep, int]:
    """Return the sweep with the seed of the recipe, and the number of training images that it used."""
    from transfer_cli.training.loop.micro_batches import MicroBatches, explain_out_of_memory

    backbone, _ = build_network(request, recipe)
    network, data = _prepare(request, recipe, backbone, len(rates))
    with temporary_folder() as place, ArrayStore(place) as scratch:
        context = StageContext(network, recipe, scratch, MicroBatches.of(recipe), request.progress)
        with explain_out_of_memory():
            return _sweep(context, stage, data, rates), len(data.train)


def _prepare(
    request: TrainingRequest, recipe: FinetuneRecipe, features: Any, steps: int
) -> tuple[ClassifierNetwork, TrainingData]:
    """Return the network and the training images with which the first stage of a run starts."""
    surveyed = survey(request, recipe, decodes=False)
    rows = np.flatnonzero(surveyed.split.mask("train"))
    # Only as many images are read as the steps train on.
    needed = steps * recipe.step_size
    if len(rows) > needed:
        rows = np.sort(np.random.default_rng(recipe.seed).choice(rows, needed, replace=False))
        request.progress.note(
            f"using a random sample of {counted(needed, 'training image')}: {counted(steps, 'step', 'needs')} no more"
        )
    with request.progress.track("reading training images", None):
        decoded, readable = decode_rows(request, recipe, surveyed, rows.tolist())
    if decoded.skipped:
        request.progress.warn(f"{counted(len(decoded.skipped), 'training image', 'is')} left out, as reading failed")
    if not readable:
        raise FolderError(f"No training image of {request.folder.source} could be read.")

    network = new_network(recipe, features, decoded.images, len(surveyed.split.class_names))
    train, indices = np.arange(len(readable)), np.array(decoded.indices, np.int64)
    return network, TrainingData(decoded.images, indices, surveyed.split.truth()[readable], train, train[:0])


def _sweep(context: StageContext, number: int, data: TrainingData, rates: Sequence[float]) -> Sweep:
    from transfer_cli.models import freezing
    from transfer_cli.training.loop import frozen_activations
    from transfer_cli.training.loop.stage_trainer import StageTrainer

    network, recipe, progress = context.network, context.recipe, context.progress
    stage = recipe.stage[number - 1].for_images(len(data.train), recipe.step_size)
    losses: list[float] = []
    untrained: list[float] = []
    with progress.track(f"preparing stage {number} of {len(recipe.stage)}, {stage.summary()}", None):
        frozen_split = freezing.split_at(network.features, stage.unfreeze)
        trained = {layer.name for layer in frozen_split.layers}
        if frozen_split.frozen is not None:
            # More views than the steps see are not cached.
            most, shape = math.ceil(len(rates) * recipe.step_size / len(data.train)), frozen_split.frozen.output.shape
            cached = frozen_activations.number_of_views(recipe.trunk, stage, len(data.train), shape[1:])
            recipe = recipe.with_settings("trunk", views=min(cached, most) if cached else "fresh")
        trainer = StageTrainer.build(replace(context, recipe=recipe), stage, data)
    weights, optimizer = network.weights(trained), trainer.optimizer_state()
    with progress.track("steps at increasing learning rates", len(rates)) as advance:
        for loss in trainer.steps_at(rates):
            losses.append(loss)
            advance(1)
            if not math.isfinite(loss) or diverged(smooth(losses)):
                break
    network.set_weights(weights, trained)
    trainer.set_optimizer_state(optimizer)
    with progress.track("the same batches with the initial weights", len(losses)) as advance:
        for loss in trainer.steps_at(itertools.repeat(0.0, len(losses))):
            untrained.append(loss)
            advance(1)
    trainer.close()
    return read_sweep(rates, losses, untrained, BELOW_LOWEST[stage.ends_at_zero])
