"""Time a small step of a network in a process of its own, which is stopped when the time is over.

`StepTimer` starts it with the recipe as JSON and the number of classes as arguments. It prints one JSON object per
finding, the most important first, so that those that it reached are known if it is stopped.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli import errors
from transfer_cli.catalog import optimizers
from transfer_cli.errors import TransferError
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.recipes import FinetuneRecipe

if TYPE_CHECKING:
    import keras

    from transfer_cli.models.freezing import FrozenSplit

_FEW = 2
_MORE = 8
_QUICK_SECONDS = 0.25
"""If an image takes no longer, a larger batch is timed as well."""


@dataclass(frozen=True)
class StageFacts:
    """The parts of a network in one stage.

    Attributes
    ----------
    parameters : int
        Number of trainable parameters, including the head.
    frozen_shape : tuple of int or None
        Output shape of the frozen layers for one image; None if all layers are trained.
    frozen_share : float
        Share of the multiply-adds in the frozen layers.
    frozen_layers : int
    """

    parameters: int
    frozen_shape: tuple[int, ...] | None
    frozen_share: float
    frozen_layers: int


@dataclass(frozen=True)
class StepFacts:
    """What was found out about a network within the time; None or empty: not reached.

    Attributes
    ----------
    stages : tuple of StageFacts
    layers, parameters : int
        Of the network with its head.
    start_seconds : float or None
        To start TensorFlow and to build the network.
    augment_seconds : float
        Per image, on all CPU cores.
    compile_seconds : float or None
        Once: by how much the first run takes longer.
    forward_seconds : float or None
        Per image.
    head_seconds : float or None
        Per step: training of the head on features.
    step_seconds : mapping of int to float
        By number of the stage: training of the layers above the frozen ones, per image.
    """

    stages: tuple[StageFacts, ...] = ()
    layers: int = 0
    parameters: int = 0
    start_seconds: float | None = None
    augment_seconds: float = 0.0
    compile_seconds: float | None = None
    forward_seconds: float | None = None
    head_seconds: float | None = None
    step_seconds: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> StepFacts:
        """Return the facts in the JSON objects of the process, merged."""
        stages = tuple(
            StageFacts(**{**each, "frozen_shape": each["frozen_shape"] and tuple(each["frozen_shape"])})
            for each in found.get("stages", ())
        )
        steps = {int(key.removeprefix("step ")): value for key, value in found.items() if key.startswith("step ")}
        known = {name: found[name] for name in cls.__dataclass_fields__ if name in found and name != "stages"}
        return cls(**known, stages=stages, step_seconds=steps)


class StepTimer:
    """The process that times a step; as a context manager it ends with the block."""

    def __init__(self, recipe: FinetuneRecipe, classes: int) -> None:
        words = [json.dumps(recipe.model_dump(mode="json")), str(classes)]
        # Without -P, Python would import and run a types.py in the current folder.
        command = [sys.executable, "-P", "-m", "transfer_cli.training.planning.timed_step", *words]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> StepTimer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def facts(self, deadline: float, progress: Progress) -> StepFacts:
        """Wait until a time of `time.monotonic`, and return what was found by then.

        Raises
        ------
        TransferError
            If the recipe does not fit the network.
        """
        try:
            output, _ = self._process.communicate(timeout=max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        found: dict[str, Any] = {}
        for line in output.decode().splitlines(keepends=True):
            # Other libraries print as well, and the last line may be torn.
            if line.startswith("{") and line.endswith("}\n"):
                found |= json.loads(line)
        if "error" in found:
            raise getattr(errors, found["error"])(found["message"], hint=found["hint"])
        for warning in found.get("warnings", ()):
            progress.warn(warning)
        return StepFacts.of(found)


class _Warnings:
    """A progress that keeps warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.track, self.note, self.warn = SILENT.track, SILENT.note, self.lines.append


def main(recipe_json: str, classes: str) -> None:
    """Build the network of a recipe with random weights, and print what is found out about it."""
    recipe = FinetuneRecipe.model_validate_json(recipe_json)
    try:
        _measure(recipe, int(classes))
    except TransferError as error:
        _tell(error=type(error).__name__, message=str(error), hint=error.hint)


