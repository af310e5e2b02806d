"""The backbone of a recipe as a Keras network: of the catalog or a file, with its weights or those of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transfer_cli.errors import ModelError
from transfer_cli.inference.earlier_run import EarlierRun
from transfer_cli.io.digests import digest_of_file
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.recipes import Recipe


def build_backbone(recipe: Recipe, *, offline: bool = False, progress: Progress = SILENT) -> Any:
    """Return the frozen network of a resolved recipe, from images to features; TensorFlow is imported before.

    Raises
    ------
    ModelError
        If its weights are not available, or a file or run that it is read from cannot be used.
    UnknownNameError
        If there is no layer of that name.
    """
    from transfer_cli.models import backbone

    choice, spec = recipe.backbone, recipe.spec
    if choice.sha256 is not None and digest_of_file(Path(choice.name)).sha256 != choice.sha256:
        raise ModelError(f"{choice.name} has changed since this command began.", hint="Run the same command again.")
    network = backbone.build(
        spec,
        # Replaced below.
        weights="none" if choice.starts_from_run else choice.weights,
        size=recipe.image_size,
        layer=choice.layer,
        pooling=choice.pooling,
        seed=recipe.seed,
        normalization=recipe.input_normalization,
        offline=offline,
        progress=progress,
    )
    if choice.starts_from_run:
        from transfer_cli.models.earlier_weights import copy_backbone
        from transfer_cli.models.input_normalization import check_same
        from transfer_cli.models.keras_file import load_keras

        trained = load_keras(EarlierRun.open(Path(choice.weights)).network_file)
        check_same(trained, network)
        copy_backbone(trained, network)
    return network
