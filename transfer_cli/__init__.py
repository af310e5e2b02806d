"""From a folder of pictures to a classifier one can trust.

What a command does is one function call with the nouns:

>>> from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, extract       # doctest: +SKIP
>>> result = extract(ImageFolder.scan(root), ExtractRecipe.load(), RunDirectory(path))   # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "ImageFolder": "transfer_cli.folder",
    "Split": "transfer_cli.split",
    "Recipe": "transfer_cli.recipe",
    "ExtractRecipe": "transfer_cli.recipe",
    "FinetuneRecipe": "transfer_cli.recipe",
    "RunDirectory": "transfer_cli.run",
    "ModelBundle": "transfer_cli.bundle",
    "Predictions": "transfer_cli.predictions",
    "auto": "transfer_cli.engine.auto",
    "extract": "transfer_cli.engine.extract",
    "finetune": "transfer_cli.engine.finetune",
    "bagged": "transfer_cli.engine.bagging",
    "load": "transfer_cli.engine.model",
    "predict": "transfer_cli.engine.predict",
    "Augmented": "transfer_cli.engine.tta",
    "evaluate": "transfer_cli.engine.evaluate",
    "ensemble": "transfer_cli.engine.ensemble",
    "EvaluationDirectory": "transfer_cli.evaluation",
    "explain_pictures": "transfer_cli.engine.explain",
    "export": "transfer_cli.engine.export",
    "report": "transfer_cli.engine.report",
    "leaks": "transfer_cli.engine.leaks",
    "rank": "transfer_cli.engine.rank",
    "Ranking": "transfer_cli.ranking",
    "RankingDirectory": "transfer_cli.ranking",
    "similar": "transfer_cli.engine.similar",
    "Gallery": "transfer_cli.engine.similar",
    "FinishedRun": "transfer_cli.finished",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    # Looked up on first use: importing the package must not import TensorFlow.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
