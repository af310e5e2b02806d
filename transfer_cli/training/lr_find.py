"""The learning-rate range test: a stage trained for a moment at every rate, to see at which it learns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from transfer_cli.catalog import backbones, heads
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import FolderError, InputError, RecipeError
from transfer_cli.io.array_store import Scratch
from transfer_cli.models.weights.registry import imagenet_files, must_be_had, must_be_known
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.request import Options, TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop.network_setup import build_network
from transfer_cli.training.loop.trainer import SETTLING
from transfer_cli.training.plots import sweep
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.preflight import decode_rows, survey

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import Network
    from transfer_cli.training.loop.images import Pictures

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING, DIVERGED = 0.8, 4.0
"""Momentum of the moving average of the loss, and how many times its minimum ends a sweep.

fastai's 0.98 looks back over half of a hundred steps, and sees a minimum when it is long past: see docs/benchmarks.md.
"""
BELOW_LOWEST = {True: 2.0, False: 10.0}
"""The suggestion is this share below the rate with the lowest loss, by whether the stage's schedule ends at zero."""
LEAST_FALL = 0.01
"""By less than this share of it no loss falls that anything is learnt from."""


@dataclass(frozen=True)
class Sweep:
    """A sweep over learning rates, and what it says.

    Attributes
    ----------
    rates, losses, smoothed : tuple of float
        Of each step that was taken, the losses less what is hard about its batch; the smoothed loss is what the others
        are read from.
    ended : {"diverged", "not finite", "highest rate"}
        Why there are no more.
    steepest : float or None
        The rate at which the smoothed loss falls fastest over the logarithm of the rate; None where nothing was learnt.
    suggestion : float or None
        Some way below the rate at which it is lowest, likewise.
    start, lowest : float
        The smoothed loss while rates are too small to learn, and its minimum.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str
    steepest: float | None
    suggestion: float | None
    start: float
    lowest: float


def read_sweep(
    rates: Sequence[float], losses: Sequence[float], untrained: Sequence[float], below: float = BELOW_LOWEST[False]
) -> Sweep:
    """Return what the losses of a sweep say.

    At the rate with the lowest loss it is about to rise. A constant rate is taken a tenth of that (Gugger 2018, "How Do
    You Find A Good Learning Rate"); a schedule that warms up and ends at zero is near its highest rate for a moment
    only, and may come closer. Some batches are harder than others: what each costs the untrained network is taken out
    of its loss.

    Parameters
    ----------
    rates : sequence of float
        Rising exponentially.
    losses : sequence of float
        Of each step; the last may be no finite number.
    untrained : sequence of float
        What the weights from which the sweep began make of the same batches.
    below : float
        By what the rate with the lowest loss is divided.
    """
    kept, ended = len(losses), "highest rate"
    if kept and not math.isfinite(losses[-1]):
        kept, ended = kept - 1, "not finite"
    if ended == "highest rate" and diverged(smooth(losses)):
        ended = "diverged"
    usual = float(np.mean(untrained[:kept])) if kept else math.nan
    own = [loss - before + usual for loss, before in zip(losses[:kept], untrained, strict=False)]
    smoothed = smooth(own)
    if kept < 3:
        return Sweep(tuple(rates[:kept]), tuple(own), tuple(smoothed), ended, None, None, math.nan, math.nan)
    values = np.array(smoothed)
    # The first third is at rates too low to learn.
    begin = max(kept // 3, 2)
    start = float(np.mean(own[:begin]))
    low = int(values.argmin())
    steepest = suggestion = None
    if start - values[low] > LEAST_FALL * start and low:
        slopes = np.gradient(values[: low + 1], np.log(rates[: low + 1]))
        steepest, suggestion = float(rates[int(slopes.argmin())]), float(rates[low]) / below
    return Sweep(
        tuple(map(float, rates[:kept])),
        tuple(own),
        tuple(smoothed),
        ended,
        steepest,
        suggestion,
        start,
        float(values[low]),
    )


def smooth(losses: Sequence[float]) -> list[float]:
    """Return the moving average of losses, its beginning at zero divided out (Kingma and Ba 2015, section 3)."""
    found, average = [], 0.0
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING**step))
    return found


def diverged(smoothed: Sequence[float]) -> bool:
    """Return whether the last of some smoothed losses is beyond all that was before."""
    return len(smoothed) > 1 and smoothed[-1] > DIVERGED * min(smoothed)


def lr_find(
    folder: ImageFolder,
    recipe: FinetuneRecipe,
    target: Path,
    *,
    stage: int = 1,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    **options: Unpack[Options],
) -> Sweep:
    """Sweep the learning rate of a stage from low to high and draw its loss.

    The test of Smith (2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3), the rate rising
    exponentially and the loss smoothed. The stage is trained by the very steps of a real run, on the pictures of train,
    from the pretrained backbone and a random head: one that starts from the probe has nothing left to learn in so few
    steps, and the loss would show only where it breaks. No stage before it is trained. Pictures of val and test are not
    decoded, and nothing is written but the plot.

    Parameters
    ----------
    folder : ImageFolder
    recipe : FinetuneRecipe
    target : Path
        A PNG file.
    stage : int
        Counted from 1.
    lowest, highest : float
    steps : int
    **options
        See training.Options.

    Raises
    ------
    InputError
        When nothing is learnt between these rates; the plot is there and shows it.
    """
    # No run of the plot's name is meant, whose split would be followed.
    request = TrainingRequest(folder, RunDirectory(target.with_name(f".{target.name}.run")), **options)
    recipe = lifecycle.resolved(request, recipe, keeps_model=False)
    recipe = recipe.model_copy(update={"head": recipe.head.model_copy(update={"start": heads.RANDOM})})
    if not 1 <= stage <= len(recipe.stage):
        raise RecipeError(f"There is no stage {stage}. The recipe has {len(recipe.stage)}, counted from 1.")
    if not 0 < lowest < highest:
        raise InputError(f"Expected rates above 0, the lowest first. Received: {lowest:g} and {highest:g}.")
    must_be_known(recipe.backbone.weights)
    if recipe.backbone.weights == "imagenet":
        spec = backbones.find(recipe.backbone.name)
        must_be_had(imagenet_files(spec, top=False, size=recipe.image_size), offline=request.offline)
    features, _ = build_network(request, recipe)
    network, data = _begin(request, recipe, features, steps)
    rates = [lowest * (highest / lowest) ** (step / max(steps - 1, 1)) for step in range(steps)]
    from transfer_cli.training.loop.micro_batches import memory_explained

    with memory_explained():
        found = _sweep(request, recipe, stage, network, data, rates)
    sweep(found.rates, found.losses, found.smoothed, (found.steepest, found.suggestion), target)
    if found.suggestion is None:
        raise InputError(
            f"Nothing was learnt at any rate from {lowest:g} to {found.rates[-1] if found.rates else lowest:g}: the "
            f"loss went from {found.start:.3f} to {found.lowest:.3f}. {target} shows it.",
            hint="Take higher rates (--highest 10), more steps (--steps 300), or look at the classes of the folder.",
        )
    return found


def _begin(request: TrainingRequest, recipe: FinetuneRecipe, features: Any, steps: int) -> tuple[Network, Pictures]:
    """Return the network and the pictures with which the first stage of a run begins; pictures are those of train."""
    found = survey(request, recipe, decodes=False)
    rows = np.flatnonzero(found.split.mask("train"))
    # More than are looked at in so many steps need not be read.
    wanted = steps * recipe.step_size
    if len(rows) > wanted:
        rows = np.sort(np.random.default_rng(recipe.seed).choice(rows, wanted, replace=False))
        request.progress.note(f"{wanted} of the pictures of train, drawn by chance: {steps} steps see no more")
    with request.progress.track("reading pictures of train", None):
        decoded, kept = decode_rows(request, recipe, found, rows.tolist())
    if decoded.skipped:
        request.progress.warn(f"{len(decoded.skipped)} pictures of train could not be read, and are left out")
    if not kept:
        raise FolderError(f"No picture of the train part of {request.folder.source} could be read.")

    from transfer_cli.models import backbone
    from transfer_cli.models.classifier_network import Network
    from transfer_cli.training.loop.images import Pictures

    if recipe.backbone.weights == "none":
        backbone.rescale_random_batchnorms(features, decoded.images[:SETTLING])
    network = Network(features, recipe.head, len(found.split.class_names), recipe.seed)
    train = np.arange(len(kept))
    indices = np.array(decoded.indices, np.int64)
    data = Pictures(decoded.images, indices, found.split.truth()[kept], train, train[:0])
    return network, data


def _sweep(
    request: TrainingRequest,
    recipe: FinetuneRecipe,
    number: int,
    network: Network,
    data: Pictures,
    rates: Sequence[float],
) -> Sweep:
    from transfer_cli.models import freezing
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages
    from transfer_cli.training.loop.micro_batches import portions_of
    from transfer_cli.training.loop.stage_trainer import StageTrainer

    train, size = data.train, recipe.step_size
    stage = recipe.stage[number - 1].for_pictures(len(train), size)
    # Of the views that a run would keep, those that so many steps get to see.
    seen = math.ceil(len(rates) * size / len(train))
    shown = AugmentedImages(
        recipe.augmentation,
        recipe.seed,
        data.images,
        data.indices,
        data.truth,
        train,
        network.head.output_shape[-1],
    )
    losses: list[float] = []
    learning = {layer.name for layer in freezing.split_at(network.features, stage.unfreeze).layers}
    with TemporaryDirectory(prefix="transfer-cli-") as place, Scratch(Path(place)) as scratch:
        with request.progress.track(f"preparing stage {number} of {len(recipe.stage)}, {stage.summary()}", None):
            swept = _with_views(recipe, stage, network, len(train), seen)
            training_ = StageTrainer(network, stage, swept, data, shown, scratch, portions_of(recipe), request.progress)
        weights, optimizer = network.weights(learning), training_.optimizer_state()
        with request.progress.track("steps at rising rates", len(rates)) as advance:
            for loss in training_.steps_at(rates):
                losses.append(loss)
                advance(1)
                if not math.isfinite(loss) or diverged(smooth(losses)):
                    break
        network.set_weights(weights, learning)
        training_.set_optimizer_state(optimizer)
        with request.progress.track("the same steps without learning", len(losses)) as advance:
            untrained = []
            for loss in training_.steps_at(itertools.repeat(0.0, len(losses))):
                untrained.append(loss)
                advance(1)
        training_.close()
    return read_sweep(rates, losses, untrained, BELOW_LOWEST[stage.ends_at_zero])


def _with_views(recipe: FinetuneRecipe, stage: Stage, network: Network, images: int, seen: int) -> FinetuneRecipe:
    """Return the recipe with no more views kept than are seen; fresh pictures stay fresh."""
    from transfer_cli.models import freezing
    from transfer_cli.training.loop import frozen_activations

    below = freezing.split_at(network.features, stage.unfreeze).trunk
    if below is None:
        return recipe
    kept = frozen_activations.views_of(recipe.trunk, stage, images, below.output.shape[1:])
    views = min(kept, seen) if kept else "fresh"
    return recipe.model_copy(update={"trunk": recipe.trunk.model_copy(update={"views": views})})
