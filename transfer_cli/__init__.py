"""Train an image classifier on a folder of images, and use it.

A folder with one sub-folder of images per class (photos/bee, photos/wasp) is all that a training needs:

    import transfer_cli

    run = transfer_cli.extract("photos", output="runs/first", seed=1)    # fast; finetune() and auto() train longer
    print(run.scores["test"]["accuracy"])                                # 0.967 (95 % interval 0.886 to 0.991)

A trained model classifies files, folders, uint8 arrays of shape (n, h, w, 3), and PIL images:

    from transfer_cli import ImageClassifier

    classifier = ImageClassifier.load("runs/first")
    predictions = classifier.predict("new_photos")
    predictions.labels                     # ["bee", "wasp", ...], in the order of predictions.paths
    predictions.probabilities              # float32 of shape (n, classes), in the order of classifier.class_names
    predictions.skipped                    # the files that could not be read, and why
    predictions.to_pandas()                # the columns of the CSV file that the command writes

    classifier.evaluate("labelled").scores # accuracy and more on images that it was not trained on
    classifier.explain("new_photos/a.jpg") # saliency maps: what a prediction is based on
    classifier.export("onnx")              # for other programs; each file is compared with the model

Trainings: extract, finetune, auto, ensemble. Their keyword arguments are the options of the commands of the same names.
Models and results: ImageClassifier, Predictions, TrainedRun, TrainedRepeats, Score. Single steps: load, predict,
evaluate, export, report, leaks, similar, rank, rank_layers, learning_curve, explain_images.

Nothing is printed unless progress=True. Problems with a result are TransferWarning (of `warnings`). An error that is
not a bug is a TransferError: its message tells what happened, and its `hint` what to do. Wrong types raise TypeError.

The same page with examples to run: docs/python.md. The program on the command line: transfer-cli --help.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

# TensorFlow's C++ side reads these once, at its first import: without them it writes a dozen lines to stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

if TYPE_CHECKING:
    from transfer_cli.api import auto as auto
    from transfer_cli.api import ensemble as ensemble
    from transfer_cli.api import extract as extract
    from transfer_cli.api import finetune as finetune
    from transfer_cli.api import load as load
    from transfer_cli.api import predict as predict
    from transfer_cli.audit.leakage import leaks as leaks
    from transfer_cli.bundle.bundle import ModelBundle as ModelBundle
    from transfer_cli.data.image_folder import ImageFolder as ImageFolder
    from transfer_cli.data.prediction_result import Prediction as Prediction
    from transfer_cli.data.prediction_result import Predictions as Predictions
    from transfer_cli.data.split import Split as Split
    from transfer_cli.datasets.sample_data import write_sample_data as write_sample_data
    from transfer_cli.ensembling.bagging import bagged as bagged
    from transfer_cli.ensembling.request import EnsembleRequest as EnsembleRequest
    from transfer_cli.errors import DataSetError as DataSetError
    from transfer_cli.errors import FolderError as FolderError
    from transfer_cli.errors import GateError as GateError
    from transfer_cli.errors import ImageError as ImageError
    from transfer_cli.errors import InputError as InputError
    from transfer_cli.errors import MissingExtraError as MissingExtraError
    from transfer_cli.errors import MissingModelError as MissingModelError
    from transfer_cli.errors import ModelError as ModelError
    from transfer_cli.errors import OptionError as OptionError
    from transfer_cli.errors import OutputError as OutputError
    from transfer_cli.errors import RecipeError as RecipeError
    from transfer_cli.errors import RunConflictError as RunConflictError
    from transfer_cli.errors import RunError as RunError
    from transfer_cli.errors import ShortageError as ShortageError
    from transfer_cli.errors import SplitError as SplitError
    from transfer_cli.errors import TransferError as TransferError
    from transfer_cli.errors import TransferWarning as TransferWarning
    from transfer_cli.errors import UnconfirmedError as UnconfirmedError
    from transfer_cli.errors import UnknownNameError as UnknownNameError
    from transfer_cli.errors import WeightsError as WeightsError
    from transfer_cli.evaluation.evaluate import evaluate as evaluate
    from transfer_cli.explain.explainable import explain_images as explain_images
    from transfer_cli.export.export import export as export
    from transfer_cli.features.feature_network import FeatureNetwork as FeatureNetwork
    from transfer_cli.features.image_pairs import image_pairs as image_pairs
    from transfer_cli.features.nearest import FeatureIndex as FeatureIndex
    from transfer_cli.features.similar import similar as similar
    from transfer_cli.image_classifier import ImageClassifier as ImageClassifier
    from transfer_cli.inference.restricted_classes import restrict as restrict
    from transfer_cli.inference.tta import AugmentedModel as AugmentedModel
    from transfer_cli.learning_curves.learning_curve import learning_curve as learning_curve
    from transfer_cli.learning_curves.results import LearningCurve as LearningCurve
    from transfer_cli.metrics.score import Score as Score
    from transfer_cli.ranking.layer_results import LayerRanking as LayerRanking
    from transfer_cli.ranking.options import RankOptions as RankOptions
    from transfer_cli.ranking.rank import rank as rank
    from transfer_cli.ranking.rank_layers import rank_layers as rank_layers
    from transfer_cli.ranking.ranking_directory import RankingDirectory as RankingDirectory
    from transfer_cli.ranking.results import Ranking as Ranking
    from transfer_cli.recipe.recipes import ExtractRecipe as ExtractRecipe
    from transfer_cli.recipe.recipes import FinetuneRecipe as FinetuneRecipe
    from transfer_cli.recipe.recipes import Recipe as Recipe
    from transfer_cli.report.report import report as report
    from transfer_cli.runs.completed_run import FinishedRun as FinishedRun
    from transfer_cli.runs.evaluation_directory import EvaluationDirectory as EvaluationDirectory
    from transfer_cli.runs.request import TrainingRequest as TrainingRequest
    from transfer_cli.runs.run_directory import RunDirectory as RunDirectory
    from transfer_cli.trained_run import TrainedRepeats as TrainedRepeats
    from transfer_cli.trained_run import TrainedRun as TrainedRun

_PUBLIC = {
    "ImageClassifier": "transfer_cli.image_classifier",
    "TrainedRun": "transfer_cli.trained_run",
    "TrainedRepeats": "transfer_cli.trained_run",
    "extract": "transfer_cli.api",
    "finetune": "transfer_cli.api",
    "auto": "transfer_cli.api",
    "ensemble": "transfer_cli.api",
    "load": "transfer_cli.api",
    "predict": "transfer_cli.api",
    "evaluate": "transfer_cli.evaluation.evaluate",
    "explain_images": "transfer_cli.explain.explainable",
    "export": "transfer_cli.export.export",
    "report": "transfer_cli.report.report",
    "leaks": "transfer_cli.audit.leakage",
    "similar": "transfer_cli.features.similar",
    "image_pairs": "transfer_cli.features.image_pairs",
    "rank": "transfer_cli.ranking.rank",
    "rank_layers": "transfer_cli.ranking.rank_layers",
    "learning_curve": "transfer_cli.learning_curves.learning_curve",
    "bagged": "transfer_cli.ensembling.bagging",
    "write_sample_data": "transfer_cli.datasets.sample_data",
    "Predictions": "transfer_cli.data.prediction_result",
    "Prediction": "transfer_cli.data.prediction_result",
    "Score": "transfer_cli.metrics.score",
    "ImageFolder": "transfer_cli.data.image_folder",
    "Split": "transfer_cli.data.split",
    "Recipe": "transfer_cli.recipe.recipes",
    "ExtractRecipe": "transfer_cli.recipe.recipes",
    "FinetuneRecipe": "transfer_cli.recipe.recipes",
    "RunDirectory": "transfer_cli.runs.run_directory",
    "FinishedRun": "transfer_cli.runs.completed_run",
    "TrainingRequest": "transfer_cli.runs.request",
    "EnsembleRequest": "transfer_cli.ensembling.request",
    "EvaluationDirectory": "transfer_cli.runs.evaluation_directory",
    "ModelBundle": "transfer_cli.bundle.bundle",
    "AugmentedModel": "transfer_cli.inference.tta",
    "restrict": "transfer_cli.inference.restricted_classes",
    "RankOptions": "transfer_cli.ranking.options",
    "Ranking": "transfer_cli.ranking.results",
    "LayerRanking": "transfer_cli.ranking.layer_results",
    "RankingDirectory": "transfer_cli.ranking.ranking_directory",
    "LearningCurve": "transfer_cli.learning_curves.results",
    "FeatureIndex": "transfer_cli.features.nearest",
    "FeatureNetwork": "transfer_cli.features.feature_network",
    "TransferError": "transfer_cli.errors",
    "UnknownNameError": "transfer_cli.errors",
    "InputError": "transfer_cli.errors",
    "FolderError": "transfer_cli.errors",
    "ImageError": "transfer_cli.errors",
    "SplitError": "transfer_cli.errors",
    "RecipeError": "transfer_cli.errors",
    "RunError": "transfer_cli.errors",
    "OutputError": "transfer_cli.errors",
    "ShortageError": "transfer_cli.errors",
    "ModelError": "transfer_cli.errors",
    "WeightsError": "transfer_cli.errors",
    "DataSetError": "transfer_cli.errors",
    "MissingExtraError": "transfer_cli.errors",
    "GateError": "transfer_cli.errors",
    "MissingModelError": "transfer_cli.errors",
    "OptionError": "transfer_cli.errors",
    "RunConflictError": "transfer_cli.errors",
    "UnconfirmedError": "transfer_cli.errors",
    "TransferWarning": "transfer_cli.errors",
}
__all__ = list(_PUBLIC)

if not TYPE_CHECKING:
    # For type checkers the names are those imported above, and a misspelt one is an error.
    def __getattr__(name: str) -> object:
        # Looked up on first use: importing the package must not import TensorFlow.
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        return _for_python(value) if isinstance(value, FunctionType) else value


@functools.cache
def _for_python(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function that commands use, too, as one whose errors name keyword arguments instead of options."""
    from transfer_cli.python_wording import speaks_python

    return function if function.__module__ == "transfer_cli.api" else speaks_python(function)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


class _Package(ModuleType):
    """Keep functions such as `auto` and `export` public although subpackages have their names.

    Importing a subpackage sets it as an attribute of its parent, which would hide the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
