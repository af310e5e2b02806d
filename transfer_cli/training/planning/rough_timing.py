"""Timing of a fine-tuning of a large network: from its multiply-adds and a small step that was timed, or without one.

Timing all parts as `profiling` does takes minutes for VGG16. Here the time of one image is scaled: a training step
costs three forward passes of the layers that train, one for the outputs and two for the gradients.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transfer_cli.catalog import heads, runtimes
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.inference.compiled_network import PARITY_IMAGES
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import NORMS_AND_BIASES, Stage
from transfer_cli.training.loop import frozen_activations
from transfer_cli.training.planning.estimate import StageTiming, Timing
from transfer_cli.training.planning.timed_step import StageFacts, StepFacts

BACKWARD = 3.0
"""Cost of a training step in forward passes."""
_BACKWARD_TO_INPUTS = 2.0
"""The same without gradients of kernels."""
_SHARE_OF_NORMS_AND_BIASES = 0.01
"""Of the weights of a usual network: MobileNetV2 1.5 %, ResNet50 0.3 %."""
MAX_PROFILED = 1.5e11
"""Multiply-adds of a training batch up to which all parts of a run are timed."""
START_SECONDS = 10.0
"""Rough time to start TensorFlow and to build a network."""
_QUICK_TO_BUILD = ("", "mobilenet", "mobilenet_v2")
"""Modules whose networks are built and compiled in a few seconds; textbook networks have none."""
_PASSES = 8
_EFFICIENCY = {"vgg16": 0.6, "vgg19": 0.6, "resnet": 0.4, "resnet_v2": 0.4, "inception_v3": 0.35}
"""Share of the speed of a matrix product that convolutions reach, by module."""
_DEPTHWISE_EFFICIENCY = 0.12
_STRIDE = 8
"""Of the maps of a usual network, weighted by their convolutions: VGG16 7, ResNet50 17, MobileNet 17."""
_PRODUCT, _PRODUCTS = 768, 8
_BYTES_PER_SECOND = 150e6
_MEMORY_BYTES_PER_SECOND = 4e9
_LAYER_SECONDS = 0.02
_GRAPH_SECONDS = 0.06
_PROCESS_BYTES = 700_000_000
_SLOTS = {"sgd": 1, "rmsprop": 1}


def work_per_image(recipe: FinetuneRecipe) -> float:
    """Return the multiply-adds of the backbone for one image of the recipe's size."""
    spec = recipe.spec
    if spec.is_file:
        # Not counted before the network is built: each weight is used at every position of a map that is smaller.
        return float(spec.parameters_below_top * (recipe.image_size / _STRIDE) ** 2)
    return float(spec.multiply_adds * (recipe.image_size / spec.size) ** 2)


