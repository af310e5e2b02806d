"""What a fine-tuning says to the person who waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_cli.data.split import Split
from transfer_cli.errors import RunError
from transfer_cli.recipe.stages import EarlyStopping
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.loop.checkpoints import State

_FEW_STEPS = 100
"""So few steps seldom bring a network anywhere: the default trains for 300 or more."""


def what_it_brought(state: State, early: EarlyStopping, steps: int) -> str:
    """Return whether training was better than not training in so many steps, for a person."""
    assert state.best is not None
    best, first = state.of(state.best), state.history[0]
    if best.epoch == 0:
        few = f"; {steps} steps are few, the default takes 300 or more" if steps < _FEW_STEPS else ""
        return (
            "training brought nothing: no epoch did better on val than the classifier on the frozen network, "
            f"so that is what was kept{few}"
        )
    before = f", {_accuracy(first, early):.3f} before training" if first.epoch == 0 else ""
    return f"kept: epoch {best.epoch}, val {_word(early)} {_accuracy(best, early):.3f}{before}"


def what_computes(cards: Sequence[str], precision: str) -> str:
    """Return what the network learns on, or nothing where that is what everyone would expect."""
    if not cards and precision == "float32":
        return ""
    names = " and ".join(name.rpartition("device:")[2] for name in cards)
    return f"learns on {names or 'the processor'}, in {precision}"


def _word(early: EarlyStopping) -> str:
    return {"balanced_accuracy": "balanced accuracy", "mean_average_precision": "mAP"}.get(
        early.monitor or "", "accuracy"
    )


def _accuracy(epoch: Epoch, early: EarlyStopping) -> float:
    word = "accuracy" if early.monitor in (None, "log_loss") else early.monitor
    value: float | None = getattr(epoch, f"val_{word}")
    assert value is not None
    return value


def of_epoch(epoch: Epoch, state: State, epochs: int, early: EarlyStopping) -> str:
    """Return one line about an epoch of a stage of so many."""
    val = ""
    if epoch.val_accuracy is not None and state.best is not None:
        best = state.of(state.best)
        rank = "the best so far" if best is epoch else f"best {_accuracy(best, early):.3f}, epoch {best.epoch}"
        val = f"val loss {epoch.val_loss:.3f}, {_word(early)} {_accuracy(epoch, early):.3f} ({rank})"
    if epoch.loss is None:
        return f"epoch 0, the classifier on the frozen network: {val or 'no val part to compare on'}"
    loss = f"loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}"
    first = state.done == epoch.epoch
    where = f"{epoch.epoch} of {epochs}" if first else f"{epoch.epoch} ({state.done} of {epochs})"
    return f"epoch {where}: {'; '.join(filter(None, [loss, val]))}; {epoch.seconds:.1f} s"


def changed(request: TrainingRequest, split: Split) -> RunError:
    """Return the error of a run that would go on with other pictures than it began with."""
    before = {row.path: row for row in Split.read(request.run.split).rows} if request.run.split.is_file() else {}
    after = {row.path: row for row in split.rows}
    counts = {
        "new": len(after.keys() - before.keys()),
        "gone": len(before.keys() - after.keys()),
        "changed or in another part": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return RunError(
        f"{request.run.path} was stopped with other pictures than {request.folder.source} gives now: "
        f"{', '.join(f'{count} {what}' for what, count in counts.items())}. Expected the same, to go on with it.",
        hint="Begin it anew with --overwrite.",
    )
