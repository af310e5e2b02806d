"""The training history of a run: its epochs, or the values that the tuning of a classifier tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transfer_cli.io.csv_tables import read_table
from transfer_cli.recipe.stages import EarlyStopping
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.history import Epoch, read_epochs
from transfer_cli.training.loop import early_stopping


@dataclass(frozen=True)
class TrainingHistory:
    """The training history of a run.

    Attributes
    ----------
    epochs : tuple of Epoch
        Of finetune.
    best : Epoch or None
        The epoch whose weights were kept.
    trials : tuple of dict
        Of extract: each value of the regularisation with its cross-validated scores.
    events : tuple of dict
        As in events.jsonl.
    """

    epochs: tuple[Epoch, ...] = ()
    best: Epoch | None = None
    trials: tuple[Mapping[str, str], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, run: FinishedRun) -> TrainingHistory:
        """Return the history of a run; it is empty if nothing was tuned or fine-tuned."""
        path = run.directory.history
        events = tuple(run.directory.read_events())
        if run.recipe.get("method") != "finetune":
            return cls(trials=tuple(read_table(path, ()) if path.is_file() else ()), events=events)
        epochs = read_epochs(path) if path.is_file() else ()
        early = EarlyStopping.model_validate(run.recipe.get("early_stopping", {}))
        evaluated = [epoch for epoch in epochs if epoch.val_loss is not None and not epoch.refit]
        best = early_stopping.best_of(evaluated, early)
        return cls(epochs, best, events=events)

    @property
    def is_refit(self) -> bool:
        """Whether the final model was trained on val, too."""
        return any(epoch.refit for epoch in self.epochs)

    @property
    def last_epoch(self) -> int:
        """The last epoch before a refit; 0 if there is none."""
        return max((epoch.epoch for epoch in self.epochs if not epoch.refit), default=0)

    def count(self, event: str) -> int:
        """Return the number of events with this name."""
        return sum(entry.get("event") == event for entry in self.events)