def profiled_batches(recipe: FinetuneRecipe, most: int) -> int:
    """Return how many training batches can be timed in a few seconds; 0 if not even one."""
    if recipe.spec.module not in _QUICK_TO_BUILD:
        return 0
    return min(most, int(MAX_PROFILED // (_PASSES * recipe.step_size * work_per_image(recipe))))


def rough_timing(recipe: FinetuneRecipe, classes: int, images: int, facts: StepFacts) -> Timing:
    """Return the cost of a recipe on this machine.

    Parameters
    ----------
    recipe : FinetuneRecipe
        Resolved.
    classes : int
    images : int
        Number of training images.
    facts : StepFacts
        What is known of the network; what is missing is estimated from the catalog.
    """
    return _Rough.of(recipe, classes, images, facts).timing()


@dataclass(frozen=True)
class _Rough:
    """What the timing of all stages is computed from: seconds per image; once for `compiling` and `convert`."""

    recipe: FinetuneRecipe
    classes: int
    images: int
    facts: StepFacts
    forward: float
    compiling: float
    convert: float

    @classmethod
    def of(cls, recipe: FinetuneRecipe, classes: int, images: int, facts: StepFacts) -> _Rough:
        spec = recipe.spec
        layers = facts.layers or 20 * math.log2(2 + work_per_image(recipe) / 1e6)
        forward = facts.forward_seconds or work_per_image(recipe) / _multiply_adds_per_second(spec)
        compiling = _GRAPH_SECONDS * layers / 2 if facts.compile_seconds is None else facts.compile_seconds
        convert = _LAYER_SECONDS * layers + 4 * spec.parameters_below_top / _BYTES_PER_SECOND
        if not runtimes.find(recipe.inference.runtime).runs_converted_graph:
            convert = 0.0
        return cls(recipe, classes, images, facts, forward, compiling, convert)

    def timing(self) -> Timing:
        recipe, spec = self.recipe, self.recipe.spec
        structure = self.facts.stages or tuple(_guess(recipe, self.classes, stage) for stage in recipe.stage)
        stages = tuple(self._stage(number, parts) for number, parts in enumerate(structure))
        parameters = self.facts.parameters or spec.parameters_below_top + _head_parameters(recipe, self.classes)
        probes = recipe.head.start == heads.PROBE
        return Timing(
            compile_seconds=self.compiling,
            forward_seconds=self.forward,
            augment_seconds=self.facts.augment_seconds,
            probe_seconds=1 + 1e-7 * self.images * spec.width * self.classes if probes else 0.0,
            convert_seconds=self.convert + self._parity(1.0),
            stages=stages,
            network_bytes=4 * parameters,
            process_bytes=_PROCESS_BYTES + 16 * parameters + 2 * max(each.checkpoint_bytes for each in stages),
        )

    def _parity(self, share: float) -> float:
        """Return the seconds of the comparison of a converted part with Keras."""
        return 2 * min(PARITY_IMAGES, self.images) * self.forward * share if self.convert else 0.0

    def _stage(self, number: int, parts: StageFacts) -> StageTiming:
        recipe, facts, share = self.recipe, self.facts, parts.frozen_share
        stage = recipe.stage[number].for_images(self.images, recipe.step_size)
        above, frozen = self.forward * (1 - share), self.forward * share
        is_plain = recipe.augmentation.is_off
        caches = parts.frozen_shape is not None and (
            is_plain or frozen_activations.number_of_views(recipe.trunk, stage, self.images, parts.frozen_shape) > 0
        )
        passes = _BACKWARD_TO_INPUTS if stage.unfreeze == NORMS_AND_BIASES else BACKWARD
        per_image = facts.step_seconds.get(number, passes * above)
        if not caches:
            # These steps run the frozen layers, too.
            per_image += frozen + (0 if is_plain else self.facts.augment_seconds)
        written = 4 * parts.parameters * (2 + _slots(stage))
        update = 2 * written / _MEMORY_BYTES_PER_SECOND if facts.head_seconds is None else facts.head_seconds
        return StageTiming(
            parameters=parts.parameters,
            frozen_shape=parts.frozen_shape,
            caches_views=caches,
            prepare_seconds=self.convert * share + self._parity(share),
            view_seconds=self.facts.augment_seconds + frozen,
            frozen_seconds=frozen,
            compile_seconds=BACKWARD * self.compiling * (1 - share) + 1.0,
            step_seconds=recipe.step_size * per_image + update,
            val_seconds=above,
            save_seconds=written / _BYTES_PER_SECOND,
            checkpoint_bytes=written,
        )


def _slots(stage: Stage) -> int:
    """Return how many numbers the optimizer keeps for each parameter."""
    return _SLOTS.get(stage.optimizer, 2)


def _guess(recipe: FinetuneRecipe, classes: int, stage: Stage) -> StageFacts:
    """Return the parts of a network that was not built, by the words of the stage."""
    spec = recipe.spec
    kind, _, what = stage.unfreeze.partition(":")
    share = {"head": 1.0, "all": 0.0, NORMS_AND_BIASES: 0.0}.get(kind, 0.5)
    if kind == "last" and what.endswith("%"):
        share = 1 - float(what[:-1]) / 100
    part = _SHARE_OF_NORMS_AND_BIASES if kind == NORMS_AND_BIASES else 1 - share
    trained = int(part * spec.parameters_below_top)
    side = max(1, recipe.image_size // 32)
    flat = side * side * spec.width if recipe.backbone.pooling == "flatten" else spec.width
    shape = None if share == 0 else (flat,) if share == 1 else (2 * side, 2 * side, spec.width // 2)
    return StageFacts(trained + _head_parameters(recipe, classes), shape, share, 0)


def _head_parameters(recipe: FinetuneRecipe, classes: int) -> int:
    spec = recipe.spec
    side = recipe.image_size // 32 if recipe.backbone.pooling == "flatten" else 1
    widths = (side * side * spec.width, *recipe.head.hidden, classes)
    # BatchNorm has a scale and a shift per unit, in place of the bias.
    scales = sum(recipe.head.hidden) if recipe.head.batch_norm else 0
    return scales + sum((width + 1) * units for width, units in pairwise(widths))


def _multiply_adds_per_second(spec: BackboneSpec) -> float:
    """Return the speed that a network reaches here, from that of a matrix product, which takes a moment."""
    matrix = np.ones((_PRODUCT, _PRODUCT), np.float32)
    seconds = []
    # The best of several: another program may take the processor meanwhile.
    for _ in range(_PRODUCTS):
        begun = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - begun)
    return _PRODUCT**3 / min(seconds) * _EFFICIENCY.get(spec.module, _DEPTHWISE_EFFICIENCY)
