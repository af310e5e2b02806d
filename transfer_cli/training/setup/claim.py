"""The checks before a training starts, and the claim of its run."""

from __future__ import annotations

from transfer_cli.catalog import backbones
from transfer_cli.data.image_folder import describe_left_out
from transfer_cli.models.weights.registry import imagenet_files, require_available
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


def check_can_start(request: TrainingRequest, recipe: Recipe) -> None:
    """Check the weights and the run of a resolved recipe, and report on the folder; nothing is written to the run.

    Raises
    ------
    WeightsError
        If the pretrained weights are missing and cannot be downloaded.
    RunError
        If the run directory holds another run, or something that is not a run.
    """
    folder, progress = request.folder, request.progress
    spec = backbones.find(recipe.backbone.name)
    check_weights_available(request, recipe)
    request.run.check_free(recipe, folder.source, overwrite=request.overwrite)
    report_folder(request)
    for line in folder.warnings():
        progress.warn(line)
    if recipe.backbone.weights == "none" and (spec.is_pretrained or not recipe.trains_all):
        progress.warn("the backbone has random weights (--weights none): expect a low score")


def check_weights_available(request: TrainingRequest, recipe: Recipe) -> None:
    """Raise WeightsError if ImageNet weights are missing; called before TensorFlow is loaded, which takes seconds."""
    if recipe.backbone.weights == "imagenet":
        spec = backbones.find(recipe.backbone.name)
        require_available(imagenet_files(spec, top=False, size=recipe.image_size), offline=request.offline)


def report_folder(request: TrainingRequest) -> None:
    """Report the classes and numbers of images of the folder, and the files that are ignored."""
    for line in filter(None, [request.folder.summary(), describe_left_out(request.folder.left_out)]):
        request.progress.note(line)


def claim(request: TrainingRequest, recipe: Recipe) -> None:
    """Claim the run for a resolved recipe: from here on, results of an earlier run are gone.

    Call this once everything that can fail early has been tried.
    """
    if request.on_claim is not None:
        request.on_claim()
    folder, run = request.folder, request.run
    run.claim(recipe, folder.source, command=request.command, overwrite=request.overwrite)
    run.log("begin", folder=str(folder.source.resolve()), images=len(folder.files), backbone=recipe.backbone.name)
