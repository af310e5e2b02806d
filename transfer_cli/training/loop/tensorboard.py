"""The epochs of a fine-tuning as TensorBoard logs, each written once, however often the run was stopped."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transfer_cli.errors import MissingExtraError, OutputError
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.run_directory import RunDirectory

COLUMNS = {
    "train": ("loss", "accuracy", "learning_rate", "stage", "seconds", "refit"),
    "val": ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_mean_average_precision"),
}
"""The columns of history.csv that are curves of each log."""


def check_installed() -> None:
    """Raise MissingExtraError if the package tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            "--tensorboard needs the package tensorboard, which is not installed.",
            hint="Install it: pip install 'transfer-cli[tensorboard]'",
        )


class TensorBoard:
    """Writes the logs ``train`` and ``val`` of a run; a resumed run adds the points that are missing."""

    def __init__(self, run: RunDirectory) -> None:
        check_installed()
        self._run = run
        self._written = {name: _written_points(run.tensorboard / name) for name in COLUMNS}
        self._writers: dict[str, Any] = {}

    def write(self, history: Sequence[Epoch]) -> None:
        """Write the points of all epochs that are not written yet."""
        import tensorflow as tf

        for name, columns in COLUMNS.items():
            # Epoch 0, the linear probe, has metrics on val only.
            points = {
                (column.removeprefix("val_"), row.epoch): getattr(row, column)
                for row in history
                for column in columns
                if getattr(row, column) is not None and (name == "val" or row.loss is not None)
            }
            new = points.keys() - self._written[name]
            if new:
                with self._writing(name):
                    for tag, epoch in sorted(new, key=lambda point: point[1]):
                        tf.summary.scalar(tag, float(points[tag, epoch]), step=epoch)
            self._written[name] |= new

    def describe(self) -> None:
        """Write the recipe, the command and the preview, if they are not written yet."""
        import tensorflow as tf

        missing = {"recipe", "command", "preview"} - {tag for tag, _ in self._written["train"]}
        preview = self._run.plots / "preview.png"
        if not missing:
            return
        with self._writing("train"):
            for tag, path, kind in (("recipe", self._run.recipe, "toml"), ("command", self._run.command, "")):
                if tag in missing:
                    tf.summary.text(tag, f"```{kind}\n{path.read_text('utf-8', 'replace')}```", step=0)
            if "preview" in missing and preview.is_file():
                with Image.open(preview) as image:
                    tf.summary.image("preview", np.asarray(image.convert("RGB"))[None], step=0)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Make the log the default of tf.summary within the block, and flush it."""
        import tensorflow as tf

        folder = self._run.tensorboard / name
        try:
            if name not in self._writers:
                self._writers[name] = tf.summary.create_file_writer(str(folder))
            with self._writers[name].as_default():
                yield
            self._writers[name].flush()
        except tf.errors.OpError as error:
            raise OutputError(f"{folder} cannot be written: {error.message}.") from error


def write_all(run: RunDirectory, history: Sequence[Epoch]) -> None:
    """Write everything that is missing in the logs of a complete run."""
    import_tensorflow()
    board = TensorBoard(run)
    board.describe()
    board.write(history)


def _written_points(folder: Path) -> set[tuple[str, int]]:
    """Return tag and step of each written point; a record that a killed process wrote in part is ignored."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not folder.is_dir():
        return set()
    log = EventAccumulator(str(folder), size_guidance={"tensors": 0}, purge_orphaned_data=False).Reload()
    return {(tag, event.step) for tag in log.Tags()["tensors"] for event in log.Tensors(tag)}
