"""What a fine-tuning would be: its parts, stages, seconds, memory and disk, reckoned from what was timed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transfer_cli.catalog import heads
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import MEMORY_BYTES
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage

if TYPE_CHECKING:
    from transfer_cli.training.planning.profiling import StageTiming, Timing

FEW = 20
"""With fewer training pictures in a class a person is told what to expect."""
REST_SECONDS = 2.0
"""Previews, curves, tables and the end of the process, roughly: they are not timed."""
REST_BYTES = 100_000_000
"""Of memory: what a run imports at its end, to draw and to score."""


@dataclass(frozen=True)
class WeightsNeeded:
    """A file of pretrained weights.

    Attributes
    ----------
    name : str
    megabytes : float
        Of 10^6 bytes; by the number of its parameters where it is not here.
    here : bool
    """

    name: str
    megabytes: float
    here: bool


@dataclass(frozen=True)
class StagePlan:
    """What a stage would be.

    Attributes
    ----------
    unfreeze : str
        The recipe's word.
    parameters : int
        How many learn.
    epochs : int
    steps : int
        An epoch.
    views : int or None
        Views of each picture that are kept; 0: every epoch draws its pictures afresh; None: all layers learn, and there
        is nothing to keep.
    preparing_seconds : float
    epoch_seconds : float
    """

    unfreeze: str
    parameters: int
    epochs: int
    steps: int
    views: int | None
    preparing_seconds: float
    epoch_seconds: float

    @property
    def seconds(self) -> float:
        """All of its epochs, and what comes before the first."""
        return self.preparing_seconds + self.epochs * self.epoch_seconds


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning would be, every epoch of it; early stopping may end it sooner.

    Attributes
    ----------
    parts : mapping of str to mapping of str to int
        ``{part: {class: pictures}}``.
    images : mapping of str to int
        Of each part.
    skipped : int
        Pictures that cannot be read.
    stages, refit : tuple of StagePlan
        Those of the refit are the same on the pictures of train and val together; none where no refit follows.
    seconds : mapping of str to float
        ``start``, ``read``, ``probe``, ``stages``, ``refit``, ``score`` and ``bundle``, in their order.
    memory_bytes : int
        The peak of the process.
    scratch_bytes, run_bytes, bundle_bytes : int
        Of the disk; scratch is gone at the end.
    weights : tuple of WeightsNeeded
    """

    parts: Mapping[str, Mapping[str, int]]
    images: Mapping[str, int]
    skipped: int
    stages: tuple[StagePlan, ...]
    refit: tuple[StagePlan, ...]
    seconds: Mapping[str, float]
    memory_bytes: int
    scratch_bytes: int
    run_bytes: int
    bundle_bytes: int
    weights: tuple[WeightsNeeded, ...] = field(default=())

    @property
    def total_seconds(self) -> float:
        """The whole command."""
        return sum(self.seconds.values())

    @property
    def few(self) -> tuple[str, ...]:
        """Classes with few pictures to learn from."""
        return tuple(name for name, count in self.parts["train"].items() if count < FEW)


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is reckoned from, whatever the epochs.

    Attributes
    ----------
    split : Split
    skipped : int
    refits : bool
    start : float
        Seconds until a run reads its first picture.
    reading : float
        Seconds a picture.
    timing : Timing
    weights : tuple of WeightsNeeded
    """

    split: Split
    skipped: int
    refits: bool
    start: float
    reading: float
    timing: Timing
    weights: tuple[WeightsNeeded, ...]


def plan_of(recipe: FinetuneRecipe, basis: PlanInputs) -> Plan:
    """Return what a recipe would be.

    Parameters
    ----------
    recipe : FinetuneRecipe
        Resolved; its stages may be others than when they were timed in their epochs, and the views that are kept.
    basis : Basis
    """
    counts, timing = basis.split.counts(), basis.timing
    train, val, test = (counts.get(part, 0) for part in ("train", "val", "test"))
    timed = [*zip(recipe.stage, timing.stages, strict=True)]
    stages = tuple(_stage(recipe, stage, each, timing, train, val, train) for stage, each in timed)
    refit: tuple[StagePlan, ...] = ()
    if basis.refits:
        refit = tuple(_stage(recipe, stage, each, timing, train + val, 0, train) for stage, each in timed)
    seconds = {
        "start": basis.start,
        "read": basis.reading * len(basis.split.rows),
        "probe": _probe(recipe, timing, train),
        "stages": sum(stage.seconds for stage in stages),
        "refit": sum(stage.seconds for stage in refit) + (_probe(recipe, timing, train + val) if refit else 0.0),
        "score": 2 * timing.answering + (val + test) * timing.answer,
        "bundle": timing.converting + timing.answering + REST_SECONDS,
    }
    most = max(_kept_bytes(stage, each, recipe, train, val) for stage, (_, each) in zip(stages, timed, strict=True))
    if refit:
        again = [
            _kept_bytes(stage, each, recipe, train + val, 0) for stage, (_, each) in zip(refit, timed, strict=True)
        ]
        most = max(most, *again)
    arrays = len(basis.split.rows) * recipe.image_size**2 * 3 + most
    rows: dict[str, Counter[str]] = {}
    for row in basis.split.rows:
        rows.setdefault(row.part, Counter()).update(row.labels)
    names = basis.split.class_names
    return Plan(
        parts={part: {name: rows[part][name] for name in names} for part in counts},
        images=counts,
        skipped=basis.skipped,
        stages=stages,
        refit=refit,
        seconds=seconds,
        memory_bytes=timing.process_bytes + REST_BYTES + min(arrays, MEMORY_BYTES),
        scratch_bytes=max(arrays - MEMORY_BYTES, 0),
        run_bytes=max(each.checkpoint_bytes for each in timing.stages) + _preview_bytes(recipe, len(names)),
        bundle_bytes=timing.network_bytes * (2 if timing.converting else 1),
        weights=basis.weights,
    )


def _probe(recipe: FinetuneRecipe, timing: Timing, images: int) -> float:
    if recipe.head.start != heads.PROBE:
        return 0.0
    return timing.answering + images * timing.answer + timing.fitting


def _stage(
    recipe: FinetuneRecipe, stage: Stage, timed: StageTiming, timing: Timing, train: int, val: int, first: int
) -> StagePlan:
    """Return what a stage would be for so many pictures; `first`: how many decide the epochs of ``auto``."""
    # It loads what augments pictures.
    from transfer_cli.training.loop import frozen_activations

    stage = stage.for_pictures(first, recipe.step_size)
    steps = math.ceil(train / recipe.step_size)
    preparing, step, views = timed.preparing + timed.compiling, timed.step, None
    if timed.shape is not None:
        preparing += val * timed.plain
        if recipe.augmentation.is_off:
            views = 1
            preparing += train * timed.plain
        else:
            views = frozen_activations.views_of(recipe.trunk, stage, train, timed.shape)
            preparing += views * train * timed.view
            if not views and timed.keeps:
                step += recipe.step_size * (timing.augmenting + timed.plain)
    epoch = steps * step + val * timed.scored + timed.saving
    return StagePlan(stage.unfreeze, timed.parameters, stage.length, steps, views, preparing, epoch)


def _kept_bytes(stage: StagePlan, timed: StageTiming, recipe: FinetuneRecipe, train: int, val: int) -> int:
    """Return what is kept of the trunk: views as float16, val and pictures that are not augmented as float32."""
    if timed.shape is None:
        return 0
    digits = 4 if recipe.augmentation.is_off else 2
    return math.prod(timed.shape) * (digits * (stage.views or 0) * train + 4 * val)


def _preview_bytes(recipe: FinetuneRecipe, classes: int) -> int:
    # Photographs as PNG take about half of their bytes.
    return min(classes, 8) * 8 * recipe.image_size**2 * 3 // 2
