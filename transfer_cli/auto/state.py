"""The state of an `auto` run, written beside it so that an interrupted run can continue, and its progress messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transfer_cli.errors import RunConflictError, RunError
from transfer_cli.io.atomic import write_json
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions

_STEPS = 7


@dataclass(frozen=True)
class AutoState:
    """The decisions made so far.

    Attributes
    ----------
    recipe : dict of str to object
        The recipe of the run, as JSON.
    seconds : float
        Time spent so far, by all commands that worked on the run.
    ranked : tuple of Candidate
        The best candidates of the ranking, once it is complete.
    winner : str
        The step whose model is selected. It is decided before test is used, and is final.
    val_note : str
        How the metrics of the winner on val were computed.
    """

    recipe: dict[str, object]
    seconds: float = 0.0
    ranked: tuple[Candidate, ...] = ()
    winner: str = ""
    val_note: str = ""

    @classmethod
    def read(cls, run: RunDirectory) -> AutoState:
        """Return the state in auto.json; raise RunError if it cannot be read."""
        try:
            data = read_json(run.auto)
            ranked = tuple(Candidate(**row) for row in data["ranked"])
            return cls(**data | {"ranked": ranked, "seconds": float(data["seconds"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{run.auto} cannot be read: {error}.", hint="Start again with --overwrite.") from None

    def check_matches(self, run: RunDirectory, recipe: AutoRecipe, source: Path, command: Sequence[str] = ()) -> None:
        """Raise RunConflictError, with all differences, unless the run has this recipe and this folder."""
        typed = TypedOptions.read(run.command), TypedOptions(command)
        differences = recipe_differences(self.recipe, recipe.model_dump(mode="json"), *typed)
        if differences := [*differences, *run.folder_difference(source)]:
            raise RunConflictError(run.path, differences)

    def is_tested(self, run: RunDirectory) -> bool:
        """Return whether the selected model was evaluated on test."""
        return bool(self.winner) and run.is_complete(with_model=True, with_features=False)


class AutoProgress:
    """The progress of an `auto` run.

    Attributes
    ----------
    state : AutoState
        The state as it was last saved.
    seconds_before : float
        Time spent by earlier commands.
    """

    def __init__(self, request: TrainingRequest, state: AutoState) -> None:
        self._request, self.state, self.seconds_before = request, state, state.seconds

    def seconds_spent(self) -> float:
        """Return the time spent by all commands."""
        return self.seconds_before + time.monotonic() - self._request.begun

    def save(self, **decisions: Any) -> None:
        """Write the time spent and new decisions, which are fields of `AutoState`."""
        self.state = replace(self.state, seconds=self.seconds_spent(), **decisions)
        write_json(self._request.run.auto, asdict(self.state) | {"seconds": round(self.state.seconds, 1)})

    def step_run(self, name: str) -> RunDirectory:
        """Return the run directory of a step."""
        return RunDirectory(self._request.run.steps / name)

    def note(self, step: int, message: str) -> None:
        """Report the outcome of a step."""
        self._request.progress.note(f"{step}/{_STEPS} {message}")
