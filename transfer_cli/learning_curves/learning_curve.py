"""The learning curve of an image folder: how accuracy rises with the number of training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transfer_cli.catalog import classifiers
from transfer_cli.errors import InputError
from transfer_cli.learning_curves.forecast import Extrapolation, Forecast, obstacle
from transfer_cli.learning_curves.plot import plot_learning_curve
from transfer_cli.learning_curves.results import CurvePoint, LearningCurve
from transfer_cli.learning_curves.scores import SubsetScores, score_subsets
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.setup.claim import check_weights_available, report_folder
from transfer_cli.training.setup.labelled_features import LabelledFeatures, labelled_features
from transfer_cli.training.setup.resolve import resolve_recipe

MORE = 100
"""Default number of additional images per class."""


def learning_curve(request: TrainingRequest, recipe: ExtractRecipe, target: Path, *, more: int = MORE) -> LearningCurve:
    """Train on five numbers of images, from few to all, and extrapolate the accuracy.

    The classifier of the recipe is trained on random subsets of the training folds and scored on the images of the
    other fold, five times with other folds and subsets (fewer for many images). The features are computed once, and
    cached. Test images are not decoded, and nothing but the plot is written.

    A power law is fitted to the errors, and to those of 1000 bootstrap resamples of images and repeats; from these
    follows the interval of the forecast. It does not contain the uncertainty that another law would describe the curve
    better, and holds for more images of the same kind.

    Parameters
    ----------
    request : TrainingRequest
        Its run is ignored.
    recipe : ExtractRecipe
    target : Path
        The PNG file to write.
    more : int
        Number of additional images per class to forecast the accuracy for.

    Raises
    ------
    InputError
        If the recipe has no classifier, balances classes, or groups near-duplicates.
    FolderError
        If there are too few images.
    WeightsError
        If the pretrained weights are missing and cannot be downloaded.
    """
    # An earlier run in the same place must not determine the split.
    request = replace(request, run=RunDirectory(target.with_name(f".{target.name}.run")))
    recipe = resolve_recipe(request, recipe, keeps_model=True)
    _check_classifier(recipe)
    check_weights(recipe.backbone.weights, recipe.spec)
    check_weights_available(request, recipe)
    report_folder(request)
    images = labelled_features(request, recipe)
    scores = score_subsets(images, recipe, request.progress)
    curve = _curve(request, images, scores, recipe.seed, more)
    plot_learning_curve(curve, target)
    return curve


def _check_classifier(recipe: ExtractRecipe) -> None:
    if recipe.classifier.name == classifiers.NONE:
        raise InputError("A learning curve needs a classifier. Received: classifier.name = none.")
    if recipe.balance.method != "none":
        raise InputError(
            f"learning-curve trains without class balancing. Received: balance.method = {recipe.balance.method}.",
            hint="Add --set balance.method=none.",
        )


def _curve(
    request: TrainingRequest, images: LabelledFeatures, scores: SubsetScores, seed: int, more: int
) -> LearningCurve:
    truth = images.truth
    labels = len(truth) if truth.ndim == 1 else int(truth.sum())
    per_class = labels / images.classes
    points = tuple(
        CurvePoint(float(count), float(count) * per_class / len(truth), accuracy)
        for count, accuracy in zip(scores.images, scores.accuracies(), strict=True)
    )
    resampled = scores.resampled_accuracies(seed)
    reason = obstacle(scores, resampled)
    extrapolation = forecast = None
    if not reason:
        extrapolation = Extrapolation.of(scores, resampled)
        forecast = Forecast.of(extrapolation, len(truth), per_class, more)
    return LearningCurve(
        request.folder.source,
        len(truth),
        per_class,
        images.classes,
        scores.correct.shape[1],
        seed,
        points,
        extrapolation,
        forecast,
        reason,
        images.skipped,
    )
