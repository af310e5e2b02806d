"""Estimate of a fine-tuning: its split, stages, seconds, memory and disk, computed from timings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from transfer_cli.catalog import heads
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import MEMORY_BYTES
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.training.loop import frozen_activations

FEW_PER_CLASS = 20
"""A class with fewer training images gets a warning."""
REST_SECONDS = 2.0
"""Rough time of what is not timed: previews, curves, tables and the end of the process."""
REST_BYTES = 100_000_000
"""Rough memory of the modules that are imported at the end of a run, to plot and to score."""


@dataclass(frozen=True)
class StageTiming:
    """Cost of one stage, in seconds and bytes.

    Attributes
    ----------
    parameters : int
        Number of trainable parameters, including the head.
    frozen_shape : tuple of int or None
        Output shape of the frozen layers for one image; None if all layers are trained.
    caches_views : bool
        Whether frozen features were cached while this was timed; else each step ran the frozen layers.
    prepare_seconds : float
        Once: conversion and parity check of the frozen layers, creation of the optimizer.
    view_seconds : float
        Per augmented view: augmentation, and the frozen layers on the fastest runtime.
    frozen_seconds : float
        Per image: the frozen layers on Keras.
    compile_seconds : float
        Once: by how much the first step and the first score take longer than later ones.
    step_seconds : float
    val_seconds : float
        Per validation image.
    save_seconds : float
        Per epoch: the checkpoint.
    checkpoint_bytes : int
        Size of the last and the best checkpoint.
    """

    parameters: int
    frozen_shape: tuple[int, ...] | None
    caches_views: bool
    prepare_seconds: float
    view_seconds: float
    frozen_seconds: float
    compile_seconds: float
    step_seconds: float
    val_seconds: float
    save_seconds: float
    checkpoint_bytes: int


@dataclass(frozen=True)
class Timing:
    """Cost of a run besides its stages, in seconds and bytes.

    Attributes
    ----------
    compile_seconds : float
        Once: compilation of the backbone by Keras.
    forward_seconds : float
        Per image: the backbone on Keras.
    augment_seconds : float
        Per image, on all CPU cores.
    probe_seconds : float
        Once: fit of the linear probe; 0 if the head does not start from one.
    convert_seconds : float
        Once: conversion of the whole network for the bundle.
    stages : tuple of StageTiming
    network_bytes : int
        Weights of the backbone and the head.
    process_bytes : int
        Peak memory of this process after all of the above on a few images.
    """

    compile_seconds: float
    forward_seconds: float
    augment_seconds: float
    probe_seconds: float
    convert_seconds: float
    stages: tuple[StageTiming, ...]
    network_bytes: int
    process_bytes: int


@dataclass(frozen=True)
class RequiredWeights:
    """A file of pretrained weights that a recipe needs.

    Attributes
    ----------
    name : str
    megabytes : float
        In units of 10^6 bytes; computed from the number of parameters if the file is not downloaded.
    is_downloaded : bool
    """

    name: str
    megabytes: float
    is_downloaded: bool


@dataclass(frozen=True)
class StagePlan:
    """Estimate of one stage.

    Attributes
    ----------
    unfreeze : str
        As in the recipe.
    parameters : int
        Number of trainable parameters.
    epochs : int
    steps : int
        Per epoch.
    views : int or None
        Augmented views per image whose frozen features are cached; 0: images are augmented anew in each epoch; None:
        all layers are trained, so that there are no frozen features.
    prepare_seconds : float
    epoch_seconds : float
    """

    unfreeze: str
    parameters: int
    epochs: int
    steps: int
    views: int | None
    prepare_seconds: float
    epoch_seconds: float

    @property
    def seconds(self) -> float:
        """Time of the preparation and of all epochs."""
        return self.prepare_seconds + self.epochs * self.epoch_seconds


@dataclass(frozen=True)
class Plan:
    """Estimate of a fine-tuning with all of its epochs; early stopping may end it sooner.

    Attributes
    ----------
    images_per_class : mapping of str to mapping of str to int
        ``{part: {class: images}}``.
    images : mapping of str to int
        Per part of the split.
    skipped : int
        Number of images that cannot be read.
    stages, refit : tuple of StagePlan
        The stages of the refit on train + val; none if there is no refit.
    seconds : mapping of str to float
        ``start``, ``read``, ``probe``, ``stages``, ``refit``, ``score`` and ``bundle``, in this order.
    memory_bytes : int
        Peak memory of the process.
    scratch_bytes, run_bytes, bundle_bytes : int
        Disk space; that of scratch files is free again at the end.
    weights : tuple of RequiredWeights
    """

    images_per_class: Mapping[str, Mapping[str, int]]
    images: Mapping[str, int]
    skipped: int
    stages: tuple[StagePlan, ...]
    refit: tuple[StagePlan, ...]
    seconds: Mapping[str, float]
    memory_bytes: int
    scratch_bytes: int
    run_bytes: int
    bundle_bytes: int
    weights: tuple[RequiredWeights, ...]

    @property
    def total_seconds(self) -> float:
        """Time of the whole command."""
        return sum(self.seconds.values())

    @property
    def classes_with_few_images(self) -> tuple[str, ...]:
        """Classes with fewer than `FEW_PER_CLASS` training images."""
        return tuple(name for name, count in self.images_per_class["train"].items() if count < FEW_PER_CLASS)


@dataclass(frozen=True)
class PlanInputs:
    """The measurements that a plan is computed from, for any number of epochs.

    Attributes
    ----------
    split : Split
    skipped : int
    refits : bool
    start_seconds : float
        From the start of the command until the first image is read.
    read_seconds : float
        Per image.
    timing : Timing
    weights : tuple of RequiredWeights
    """

    split: Split
    skipped: int
    refits: bool
    start_seconds: float
    read_seconds: float
    timing: Timing
    weights: tuple[RequiredWeights, ...]


def estimate_plan(recipe: FinetuneRecipe, inputs: PlanInputs) -> Plan:
    """Return the estimate of a recipe.

    Parameters
    ----------
    recipe : FinetuneRecipe
        Resolved; its epochs and cached views may differ from those that were timed.
    inputs : PlanInputs
    """
    split, timing, counts = inputs.split, inputs.timing, inputs.split.counts()
    train, val, test = (counts.get(part, 0) for part in ("train", "val", "test"))
    timed = [
        (stage.for_images(train, recipe.step_size), each)
        for stage, each in zip(recipe.stage, timing.stages, strict=True)
    ]
    planned = [_stage(recipe, stage, each, timing, train, val) for stage, each in timed]
    again = [_stage(recipe, stage, each, timing, train + val, 0) for stage, each in timed if inputs.refits]
    stages, refit = (tuple(plan for plan, _ in each) for each in (planned, again))
    seconds = {
        "start": inputs.start_seconds,
        "read": inputs.read_seconds * len(split.rows),
        "probe": _probe_seconds(recipe, timing, train) + _flips_seconds(recipe, timing, train),
        "stages": sum(stage.seconds for stage in stages),
        "refit": sum(stage.seconds for stage in refit) + (_probe_seconds(recipe, timing, train + val) if refit else 0),
        "score": 2 * timing.compile_seconds
        + _branches(recipe) * (val + test) * timing.forward_seconds
        + _choice_seconds(recipe, timing, train + val, test),
        "bundle": timing.convert_seconds + timing.compile_seconds + REST_SECONDS,
    }
    image_bytes = recipe.image_size**2 * 3
    arrays = len(split.rows) * image_bytes + max(cached for _, cached in [*planned, *again])
    # A photograph as PNG has about half of its raw size.
    preview = min(len(split.class_names), 8) * 8 * image_bytes // 2
    labels = Counter((row.part, label) for row in split.rows for label in row.labels)
    return Plan(
        images_per_class={part: {name: labels[part, name] for name in split.class_names} for part in counts},
        images=counts,
        skipped=inputs.skipped,
        stages=stages,
        refit=refit,
        seconds=seconds,
        memory_bytes=timing.process_bytes + REST_BYTES + min(arrays, MEMORY_BYTES),
        scratch_bytes=max(arrays - MEMORY_BYTES, 0),
        run_bytes=max(each.checkpoint_bytes for each in timing.stages) + preview,
        bundle_bytes=timing.network_bytes * (2 if timing.convert_seconds else 1) * _branches(recipe),
        weights=inputs.weights,
    )


def _probe_seconds(recipe: FinetuneRecipe, timing: Timing, images: int) -> float:
    if recipe.head.start != heads.PROBE:
        return 0.0
    return timing.compile_seconds + images * timing.forward_seconds + timing.probe_seconds


def _flips_seconds(recipe: FinetuneRecipe, timing: Timing, images: int) -> float:
    """Return the time to find out whether mirror images do harm."""
    if recipe.augmentation.horizontal_flip != "auto":
        return 0.0
    return timing.compile_seconds + 2 * (images * timing.forward_seconds + timing.probe_seconds)


def _branches(recipe: FinetuneRecipe) -> int:
    """Return the number of copies of the trained layers in the result; the pretrained ones are beside them."""
    return 2 if recipe.final.classifier == "features" and recipe.final.probe != 0 else 1


def _choice_seconds(recipe: FinetuneRecipe, timing: Timing, fitting: int, test: int) -> float:
    """Return the time to fit classifiers to the features of the pretrained and the trained network."""
    if recipe.final.classifier != "features":
        return 0.0
    images = 2 * fitting + test
    return timing.compile_seconds + images * timing.forward_seconds + 4 * timing.probe_seconds


def _stage(
    recipe: FinetuneRecipe, stage: Stage, timed: StageTiming, timing: Timing, train: int, val: int
) -> tuple[StagePlan, int]:
    """Return the estimate of a stage, and the size of its cached frozen features in bytes."""
    steps = math.ceil(train / recipe.step_size)
    prepare, step, views, cached = timed.prepare_seconds + timed.compile_seconds, timed.step_seconds, None, 0
    if timed.frozen_shape is not None:
        prepare += val * timed.frozen_seconds
        if recipe.augmentation.is_off:
            views = 1
            prepare += train * timed.frozen_seconds
        else:
            views = frozen_activations.number_of_views(recipe.trunk, stage, train, timed.frozen_shape)
            prepare += views * train * timed.view_seconds
            if not views and timed.caches_views:
                step += recipe.step_size * (timing.augment_seconds + timed.frozen_seconds)
        # Augmented views are cached in float16, val and plain images in float32.
        bytes_per_value = 4 if recipe.augmentation.is_off else 2
        cached = math.prod(timed.frozen_shape) * (bytes_per_value * views * train + 4 * val)
    epoch = steps * step + val * timed.val_seconds + timed.save_seconds
    return StagePlan(stage.unfreeze, timed.parameters, stage.length, steps, views, prepare, epoch), cached
