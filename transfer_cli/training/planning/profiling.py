"""How long each kind of work takes here: the code of a real run, timed on a handful of its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, heads, runtimes
from transfer_cli.classifiers import fit
from transfer_cli.inference.compiled_network import CompiledNetwork, Source
from transfer_cli.io.array_store import Scratch
from transfer_cli.models import backbone, freezing
from transfer_cli.models.classifier_network import Network
from transfer_cli.models.compile import inference_function
from transfer_cli.models.layer_summary import multiply_adds
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.system import peak_memory
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.loop import frozen_activations
from transfer_cli.training.loop.checkpoints import Checkpoints, State
from transfer_cli.training.loop.images import Pictures
from transfer_cli.training.loop.micro_batches import portions_of
from transfer_cli.training.loop.stage_trainer import StageTrainer

BATCHES = 6
"""So many batches of train pictures are a handful."""
_PROBE_ROWS = 512


@dataclass(frozen=True)
class StageTiming:
    """What a stage costs; seconds, and bytes.

    Attributes
    ----------
    parameters : int
        How many learn, the head's included.
    shape : tuple of int or None
        What the trunk makes of a picture; None where all layers learn and there is none.
    keeps : bool
        Whether views were kept when this was timed; else every step ran the trunk.
    preparing : float
        Once: the frozen layers converted and compared, the optimizer.
    view : float
        A view of a picture, made and run through the trunk on what is quickest.
    plain : float
        A picture through the trunk on Keras.
    compiling : float
        Once: what the first step and the first score take longer than others.
    step : float
    scored : float
        A picture of val.
    saving : float
        The checkpoint of an epoch.
    checkpoint_bytes : int
        The last and the best.
    """

    parameters: int
    shape: tuple[int, ...] | None
    keeps: bool
    preparing: float
    view: float
    plain: float
    compiling: float
    step: float
    scored: float
    saving: float
    checkpoint_bytes: int


@dataclass(frozen=True)
class Timing:
    """What a run costs beside its stages.

    Attributes
    ----------
    answering : float
        Once: the backbone compiled by Keras.
    answer : float
        A picture through the backbone on Keras.
    augmenting : float
        A picture augmented, all processors at it.
    fitting : float
        The probe; 0 where the head does not start from one.
    converting : float
        The whole network, for the bundle.
    stages : tuple of StageTiming
    network_bytes : int
        Weights of the backbone and the head.
    process_bytes : int
        Most memory that this process has had, with all of the above done on a handful of pictures.
    """

    answering: float
    answer: float
    augmenting: float
    fitting: float
    converting: float
    stages: tuple[StageTiming, ...]
    network_bytes: int
    process_bytes: int


class Stopwatch:
    """A progress that takes the time of what is tracked: waits of unknown length, and pictures one by one."""

    def __init__(self, progress: Progress) -> None:
        self.waited, self.first, self.rest, self.counted = 0.0, 0.0, 0.0, 0
        self.note, self.warn = progress.note, progress.warn

    @property
    def each(self) -> float:
        """Seconds a picture, those of the first report left out: they wait for a graph to be compiled."""
        return self.rest / self.counted if self.counted else 0.0

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Take the time of one task."""
        last = begun = time.monotonic()
        is_first = True

        def advance(count: int) -> None:
            nonlocal last, is_first
            now = time.monotonic()
            if is_first:
                self.first += now - last
            else:
                self.rest += now - last
                self.counted += count
            last, is_first = now, False

        yield advance
        if total is None:
            self.waited += time.monotonic() - begun


@dataclass(frozen=True)
class ProfilingSample:
    """Some train pictures of a folder, and how many there would be.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each in its folder.
    truth : ndarray of shape (n,) or (n, classes), int
    classes : int
    train : int
        Pictures that a run trains on.
    has_val : bool
    """

    images: NDArray[np.uint8]
    indices: NDArray[np.int64]
    truth: NDArray[np.int64]
    classes: int
    train: int
    has_val: bool


def measure(
    features: keras.Model, recipe: FinetuneRecipe, stages: Sequence[Stage], few: ProfilingSample, progress: Progress
) -> Timing:
    """Return what the work of a recipe costs here; the backbone is left as it was.

    Parameters
    ----------
    features : keras.Model
    recipe : FinetuneRecipe
        Resolved.
    stages : sequence of Stage
        With their epochs.
    few : ProfilingSample
    progress : Progress
    """
    before = features.get_weights()
    try:
        if recipe.backbone.weights == "none":
            backbone.rescale_random_batchnorms(features, few.images[:64])
        return _measure(features, recipe, stages, few, progress)
    finally:
        features.set_weights(before)
        features.trainable = False


