"""Build the backbone of a fine-tuning, and check that the stages of the recipe fit it."""

from __future__ import annotations

from typing import Any

from transfer_cli.catalog import backbones
from transfer_cli.errors import UnknownNameError
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest


def build_network(request: TrainingRequest, recipe: FinetuneRecipe) -> tuple[Any, str]:
    """Return the backbone, and the devices that TensorFlow found.

    Raises
    ------
    UnknownNameError
        When a stage unfreezes from a layer that the backbone does not have.
    """
    with request.progress.track("starting TensorFlow", None):
        device = import_tensorflow()

        from transfer_cli.models import backbone
        from transfer_cli.training.loop import multi_gpu

        multi_gpu.find_gpus(recipe.hardware.gpus)
        choice = recipe.backbone
        network = backbone.build(
            backbones.find(choice.name),
            weights=choice.weights,
            size=recipe.image_size,
            layer=choice.layer,
            pooling=choice.pooling,
            seed=recipe.seed,
            offline=request.offline,
            progress=request.progress,
        )
    _check_stages(request, network, recipe)
    return network, device


def _check_stages(request: TrainingRequest, features: Any, recipe: FinetuneRecipe) -> None:
    from transfer_cli.models import freezing

    for number, stage in enumerate(recipe.stage, start=1):
        try:
            frozen_split = freezing.split_at(features, stage.unfreeze)
        except UnknownNameError as error:
            name = recipe.backbone.name
            raise UnknownNameError(
                f"Stage {number} of the recipe does not fit {name}: {error}",
                hint=f"List the layers: transfer-cli backbones show {name}\n"
                f"Then choose one: --set stage.{number}.unfreeze=from:LAYER",
            ) from None
        if frozen_split.whole_block:
            request.progress.warn(
                f"stage {number} unfreezes {stage.unfreeze}, which begins inside a block whose other layers stay "
                f"frozen; to unfreeze the whole block: --set stage.{number}.unfreeze=from:{frozen_split.whole_block}"
            )
