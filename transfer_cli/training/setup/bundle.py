"""The manifest of a newly trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.manifest import FORMAT_VERSION
from transfer_cli.calibration.fit import ValFit
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.run_directory import RunDirectory

Kind = Literal["features", "network"]


def new_bundle(kind: Kind, recipe: Recipe, split: Split, width: int, run: RunDirectory, fitted: ValFit) -> ModelBundle:
    """Return the manifest of a trained model whose files are not written yet.

    Parameters
    ----------
    kind : {"features", "network"}
    recipe : Recipe
    split : Split
    width : int
        Number of values per feature vector.
    run : RunDirectory
    fitted : ValFit
        The temperature, thresholds and reject option that were fitted on val.
    """
    # The folder that a network file was in says nothing elsewhere.
    name = Path(recipe.backbone.name).name if recipe.backbone.is_file else recipe.backbone.name
    return ModelBundle(
        format_version=FORMAT_VERSION,
        kind=kind,
        task=split.task,
        class_names=split.class_names,
        thresholds=None if fitted.thresholds is None else tuple(fitted.thresholds.tolist()),
        temperature=fitted.temperature,
        image_size=recipe.image_size,
        resize=recipe.images.resize,
        bit_depth=recipe.images.bit_depth,
        decoder=DECODER,
        backbone={**recipe.backbone.model_dump(mode="json", exclude_none=True), "name": name, "width": width},
        versions=run.versions(),
        recipe=recipe.model_dump(mode="json", exclude_none=True),
    )
