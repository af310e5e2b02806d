"""From a folder of images to a classifier one can trust.

What a command does is one function call with the nouns:

>>> from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest, extract   # doctest: +SKIP
>>> request = TrainingRequest(ImageFolder.scan(root), RunDirectory(path))                         # doctest: +SKIP
>>> result = extract(request, ExtractRecipe.load())                                               # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

# TensorFlow's C++ side reads these once, at its first import: without them it writes a dozen lines to stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

if TYPE_CHECKING:
    from transfer_cli.audit.leakage import leaks as leaks
    from transfer_cli.auto.auto import auto as auto
    from transfer_cli.bundle.bundle import ModelBundle as ModelBundle
    from transfer_cli.data.image_folder import ImageFolder as ImageFolder
    from transfer_cli.data.predictions import Predictions as Predictions
    from transfer_cli.data.split import Split as Split
    from transfer_cli.ensembling.bagging import bagged as bagged
    from transfer_cli.ensembling.ensemble import ensemble as ensemble
    from transfer_cli.ensembling.request import EnsembleRequest as EnsembleRequest
    from transfer_cli.evaluation.evaluate import evaluate as evaluate
    from transfer_cli.explain.explainable import explain_images as explain_images
    from transfer_cli.export.export import export as export
    from transfer_cli.features.nearest import FeatureIndex as FeatureIndex
    from transfer_cli.features.similar import similar as similar
    from transfer_cli.inference.load import load as load
    from transfer_cli.inference.predict import predict as predict
    from transfer_cli.inference.tta import AugmentedModel as AugmentedModel
    from transfer_cli.ranking.options import RankOptions as RankOptions
    from transfer_cli.ranking.rank import rank as rank
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
    from transfer_cli.training.extract import extract as extract
    from transfer_cli.training.finetune import finetune as finetune

_PUBLIC = {
    "ImageFolder": "transfer_cli.data.image_folder",
    "Split": "transfer_cli.data.split",
    "Recipe": "transfer_cli.recipe.recipes",
    "ExtractRecipe": "transfer_cli.recipe.recipes",
    "FinetuneRecipe": "transfer_cli.recipe.recipes",
    "RunDirectory": "transfer_cli.runs.run_directory",
    "TrainingRequest": "transfer_cli.runs.request",
    "ModelBundle": "transfer_cli.bundle.bundle",
    "Predictions": "transfer_cli.data.predictions",
    "auto": "transfer_cli.auto.auto",
    "extract": "transfer_cli.training.extract",
    "finetune": "transfer_cli.training.finetune",
    "bagged": "transfer_cli.ensembling.bagging",
    "load": "transfer_cli.inference.load",
    "predict": "transfer_cli.inference.predict",
    "AugmentedModel": "transfer_cli.inference.tta",
    "evaluate": "transfer_cli.evaluation.evaluate",
    "ensemble": "transfer_cli.ensembling.ensemble",
    "EnsembleRequest": "transfer_cli.ensembling.request",
    "EvaluationDirectory": "transfer_cli.runs.evaluation_directory",
    "explain_images": "transfer_cli.explain.explainable",
    "export": "transfer_cli.export.export",
    "report": "transfer_cli.report.report",
    "leaks": "transfer_cli.audit.leakage",
    "rank": "transfer_cli.ranking.rank",
    "Ranking": "transfer_cli.ranking.results",
    "RankingDirectory": "transfer_cli.ranking.ranking_directory",
    "RankOptions": "transfer_cli.ranking.options",
    "similar": "transfer_cli.features.similar",
    "FeatureIndex": "transfer_cli.features.nearest",
    "FinishedRun": "transfer_cli.runs.completed_run",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    # Looked up on first use: importing the package must not import TensorFlow.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


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
