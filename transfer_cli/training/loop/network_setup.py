"""Build the backbone of a fine-tuning, check that the stages of the recipe fit it, and put a new head on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import UnknownNameError
from transfer_cli.inference.backbone_network import build_backbone
from transfer_cli.progress import Progress
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import layer_error
from transfer_cli.runs.request import TrainingRequest

if TYPE_CHECKING:
    from transfer_cli.models.classifier_network import ClassifierNetwork
    from transfer_cli.models.freezing import FrozenSplit

BATCHNORM_IMAGES = 64
"""Training images from which the BatchNorm layers of a randomly initialised network get their scale."""


def build_network(request: TrainingRequest, recipe: FinetuneRecipe) -> tuple[Any, str]:
    """Return the backbone, and the devices that TensorFlow found.

    Raises
    ------
    UnknownNameError
        When a stage unfreezes from a layer that the backbone does not have.
    """
    with request.progress.track("starting TensorFlow", None):
        device = import_tensorflow()

        from transfer_cli.training.loop import multi_gpu

        multi_gpu.find_gpus(recipe.hardware.gpus)
        network = build_backbone(recipe, offline=request.offline, progress=request.progress)
    split_stages(network, recipe, request.progress)
    return network, device


def split_stages(network: Any, recipe: FinetuneRecipe, progress: Progress) -> list[FrozenSplit]:
    """Return a backbone split as each stage of a recipe trains it; warn if a stage begins inside a block.

    Raises
    ------
    UnknownNameError
        When a stage unfreezes from a layer that the backbone does not have.
    """
    from transfer_cli.models import freezing

    splits = []
    for number, stage in enumerate(recipe.stage, start=1):
        try:
            splits.append(freezing.split_at(network, stage.unfreeze))
        except UnknownNameError as error:
            raise layer_error(number, recipe.backbone.name, error) from None
        if block := splits[-1].whole_block:
            progress.warn(
                f"stage {number} unfreezes {stage.unfreeze}, which begins inside a block whose other layers stay "
                f"frozen; to unfreeze the whole block: --set stage.{number}.unfreeze=from:{block}"
            )
    return splits


def new_network(
    recipe: FinetuneRecipe,
    features: Any,
    images: NDArray[np.uint8],
    classes: int,
    activation: str = "softmax",
    rows: NDArray[np.int64] | None = None,
) -> ClassifierNetwork:
    """Put a new head on a backbone; with random weights, its normalisation is that of some training images.

    Its BatchNorm layers get their scale from the first of them. By default all `images` are training images, else those
    in `rows`.
    """
    from transfer_cli.models import backbone, input_normalization
    from transfer_cli.models.classifier_network import ClassifierNetwork

    if recipe.backbone.weights == "none":
        rows = np.arange(len(images)) if rows is None else rows
        input_normalization.fit(features, images, rows, recipe.normalization)
        backbone.rescale_random_batchnorms(features, images[rows[:BATCHNORM_IMAGES]])
    return ClassifierNetwork(features, recipe.head, classes, recipe.seed, activation)
