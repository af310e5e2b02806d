"""What a fine-tuning writes after an epoch: history, logs, and the checkpoint from which it resumes.

A resumed fine-tuning ends as if it had never stopped.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.tasks import TaskSpec
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import atomic_write, remove
from transfer_cli.io.csv_tables import write_table
from transfer_cli.io.untrusted.npz_file import UNREADABLE
from transfer_cli.regular_file import read_regular
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop.tensorboard import TensorBoard

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class State:
    """The progress of a fine-tuning.

    Attributes
    ----------
    split_digest : str
        Digest of the split that it trains on.
    stage : int
        The current stage, from 0.
    done : int
        Completed epochs of this stage.
    ended : bool
        Whether this stage is complete.
    refit : bool
        Whether this is the refit, which trains on train + val.
    best : int or None
        The epoch with the best val score so far.
    best_in_stage : int
        Completed epochs of the stage when its best score was reached.
    halvings : int
        Number of times that the learning rate of this stage was halved after it diverged.
    memory_halvings : int
        Number of times that the micro-batch was halved after running out of memory.
    history : tuple of Epoch
    """

    split_digest: str
    stage: int = 0
    done: int = 0
    ended: bool = False
    refit: bool = False
    best: int | None = None
    best_in_stage: int = 0
    halvings: int = 0
    memory_halvings: int = 0
    history: tuple[Epoch, ...] = ()

    @property
    def epoch(self) -> int:
        """Number of completed epochs in all stages."""
        return self.history[-1].epoch if self.history else 0

    @property
    def best_epoch(self) -> Epoch | None:
        """The row of history of the best epoch so far."""
        return next((row for row in self.history if row.epoch == self.best), None)

    def begin_refit(self) -> State:
        """Return the state at the start of the refit."""
        return replace(self.next_stage(), stage=0, refit=True)

    def next_stage(self) -> State:
        """Return the state at the start of the next stage."""
        return replace(self, stage=self.stage + 1, done=0, ended=False, best_in_stage=0, halvings=0)


class Checkpoint(NamedTuple):
    """The state after an epoch, and the weights and optimizer variables from which training continues."""

    state: State
    weights: Arrays
    optimizer: Arrays


class Checkpoints:
    """The checkpoints of one run: the last epoch, and the best.

    The file of the best epoch has its number in its name: if a process is killed between writing the two files, the
    best epoch of the previous last checkpoint still exists.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._folder = run.checkpoints
        self._last = run.checkpoints / "last.npz"

    def save(self, state: State, weights: Arrays, optimizer: Arrays, scored: Arrays) -> None:
        """Write the last epoch, and the best if this is it; remove earlier best epochs.

        Parameters
        ----------
        state : State
        weights, optimizer : mapping of str to ndarray
            From which training continues.
        scored : mapping of str to ndarray
            The weights that were scored on val: the moving average, where a stage keeps one.
        """
        if state.best == state.epoch:
            _write(self._best(state.epoch), {}, {"weights": scored})
        _write(self._last, asdict(state), {"weights": weights, "optimizer": optimizer})
        for path in self._folder.glob("best-*.npz"):
            if state.best is None or path != self._best(state.best):
                remove(path)

    def read_state(self) -> State | None:
        """Return the state after the last epoch, or None before the first."""
        if not self._last.is_file():
            return None
        facts, _ = _read(self._last)
        try:
            history = tuple(Epoch(**row) for row in facts.pop("history"))
            return State(**facts, history=history)
        except (KeyError, TypeError) as error:
            raise _damaged(self._last, error) from None

    def read_last(self) -> Checkpoint | None:
        """Return the checkpoint of the last epoch, or None before the first."""
        state = self.read_state()
        if state is None:
            return None
        _, (weights, optimizer) = _read(self._last, "weights", "optimizer")
        return Checkpoint(state, weights, optimizer)

    def read_best(self, state: State) -> Arrays:
        """Return the weights of the best epoch so far."""
        assert state.best is not None
        _, (weights,) = _read(self._best(state.best), "weights")
        return weights

    def _best(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch:04}.npz"


class TrainingRecorder:
    """The files of a run that grow with every epoch.

    The checkpoint is written first: a process that is killed after it can write the other files from it.
    """

    def __init__(self, run: RunDirectory, task: TaskSpec, *, tensorboard: bool) -> None:
        self._run, self._task = run, task
        self.checkpoints = Checkpoints(run)
        self._board = TensorBoard(run) if tensorboard else None

    def describe(self) -> None:
        """Write recipe, command and preview for TensorBoard, where it is used."""
        if self._board:
            self._board.describe()

    def record(self, state: State, weights: Arrays, optimizer: Arrays, scored: Arrays) -> None:
        """Write the last epoch of a state; see `Checkpoints.save`."""
        self.checkpoints.save(state, weights, optimizer, scored)
        self._write_history(state)
        self._log(state.history[-1])

    def catch_up(self, state: State) -> None:
        """Write what a process that was killed after a checkpoint did not write of its epochs."""
        logged = {event["epoch"] for event in self._run.read_events() if event["event"] == "epoch"}
        for epoch in state.history:
            if epoch.epoch not in logged:
                self._log(epoch)
        self._write_history(state)
        self._run.log("resume", epoch=state.epoch, stage=state.stage + 1)

    def record_stage(self, state: State, seconds: float) -> None:
        """Log the end of a stage, once."""
        ended = {"stage": state.stage + 1, "refit": state.refit}
        if not any({"event": "stage", **ended}.items() <= event.items() for event in self._run.read_events()):
            self._run.log("stage", **ended, epochs=state.done, seconds=seconds)

    def _log(self, epoch: Epoch) -> None:
        self._run.log("epoch", **{name: value for name, value in vars(epoch).items() if value is not None})

    def _write_history(self, state: State) -> None:
        # Without the metrics that the task does not have.
        own = {"val_loss", *(f"val_{name}" for name in self._task.scored)}
        columns = [each.name for each in fields(Epoch) if not each.name.startswith("val_") or each.name in own]
        rows = [[_cell(getattr(row, column)) for column in columns] for row in state.history]
        write_table(self._run.history, columns, rows)
        if self._board:
            self._board.write(state.history)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _write(path: Path, facts: Mapping[str, Any], groups: Mapping[str, Arrays]) -> None:
    arrays = {f"{group}/{name}": array for group, named in groups.items() for name, array in named.items()}
    facts_bytes = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=facts_bytes, **arrays)


def _read(path: Path, *groups: str) -> tuple[dict[str, Any], list[Arrays]]:
    """Return the facts of a checkpoint, and the arrays of some groups by name."""
    try:
        with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as file:
            facts: dict[str, Any] = json.loads(file["facts"].tobytes())
            return facts, [
                {key.removeprefix(f"{group}/"): file[key] for key in file.files if key.startswith(f"{group}/")}
                for group in groups
            ]
    except UNREADABLE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is not a readable checkpoint: {error}.", hint="Start this run again with --overwrite.")
