"""What the tests of fine-tuning share: a run on the tiny network, and what it left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.conftest import TINY, TINY_SIZE
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.finetune import finetune

WORDS: dict[str, Any] = {
    "backbone.name": TINY,
    "backbone.weights": "none",
    "images.size": TINY_SIZE,
    # A conversion takes longer than the training here, and has tests of its own.
    "inference.runtime": "keras",
}

AS_MADE = ("split.val=0.2", "inference.runtime=auto")
"""What the run of the fixture `finetuned` was made with beside its recipe."""


def run_on(folder: Path, run: Path, *overrides: str, source: str | None = None, **options: Any) -> TrainingResult:
    recipe = FinetuneRecipe.load(source, overrides, WORDS)
    return finetune(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def network_of(run: Path) -> keras.Model:
    return keras.saving.load_model(run / "model/network.keras", compile=False, safe_mode=True)


def weights_of(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {variable.path: np.asarray(variable) for variable in network_of(run).weights}
