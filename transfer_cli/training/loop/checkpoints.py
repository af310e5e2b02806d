"""Where a fine-tuning stands after an epoch, in files from which it goes on as if it had never stopped."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.tasks import TaskSpec
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import remove, written_whole
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.run_directory import RunDirectory

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class State:
    """Where a fine-tuning stands.

    Attributes
    ----------
    split_digest : str
        Digest of the split it learns from.
    stage : int
        The stage it is in, from 0.
    done : int
        Epochs of that stage that are done.
    ended : bool
        Whether that stage has ended.
    refit : bool
        Whether the stages are gone through again, the pictures of val learnt from as well.
    best : int or None
        The epoch with the best val score so far.
    best_in_stage : int
        Epochs of the stage that were done when its best score was reached.
    halvings : int
        How often the learning rate of that stage was halved because weights ran away.
    memory_halvings : int
        How often the pictures at a time were halved because memory was too small.
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
    history: tuple[Epoch, ...] = field(default=())

    @property
    def epoch(self) -> int:
        """Epochs done in all stages."""
        return self.history[-1].epoch if self.history else 0

    def of(self, epoch: int) -> Epoch:
        """Return the line of history of an epoch."""
        return next(row for row in self.history if row.epoch == epoch)

    def begin_refit(self) -> State:
        """Return the state at the beginning of the refit."""
        return replace(self.next_stage(), stage=0, refit=True)

    def next_stage(self) -> State:
        """Return the state at the beginning of the next stage."""
        return replace(self, stage=self.stage + 1, done=0, ended=False, best_in_stage=0, halvings=0)


class Checkpoints:
    """The checkpoints of one run: the last epoch, and the best.

    The best is named by its epoch: a process that dies between writing one and the other leaves a last
    checkpoint whose best is still there.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._folder = run.checkpoints
        self._last = run.checkpoints / "last.npz"

    def save(self, state: State, weights: Arrays, optimizer: Arrays, scored: Arrays) -> None:
        """Write the last epoch, and the best where this is it; remove a best that has been passed.

        Parameters
        ----------
        state : State
        weights, optimizer : mapping of str to ndarray
            From which training goes on.
        scored : mapping of str to ndarray
            The weights that were scored: others than those that learn where an average is kept of them.
        """
        if state.best == state.epoch:
            _write(self._best(state.epoch), {}, {"weights": scored})
        _write(self._last, asdict(state), {"weights": weights, "optimizer": optimizer})
        for path in self._folder.glob("best-*.npz"):
            if state.best is None or path != self._best(state.best):
                remove(path)

    def read_last(self) -> tuple[State, Arrays, Arrays] | None:
        """Return the state, the weights and the optimizer's variables after the last epoch, or None before any."""
        if not self._last.is_file():
            return None
        facts, groups = _read(self._last)
        try:
            history = tuple(Epoch(**row) for row in facts.pop("history"))
            state = State(**facts, history=history)
        except (KeyError, TypeError) as error:
            raise _damaged(self._last, error) from None
        return state, groups.get("weights", {}), groups.get("optimizer", {})

    def read_best(self, state: State) -> Arrays:
        """Return the weights of the best epoch so far."""
        assert state.best is not None
        _, groups = _read(self._best(state.best))
        return groups["weights"]

    def _best(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch:04}.npz"


def history_table(history: Iterable[Epoch], task: TaskSpec) -> list[list[str]]:
    """Return the lines of history.csv, its header first; figures that are none of the task are left out."""
    own = {"val_loss", *(f"val_{name}" for name in task.scored)}
    columns = [each.name for each in fields(Epoch) if not each.name.startswith("val_") or each.name in own]
    return [columns, *([_cell(getattr(row, column)) for column in columns] for row in history)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _write(path: Path, facts: Mapping[str, Any], groups: Mapping[str, Arrays]) -> None:
    arrays = {f"{group}/{name}": array for group, named in groups.items() for name, array in named.items()}
    facts_bytes = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with written_whole(path) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=facts_bytes, **arrays)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Arrays]]:
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            facts: dict[str, Any] = json.loads(file["facts"].tobytes())
            for key in file.files:
                group, _, name = key.partition("/")
                if name:
                    groups.setdefault(group, {})[name] = file[key]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None
    return facts, dict(groups)


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path} is not a checkpoint that can be read: {error}.", hint="Begin this run anew with --overwrite."
    )
