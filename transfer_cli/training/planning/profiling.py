"""Timing of a fine-tuning on this machine: the code of a real run, profiled on a few of its images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, heads, runtimes
from transfer_cli.classifiers import fit
from transfer_cli.data.split import Split
from transfer_cli.inference.compiled_network import CompiledNetwork, NetworkSource
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.io.drafts import temporary_folder
from transfer_cli.models import freezing
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.models.compile import inference_function
from transfer_cli.models.layer_summary import multiply_adds
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.system import peak_memory
from transfer_cli.training.loop import frozen_activations
from transfer_cli.training.loop.checkpoints import Checkpoints, State
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.network_setup import new_network
from transfer_cli.training.loop.stage_trainer import StageTrainer
from transfer_cli.training.planning.estimate import StageTiming, Timing

BATCHES = 6
"""Number of training batches that are timed."""
_PROBE_ROWS = 512


class TimedProgress:
    """A progress that measures tracked tasks: those of unknown length as a whole, others per image."""

    def __init__(self, progress: Progress) -> None:
        self.waited, self.rest, self.counted = 0.0, 0.0, 0
        self.note, self.warn = progress.note, progress.warn

    @property
    def seconds_per_image(self) -> float:
        """Mean time per image without the first report, which includes the compilation of a graph."""
        return self.rest / self.counted if self.counted else 0.0

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Measure one task."""
        last = begun = time.monotonic()
        is_first = True

        def advance(count: int) -> None:
            nonlocal last, is_first
            now = time.monotonic()
            if not is_first:
                self.rest += now - last
                self.counted += count
            last, is_first = now, False

        yield advance
        if total is None:
            self.waited += time.monotonic() - begun


def profile(
    features: keras.Model, recipe: FinetuneRecipe, split: Split, sample: TrainingData, progress: Progress
) -> Timing:
    """Return the cost of a recipe on this machine; the backbone is left unchanged.

    Parameters
    ----------
    features : keras.Model
        The backbone.
    recipe : FinetuneRecipe
        Resolved.
    split : Split
        Of the run.
    sample : TrainingData
        A few of its training images. Some of them take the place of its validation images.
    progress : Progress
    """
    before = features.get_weights()
    try:
        network = new_network(recipe, features, sample.images, len(split.class_names))
        return _Profiler(network, recipe, sample, split.counts()["train"], progress).timing()
    finally:
        features.set_weights(before)
        features.trainable = False


