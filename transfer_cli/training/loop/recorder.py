"""What a training writes after each epoch: checkpoint, history.csv, events.jsonl, TensorBoard."""

from __future__ import annotations

from transfer_cli.catalog.tasks import TaskSpec
from transfer_cli.io.csv_tables import write_table
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop.checkpoints import Arrays, Checkpoints, State, history_table
from transfer_cli.training.loop.tensorboard import TensorBoard


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
        header, *rows = history_table(state.history, self._task)
        write_table(self._run.history, header, rows)
        if self._board:
            self._board.write(state.history)
