"""What the parts of ``auto`` share: how far it is, how long it took, and who is told."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from transfer_cli.auto.state import AutoState
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory


class AutoProgress:
    """How far a run of ``auto`` has come.

    Attributes
    ----------
    state : AutoState
        As it was kept last.
    before : float
        Seconds that earlier commands took.
    """

    def __init__(self, request: TrainingRequest, state: AutoState) -> None:
        self._request, self.state, self.before = request, state, state.seconds

    def spent(self) -> float:
        """Return the seconds that all commands have taken."""
        return self.before + time.monotonic() - self._request.begun

    def keep(self, **decided: Any) -> None:
        """Write the seconds, and what is decided now."""
        self.state = replace(self.state, seconds=self.spent(), **decided)
        self.state.write(self._request.run)

    def step_run(self, name: str) -> RunDirectory:
        """Return where a step is."""
        return RunDirectory(self._request.run.steps / name)

    def note(self, step: int, words: str) -> None:
        """Say what a step came to."""
        self._request.progress.note(f"{step}/7 {words}")