@dataclass(frozen=True)
class _Profiler:
    """Times the parts of a run one after the other."""

    network: ClassifierNetwork
    recipe: FinetuneRecipe
    sample: TrainingData
    train: int
    progress: Progress

    def timing(self) -> Timing:
        compiling, forward, features = self._forward()
        probe = self._probe(features) if self.recipe.head.start == heads.PROBE else 0.0
        augment = self._augment()
        timed, convert = [], 0.0
        with temporary_folder() as folder:
            for stage in self.recipe.stage:
                watch = TimedProgress(self.progress)
                stage = stage.for_images(self.train, self.recipe.step_size)
                timed.append(self._stage(stage, forward, folder, watch))
                frozen = freezing.split_at(self.network.features, stage.unfreeze).frozen
                if watch.waited and frozen is not None:
                    convert = watch.waited * len(self.network.whole.layers) / len(frozen.layers)
        if not convert and runtimes.find(self.recipe.inference.runtime).runs_converted_graph:
            watch = TimedProgress(self.progress)
            source = NetworkSource({}, lambda: self.network.whole, classes=True)
            CompiledNetwork.build(source, self.recipe.inference, None, watch)
            convert = watch.waited
        weights = sum(4 * int(np.prod(variable.shape)) for variable in self.network.whole.weights)
        return Timing(compiling, forward, augment, probe, convert, tuple(timed), weights, peak_memory())

    def _forward(self) -> tuple[float, float, NDArray[np.float32]]:
        """Return the seconds to compile the backbone, the seconds per image, and the features of the sample."""
        run, images, size = inference_function(self.network.features), self.sample.images, self.recipe.batch_size
        first = _seconds(lambda: run(images[:size]))
        begun = time.monotonic()
        features = np.concatenate([run(images[at : at + size]) for at in range(0, len(images), size)])
        per_image = (time.monotonic() - begun) / len(images)
        return max(first - size * per_image, 0), per_image, features

    def _augment(self) -> float:
        """Return the seconds to augment an image."""
        rows, size = range(len(self.sample.images)), self.recipe.batch_size
        jobs = [[(row, 1) for row in rows[at : at + size]] for at in range(0, len(rows), size)]
        augmented = self.sample.augmented(self.recipe, self.network.head.output_shape[-1])
        return _seconds(lambda: list(frozen_activations.augmented_batches(augmented, jobs))) / len(rows)

    def _stage(self, stage: Stage, forward: float, place: Path, watch: TimedProgress) -> StageTiming:
        """Train two epochs of a stage, score and save; `forward`: seconds per image of the whole backbone."""
        recipe, data = self.recipe, self.sample
        frozen_split = freezing.split_at(self.network.features, stage.unfreeze)
        frozen = frozen_split.frozen
        shape = None if frozen is None else tuple(frozen.output.shape[1:])
        caches = shape is not None and (
            recipe.augmentation.is_off or frozen_activations.number_of_views(recipe.trunk, stage, self.train, shape) > 0
        )
        timed = recipe.with_settings("trunk", views=1 if caches else "fresh")
        with ArrayStore(place) as scratch:
            begun = time.monotonic()
            context = StageContext(self.network, timed, scratch, MicroBatches.of(recipe), watch)
            trainer = StageTrainer.build(context, stage, data)
            prepare = time.monotonic() - begun - watch.rest
            state, stamps = State(split_digest=""), [time.monotonic()]
            trainer.epoch(1, state, lambda count: stamps.append(time.monotonic()))
            step = _seconds(lambda: trainer.epoch(2, state, lambda count: None)) / trainer.steps_per_epoch
            compiling, scoring = max(stamps[1] - stamps[0] - step, 0.0), 0.0
            if len(data.val):
                first, again = _seconds(trainer.score_val), _seconds(trainer.score_val)
                compiling, scoring = compiling + max(first - again, 0.0), again / len(data.val)
            save, written = self._save(trainer, {layer.name for layer in frozen_split.layers}, place)
            parameters = sum(int(np.prod(variable.shape)) for variable in trainer.step.variables)
            trainer.close()
        share = 0.0 if frozen is None else _work(frozen) / max(_work(self.network.features), 1)
        return StageTiming(
            parameters,
            shape,
            caches,
            prepare,
            watch.seconds_per_image,
            forward * share,
            compiling,
            step,
            scoring,
            save,
            written,
        )

    def _save(self, trainer: StageTrainer, trained: set[str], place: Path) -> tuple[float, int]:
        """Return the seconds to write the last and the best checkpoint, and their size."""
        run, best = RunDirectory(place), State(split_digest="", best=0 if len(self.sample.val) else None)

        def save() -> None:
            weights = self.network.weights(trained)
            Checkpoints(run).save(best, weights, trainer.optimizer_state(), weights)

        return _seconds(save), sum(path.stat().st_size for path in run.checkpoints.iterdir())

    def _probe(self, features: NDArray[np.float32]) -> float:
        """Return the seconds to fit the probe on all training images, timed on noisy repetitions of the sample."""
        rows, classes = min(self.train, _PROBE_ROWS), self.network.head.output_shape[-1]
        random = np.random.default_rng(self.recipe.seed)
        selected = np.resize(np.arange(len(features)), rows)
        noise = 0.1 * random.normal(size=(rows, features.shape[1])) * features.std(axis=0)
        truth, present = self.sample.truth[selected], classes
        if truth.ndim == 1:
            names, truth = np.unique(truth, return_inverse=True)
            present = len(names)
        if present < 2:
            return 0.0
        seconds = _seconds(
            lambda: fit.fit(
                classifiers.find("logistic"),
                (features[selected] + noise).astype(np.float32),
                truth,
                fit.FitOptions(classes=present, tune=True, out_of_fold=False, seed=self.recipe.seed),
                progress=TimedProgress(self.progress),
            )
        )
        return float(seconds * min(self.train, fit.TUNING_ROWS) / rows * classes / present)


def _work(model: keras.Model) -> int:
    return sum(multiply_adds(layer) for layer in model.layers)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
