"""Which epoch is the best, and when a stage stops early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from transfer_cli.recipe.stages import EarlyStopping, Stage
from transfer_cli.runs.history import Epoch
from transfer_cli.text import counted
from transfer_cli.training.loop.checkpoints import State


class EpochLimit(Protocol):
    """Another reason to end a stage before its last epoch, such as a time budget."""

    def stop_reason(self, state: State) -> str:
        """Return why the stage ends now, or an empty string to continue."""


def key(epoch: Epoch, early: EarlyStopping) -> tuple[float, float]:
    """Return the sort key of an epoch, higher is better; of equal ones the earlier stays the best."""
    assert epoch.val_loss is not None
    if early.monitor == "log_loss":
        return -epoch.val_loss, epoch.val_accuracy or 0.0
    return score(epoch, early), -epoch.val_loss


def score(epoch: Epoch, early: EarlyStopping, of_log_loss: str = "loss") -> float:
    """Return the monitored metric of an epoch; where the log loss is monitored, the column `of_log_loss`."""
    column = of_log_loss if early.monitor == "log_loss" else early.monitor or "accuracy"
    value: float | None = getattr(epoch, f"val_{column}")
    assert value is not None
    return value


def best_of(epochs: Sequence[Epoch], early: EarlyStopping) -> Epoch | None:
    """Return the epoch to keep of some that were scored on val; None if there are none."""
    if early.keep == "last":
        return epochs[-1] if epochs else None
    return max(epochs, key=lambda epoch: key(epoch, early), default=None)


def advance(state: State, epoch: Epoch, early: EarlyStopping) -> State:
    """Return the state after another epoch; epoch 0, the linear probe, counts in no stage."""
    done = state.done + 1 if epoch.epoch else 0
    best = state.best_epoch
    is_best = epoch.val_loss is not None and (
        best is None or early.keep == "last" or key(epoch, early) > key(best, early)
    )
    return replace(
        state,
        done=done,
        best=epoch.epoch if is_best else state.best,
        best_in_stage=done if is_best else state.best_in_stage,
        history=(*state.history, epoch),
    )


def reductions(state: State, stage: Stage) -> int:
    """Return how often a plateau of the val loss has lowered the learning rate of a stage."""
    if stage.schedule != "plateau":
        return 0
    count, waited, lowest = 0, 0, math.inf
    # A refit has no val loss: it lowers the learning rate after the same epochs as the training before it.
    for row in trained_epochs(state.history, state.stage)[: state.done]:
        if row.val_loss is None:
            continue
        if row.val_loss < lowest:
            lowest, waited = row.val_loss, 0
            continue
        waited += 1
        if waited == stage.plateau_patience:
            count, waited = count + 1, 0
    return count


def trained_epochs(history: Sequence[Epoch], stage: int) -> list[Epoch]:
    """Return the epochs that a stage, counted from 0, was trained for before any refit."""
    return [row for row in history if row.stage == stage + 1 and row.loss is not None and not row.refit]


def stop_reason(state: State, stage: Stage, early: EarlyStopping) -> str:
    """Return why a stage ends before its last epoch, or an empty string to continue."""
    best = state.best_epoch
    if early.keep == "last" or not early.patience or best is None or not state.done or state.refit:
        return ""
    # Under a cosine schedule the val score often falls before it rises: it means little while steps are large.
    counted_from = max(state.best_in_stage, 2 * stage.length // 3 if stage.ends_at_zero else 0)
    if state.done - counted_from < early.patience:
        return ""
    metric = str(early.monitor).replace("_", " ")
    late = f" of the last third of the {stage.schedule} schedule" if stage.ends_at_zero else ""
    return (
        f"early stopping after {state.done} of {counted(stage.length, 'epoch')}: val {metric} has not improved on "
        f"{score(best, early):.3f} (epoch {best.epoch}) for {counted(early.patience, 'epoch')}{late}. "
        f"To train longer: --overwrite --set early_stopping.patience={2 * early.patience} (0: all epochs)"
    )
