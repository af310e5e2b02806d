"""The epochs of a fine-tuning as TensorBoard reads them, written as they come, each of them once.

Event files are records of protocol buffers (https://github.com/tensorflow/tensorboard/blob/master/docs/); tf.summary
writes none without the package tensorboard, which has all that is needed, without TensorFlow.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transfer_cli.errors import MissingExtraError
from transfer_cli.io.atomic import refused
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.run_directory import RunDirectory

TRAIN = ("loss", "accuracy", "learning_rate", "stage", "seconds", "refit")
VAL = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_mean_average_precision")


def must_be_here() -> None:
    """Raise MissingExtraError where the package tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            "--tensorboard needs the package tensorboard, which is not installed.",
            hint="Install it: pip install 'transfer-cli[tensorboard]'",
        )


class TensorBoard:
    """What a run tells TensorBoard: two curves a figure, ``train`` and ``val``, over the epochs of all stages.

    Parameters
    ----------
    run : RunDirectory
        Its directory ``tensorboard`` is written. What is in it stays: of a run that goes on, the epochs that were not
        written yet are added.
    """

    def __init__(self, run: RunDirectory) -> None:
        must_be_here()
        self._run = run
        self._places = {"train": run.tensorboard / "train", "val": run.tensorboard / "val"}
        self._written = {name: _steps(place) for name, place in self._places.items()}

    def write(self, history: Sequence[Epoch]) -> None:
        """Write the epochs that are not there yet, an epoch in one record, so that none is there by half."""
        for name, columns in (("train", TRAIN), ("val", VAL)):
            new = [(row, _scalars(row, columns)) for row in history if row.epoch not in self._written[name]]
            # Before the first epoch nothing was trained.
            events = [
                _event([_scalar(tag, value) for tag, value in values.items()], row.epoch)
                for row, values in new
                if values and (name == "val" or row.loss is not None)
            ]
            if events:
                _append(self._places[name], events)
            self._written[name] |= {row.epoch for row, _ in new}

    def describe(self) -> None:
        """Write the recipe, the command and the preview, where that was not done yet."""
        place = self._run.tensorboard / "train"
        if _tags(place) & {"recipe"}:
            return
        recipe, command = (path.read_text("utf-8", "replace") for path in (self._run.recipe, self._run.command))
        values = [_text("recipe", f"```toml\n{recipe}```"), _text("command", f"```\n{command}```")]
        preview = self._run.plots / "preview.png"
        if preview.is_file():
            values.append(_image("preview", preview))
        _append(place, [_event(values, 0)])


def write_all(run: RunDirectory, history: Sequence[Epoch]) -> None:
    """Write of a run that is complete what is not written yet."""
    board = TensorBoard(run)
    board.describe()
    board.write(history)


def _scalars(row: Epoch, columns: Sequence[str]) -> dict[str, float]:
    given = {column.removeprefix("val_"): getattr(row, column) for column in columns}
    return {tag: float(value) for tag, value in given.items() if value is not None}


def _append(place: Path, events: Sequence[Any]) -> None:
    """Add events to the file of this process."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = place / f"events.out.tfevents.{_STARTED:010}.{socket.gethostname()}.{os.getpid()}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        is_new = not file.is_file()
        with file.open("ab") as target:
            writer = RecordWriter(target)
            if is_new:
                writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())
    except OSError as error:
        raise refused(error, file) from error


_STARTED = int(time.time())


def _read(place: Path) -> list[Any]:
    """Return the events in a directory; half a record, which a process left that was killed, is none."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    files = sorted(place.glob("events.out.tfevents.*")) if place.is_dir() else []
    return [Event.FromString(record) for file in files for record in RawEventFileLoader(str(file)).Load()]


def _steps(place: Path) -> set[int]:
    """Return the epochs whose figures are written."""
    scalars = {event.step for event in _read(place) for value in event.summary.value if value.tag == "loss"}
    return {int(step) for step in scalars}


def _tags(place: Path) -> set[str]:
    return {value.tag for event in _read(place) for value in event.summary.value}


def _event(values: Sequence[Any], step: int) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=time.time(), step=step, summary=Summary(value=values))


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    return _value(tag, np.float32(value), create_summary_metadata(display_name="", description=""))


def _text(tag: str, text: str) -> Any:
    from tensorboard.plugins.text.metadata import create_summary_metadata

    return _value(tag, np.array(text.encode(), object), create_summary_metadata(display_name="", description=""))


def _image(tag: str, path: Path) -> Any:
    from tensorboard.plugins.image.metadata import create_summary_metadata

    with Image.open(path) as image:
        width, height = image.size
    content = np.array([str(width).encode(), str(height).encode(), path.read_bytes()], object)
    return _value(tag, content, create_summary_metadata(display_name="", description=""))


def _value(tag: str, content: Any, metadata: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    return Summary.Value(tag=tag, tensor=make_tensor_proto(content), metadata=metadata)