def _tell(**found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _measure(recipe: FinetuneRecipe, classes: int) -> None:
    begun = time.monotonic()
    import_tensorflow()
    from transfer_cli.models import backbone
    from transfer_cli.models.classifier_network import ClassifierNetwork
    from transfer_cli.models.layer_summary import multiply_adds
    from transfer_cli.training.loop.network_setup import split_stages

    choice, warnings = recipe.backbone, _Warnings()
    features = backbone.build(
        recipe.spec,
        weights="none",
        size=recipe.image_size,
        layer=choice.layer,
        pooling=choice.pooling,
        seed=recipe.seed,
    )
    splits = split_stages(features, recipe, warnings)
    network = ClassifierNetwork(features, recipe.head, classes, recipe.seed)
    whole = sum(map(multiply_adds, features.layers)) or 1
    head = sum(math.prod(variable.shape) for variable in network.head.trainable_variables)
    stages = [
        {
            "parameters": head + sum(math.prod(variable.shape) for variable in _trained(features, split)),
            "frozen_shape": split.frozen and list(split.frozen.output.shape[1:]),
            "frozen_share": sum(map(multiply_adds, split.frozen.layers)) / whole if split.frozen else 0.0,
            "frozen_layers": len(split.frozen.layers) if split.frozen else 0,
        }
        for split in splits
    ]
    _tell(stages=stages, layers=len(network.whole.layers), parameters=_parameters(features) + _parameters(network.head))
    _tell(warnings=warnings.lines, start_seconds=time.monotonic() - begun)
    if not recipe.augmentation.is_off:
        _tell(augment_seconds=_augment(recipe))
    _time_forward(features, recipe.image_size)
    _tell(head_seconds=_train(network.head, network.head.trainable_variables, recipe, 0, recipe.step_size))
    for number, split in enumerate(splits):
        if split.upper is not None:
            variables = _trained(features, split)
            _tell(**{f"step {number}": _train(split.upper, variables, recipe, number, _FEW) / _FEW})


def _trained(features: keras.Model, split: FrozenSplit) -> list[Any]:
    """Return the variables of the backbone that a stage trains."""
    from transfer_cli.models import freezing

    freezing.set_trainable(features, split.layers)
    return [variable for variable, _ in split.variables()]


def _augment(recipe: FinetuneRecipe) -> float:
    """Return the seconds to augment an image; what it shows makes no difference."""
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages
    from transfer_cli.training.loop.frozen_activations import augmented_batches

    rows = np.arange(_MORE)
    images = np.zeros((_MORE, recipe.image_size, recipe.image_size, 3), np.uint8)
    augmented = AugmentedImages(recipe.augmentation, recipe.seed, images, rows, rows % 2, rows, 2)
    jobs = [[(row, 1) for row in range(_MORE)]]
    return _seconds(lambda: list(augmented_batches(augmented, jobs))) / _MORE


def _time_forward(features: keras.Model, size: int) -> None:
    from transfer_cli.models.compile import inference_function

    run, images = (
        inference_function(features),
        np.random.default_rng(0).integers(0, 255, (_MORE, size, size, 3), "uint8"),
    )
    first = _seconds(lambda: run(images[:1]))
    seconds = _seconds(lambda: run(images[:1]))
    _tell(compile_seconds=max(first - seconds, 0.0), forward_seconds=seconds)
    if seconds < _QUICK_SECONDS:
        run(images)  # traced for a batch
        _tell(forward_seconds=_seconds(lambda: run(images)) / _MORE)


def _train(part: keras.Model, variables: list[Any], recipe: FinetuneRecipe, stage: int, count: int) -> float:
    """Return the seconds of a training step of a part of the network on `count` inputs."""
    import tensorflow as tf

    chosen = recipe.stage[stage]
    optimizer = optimizers.find(chosen.optimizer).build(chosen.learning_rate, chosen.optimizer_settings())
    inputs = tf.random.uniform((count, *part.inputs[0].shape[1:]))
    if part.inputs[0].dtype == "uint8":
        inputs = tf.cast(inputs * 255, tf.uint8)
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(part(inputs, training=False)))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    step()
    return _seconds(step)


def _parameters(part: Any) -> int:
    return int(part.count_params())


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


if __name__ == "__main__":
    main(*sys.argv[1:])
