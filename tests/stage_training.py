"""Helpers of the tests of one stage: a trainer on a few noisy images, and what it trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.conftest import COLOURS, TINY, TINY_SIZE
from tests.finetuning import WORDS
from transfer_cli.catalog.backbones import find
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models.backbone import build
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.progress import SILENT, Silent
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.stage_trainer import StageTrainer

PLAIN = (
    *("stage.1.epochs=2", "stage.1.unfreeze=last:6", "stage.1.optimizer=sgd", "stage.1.learning_rate=0.05"),
    *("stage.1.ema=0.5", "head.l2=1e-2", "refit.when=never", "early_stopping.patience=0", "split.val=0.2"),
    *("augmentation.rotation_range=0", "augmentation.width_shift_range=0", "augmentation.height_shift_range=0"),
    *("augmentation.zoom_range=0", "augmentation.horizontal_flip=false"),
    *("early_stopping.keep=best", "final.classifier=head", "final.probe=0"),
)
"""A stage without augmentation, with a moving average and weight decay."""
COUNT, CLASSES = 27, 3
Weights = list[NDArray[Any]]


class RecordingProgress(Silent):
    """Keeps all notes and warnings."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def stage_of(weights: Path, *overrides: str) -> StageTrainer:
    """Return a trainer of one stage on noisy images of three colours."""
    recipe = FinetuneRecipe.load(None, [*PLAIN, *overrides], WORDS).resolved()
    rows = np.arange(COUNT + 3)
    plain = np.array([*COLOURS.values()])[rows % CLASSES, None, None]
    noise = np.random.default_rng(3).normal(0, 8, (len(rows), TINY_SIZE, TINY_SIZE, 3))
    images = np.clip(plain + noise, 0, 255).astype(np.uint8)
    data = TrainingData(images, rows, rows % CLASSES, rows[:COUNT], rows[COUNT:])
    backbone = build(find(TINY), weights=str(weights), size=TINY_SIZE)
    network = ClassifierNetwork(backbone, recipe.head, CLASSES, recipe.seed)
    context = StageContext(network, recipe, ArrayStore(Path()), MicroBatches.of(recipe), SILENT)
    return StageTrainer.build(context, recipe.stage[0], data)


def train(trainer: StageTrainer, *epochs: int) -> tuple[float, float]:
    """Train some epochs, counted from 1; return the loss and the accuracy of the last."""
    for epoch in epochs:
        result = trainer.epoch(epoch, State(split_digest="", done=epoch - 1), lambda count: None)
    return result


def trained_weights(trainer: StageTrainer) -> Weights:
    """Return the trained weights and their moving averages."""
    return [np.asarray(variable) for variable in [*trainer.step.variables, *trainer.step.averages]]


def max_abs_diff(one: Weights, other: Weights) -> float:
    return max(float(np.abs(first - second).max()) for first, second in zip(one, other, strict=True))


def checkpoint_of(run: Path) -> Weights:
    """Return the arrays of the last checkpoint."""
    with np.load(run / "checkpoints/last.npz") as last:
        return [last[name] for name in last.files if name != "facts"]


def event_names(run: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