def _measure(
    features: keras.Model, recipe: FinetuneRecipe, stages: Sequence[Stage], few: ProfilingSample, progress: Progress
) -> Timing:
    network = Network(features, recipe.head, few.classes, recipe.seed)
    run, size = inference_function(features), recipe.batch_size
    answering = _seconds(lambda: run(few.images[:size]))
    begun = time.monotonic()
    matrix = np.concatenate([run(few.images[at : at + size]) for at in range(0, len(few.images), size)])
    answer = (time.monotonic() - begun) / len(few.images)
    fitting = _fitting(recipe, matrix, few, progress) if recipe.head.start == heads.PROBE else 0.0
    rows = np.arange(len(few.images))
    shown = AugmentedImages(recipe.augmentation, recipe.seed, few.images, few.indices, few.truth, rows, few.classes)
    jobs = [[(int(row), 1) for row in rows[at : at + size]] for at in range(0, len(rows), size)]
    augmenting = _seconds(lambda: list(frozen_activations.shown_in_batches(shown, jobs))) / len(rows)
    data = Pictures(few.images, few.indices, few.truth, rows, rows[:size] if few.has_val else rows[:0])
    timed, converting = [], 0.0
    with TemporaryDirectory(prefix="transfer-cli-") as name:
        for stage in stages:
            watch = Stopwatch(progress)
            timed.append(_stage(network, stage, recipe, data, shown, few, answer, Path(name), watch))
            below = freezing.split_at(features, stage.unfreeze).trunk
            if watch.waited and below is not None:
                converting = watch.waited * len(network.whole.layers) / len(below.layers)
    if not converting and runtimes.find(recipe.inference.runtime).takes_graph:
        watch = Stopwatch(progress)
        CompiledNetwork(Source({}, lambda: network.whole, classes=True), recipe.inference, None, watch)
        converting = watch.waited
    weights = sum(4 * int(np.prod(variable.shape)) for variable in network.whole.weights)
    return Timing(
        max(answering - size * answer, 0), answer, augmenting, fitting, converting, tuple(timed), weights, peak_memory()
    )


def _stage(
    network: Network,
    stage: Stage,
    recipe: FinetuneRecipe,
    data: Pictures,
    shown: AugmentedImages,
    few: ProfilingSample,
    answer: float,
    place: Path,
    watch: Stopwatch,
) -> StageTiming:
    frozen_split = freezing.split_at(network.features, stage.unfreeze)
    below = frozen_split.trunk
    shape = None if below is None else tuple(below.output.shape[1:])
    still = recipe.augmentation.is_off
    keeps = shape is not None and (still or frozen_activations.views_of(recipe.trunk, stage, few.train, shape) > 0)
    timed = recipe.model_copy(update={"trunk": recipe.trunk.model_copy(update={"views": 1 if keeps else "fresh"})})
    with Scratch(place) as scratch:
        begun = time.monotonic()
        training = StageTrainer(network, stage, timed, data, shown, scratch, portions_of(recipe), watch)
        preparing = time.monotonic() - begun - watch.rest
        state, stamps = State(split_digest=""), [time.monotonic()]
        training.epoch(1, state, lambda count: stamps.append(time.monotonic()))
        step = _seconds(lambda: training.epoch(2, state, lambda count: None)) / training.steps
        compiling = max(stamps[1] - stamps[0] - step, 0.0)
        scored = 0.0
        if few.has_val:
            first = _seconds(training.score_val)
            scored = _seconds(training.score_val)
            compiling += max(first - scored, 0.0)
            scored /= len(data.val)
        learning = {layer.name for layer in frozen_split.layers}
        best = State(split_digest="", best=0 if few.has_val else None)
        run = RunDirectory(place)

        def save() -> None:
            weights = network.weights(learning)
            Checkpoints(run).save(best, weights, training.optimizer_state(), weights)

        saving = _seconds(save)
        parameters = sum(int(np.prod(variable.shape)) for variable in training.variables)
        training.close()
    written = sum(path.stat().st_size for path in run.checkpoints.iterdir())
    share = 0.0 if below is None else _work(below) / max(_work(network.features), 1)
    return StageTiming(
        parameters, shape, keeps, preparing, watch.each, answer * share, compiling, step, scored, saving, written
    )


def _fitting(recipe: FinetuneRecipe, matrix: NDArray[np.float32], few: ProfilingSample, progress: Progress) -> float:
    """Return how long the probe takes on all train pictures: on copies of a few, each a little different."""
    rows = min(few.train, _PROBE_ROWS)
    random = np.random.default_rng(recipe.seed)
    chosen = np.resize(np.arange(len(matrix)), rows)
    noise = 0.1 * random.normal(size=(rows, matrix.shape[1])) * matrix.std(axis=0)
    truth, present = few.truth[chosen], few.classes
    if truth.ndim == 1:
        names, truth = np.unique(truth, return_inverse=True)
        present = len(names)
    if present < 2:
        return 0.0
    seconds = _seconds(
        lambda: fit.fit(
            classifiers.find("logistic"),
            (matrix[chosen] + noise).astype(np.float32),
            truth,
            classes=present,
            tune=True,
            out_of_fold=False,
            seed=recipe.seed,
            progress=Stopwatch(progress),
        )
    )
    return seconds * min(few.train, fit.TUNING_ROWS) / rows * few.classes / present


def _work(model: Any) -> int:
    return sum(multiply_adds(layer) for layer in model.layers)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
