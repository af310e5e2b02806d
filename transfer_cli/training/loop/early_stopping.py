"""Which epoch is the best, and when a stage has learnt what it can."""

from __future__ import annotations

import math

from transfer_cli.recipe.stages import EarlyStopping, Stage
from transfer_cli.runs.history import Epoch
from transfer_cli.training.loop.checkpoints import State


def key(epoch: Epoch, early: EarlyStopping) -> tuple[float, float]:
    """Return what makes an epoch better than another; equal ones leave the earlier the best."""
    assert epoch.val_loss is not None
    if early.monitor == "log_loss":
        return -epoch.val_loss, epoch.val_accuracy or 0.0
    return score(epoch, early), -epoch.val_loss


def score(epoch: Epoch, early: EarlyStopping) -> float:
    """Return what of an epoch is compared."""
    word = "loss" if early.monitor == "log_loss" else early.monitor or "accuracy"
    value: float | None = getattr(epoch, f"val_{word}")
    assert value is not None
    return value


def reductions(state: State, stage: Stage) -> int:
    """Return how often a plateau of the loss on val has lowered the learning rate of a stage."""
    if stage.schedule != "plateau":
        return 0
    count, waited, lowest = 0, 0, math.inf
    # In a refit, which has no val, it is lowered where it was before.
    for row in trained(state)[: state.done]:
        if row.val_loss is None:
            continue
        if row.val_loss < lowest:
            lowest, waited = row.val_loss, 0
            continue
        waited += 1
        if waited == stage.plateau_patience:
            count, waited = count + 1, 0
    return count


def trained(state: State) -> list[Epoch]:
    """Return the epochs that were trained in the stage of a state before any refit."""
    return [row for row in state.history if row.stage == state.stage + 1 and row.loss is not None and not row.refit]


def why(state: State, stage: Stage, early: EarlyStopping) -> str:
    """Return why a stage ends before its last epoch, or nothing."""
    if not early.patience or state.best is None or not state.done or state.refit:
        return ""
    # Under a cosine val often falls before it rises: it says little before the steps are small.
    counted_from = max(state.best_in_stage, 2 * stage.length // 3 if stage.ends_at_zero else 0)
    if state.done - counted_from < early.patience:
        return ""
    best = state.of(state.best)
    word = str(early.monitor).replace("_", " ")
    late = f" (under {stage.schedule} they count in its last third)" if stage.ends_at_zero else ""
    return (
        f"stopped after {state.done} of {stage.length} epochs: val {word} is not better than {score(best, early):.3f} "
        f"(epoch {best.epoch}) since, and patience ends after {early.patience} epochs{late}. "
        f"To wait longer: --overwrite --set early_stopping.patience={2 * early.patience}, or 0 for every epoch"
    )
