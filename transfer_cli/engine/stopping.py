"""Which epoch is the best, and when a stage has learnt what it can."""

from __future__ import annotations

from transfer_cli.choices import EarlyStopping, Stage
from transfer_cli.engine.checkpoints import Epoch, State


def key(epoch: Epoch, early: EarlyStopping) -> tuple[float, float]:
    """Return what makes an epoch better than another; equal ones leave the earlier the best."""
    assert epoch.val_loss is not None
    assert epoch.val_accuracy is not None
    if early.monitor == "accuracy":
        return epoch.val_accuracy, -epoch.val_loss
    return -epoch.val_loss, epoch.val_accuracy


def why(state: State, stage: Stage, early: EarlyStopping) -> str:
    """Return why a stage ends before its last epoch, or nothing."""
    if not early.patience or state.best is None or not state.done:
        return ""
    # Under a cosine val often falls before it rises: it says little before the steps are small.
    counted_from = max(state.best_in_stage, 2 * stage.epochs // 3 if stage.schedule == "cosine" else 0)
    if state.done - counted_from < early.patience:
        return ""
    best = state.of(state.best)
    score = {"accuracy": best.val_accuracy, "log_loss": best.val_loss}[early.monitor]
    word = early.monitor.replace("_", " ")
    late = " (under a cosine they count in its last third)" if stage.schedule == "cosine" else ""
    return (
        f"stopped after {state.done} of {stage.epochs} epochs: val {word} is not better than {score:.3f} "
        f"(epoch {best.epoch}) since, and patience ends after {early.patience} epochs{late}. "
        f"To wait longer: --overwrite --set early_stopping.patience={2 * early.patience}, or 0 for every epoch"
    )
