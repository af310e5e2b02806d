"""A folder that fills: complete images are predicted once, whatever happens to the files, in flat memory."""

from __future__ import annotations

import csv
import gc
import os
import pathlib
import shutil
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.features.test_cache import RecordingProgress
from tests.inference.colour_model import colour_model, save_colours
from transfer_cli.data.predictions import columns_of
from transfer_cli.inference.predict import predict_files, without_images
from transfer_cli.inference.prediction_log import PredictionLog
from transfer_cli.inference.watch import POLL_SECONDS, STEADY_SECONDS, FolderWatch, watch

DAY = 24 * 3600


class StoppedError(Exception):
    """What ends a watch in a test."""


class Clock:
    """A clock that runs as fast as the test, and does what is planned for each second."""

    def __init__(self, events: Mapping[float, Callable[[], object]], end: float, step: float = 0) -> None:
        self.now, self.end, self._step = 0.0, end, step
        self._events = sorted(events.items(), reverse=True)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, self._step)
        while self._events and self._events[-1][0] <= self.now:
            self._events.pop()[1]()
        if self.now >= self.end:
            raise StoppedError


class Trap:
    """A folder that is watched, and what was written about it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.output, self.progress = tmp_path / "trap", tmp_path / "out.csv", RecordingProgress()
        self.folder.mkdir()
        self.sources = list(map(Path, save_colours(tmp_path / "sources", 6)))

    def watch(self, events: Mapping[float, Callable[[], object]], end: float) -> None:
        self.watch_by(Clock(events, end))

    def watch_by(self, clock: Clock) -> None:
        model = colour_model()
        log = PredictionLog(self.output, "csv", columns_of(without_images(model, rejects=False), with_digest=True))
        with pytest.raises(StoppedError):
            watch(self.folder, log, partial(predict_files, model), self.progress, clock=clock, sleep=clock.sleep)

    def add(self, number: int, name: str) -> Callable[[], object]:
        """Return what copies an image into the folder."""

        def copy() -> None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.sources[number], self.folder / name)

        return copy

    @property
    def rows(self) -> list[str]:
        with self.output.open(newline="") as file:
            return [os.path.relpath(row["path"], self.folder) for row in csv.DictReader(file)]


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


def test_watch_answers_new_images_in_subfolders_once(trap: Trap) -> None:
    trap.add(0, "before.png")()
    events = {5: trap.add(1, "a.png"), 6: trap.add(2, "day 2/b.png"), 12: trap.add(1, "copy of a.png")}
    trap.watch(events, 20)
    assert trap.rows == ["before.png", "a.png", "day 2/b.png"]
    assert trap.progress.warnings == []


def test_watch_again_after_a_restart_answers_the_rest(trap: Trap) -> None:
    trap.add(0, "a.png")()
    trap.watch({}, 10)
    trap.add(1, "b.png")()
    (trap.folder / "a.png").rename(trap.folder / "renamed.png")
    with trap.output.open("ab") as file:
        file.write(b"torn.png,re")
    trap.watch({}, 10)
    assert trap.rows == ["a.png", "b.png"]


def test_watch_renamed_and_removed_files(trap: Trap) -> None:
    events = {
        1: trap.add(0, "a.png"),
        2: trap.add(1, "gone.png"),
        3: (trap.folder / "gone.png").unlink,
        8: lambda: (trap.folder / "a.png").rename(trap.folder / "b.png"),
        12: lambda: shutil.move(trap.folder, trap.folder.with_name("away")),
        20: lambda: shutil.move(trap.folder.with_name("away"), trap.folder),
        21: trap.add(2, "c.png"),
    }
    trap.watch(events, 30)
    assert trap.rows == ["a.png", "c.png"]
    assert trap.progress.warnings == []


def test_watch_waits_until_a_file_stops_growing(trap: Trap) -> None:
    data, path = trap.sources[0].read_bytes(), trap.folder / "slow.png"
    seen = []

    def grow(share: int) -> None:
        seen.append(trap.output.read_bytes().count(b"\n") - 1)
        path.write_bytes(data[: len(data) * share // 10])

    trap.watch({float(second): partial(grow, second) for second in range(1, 11)}, 20)
    assert seen == [0] * 10
    assert trap.rows == ["slow.png"]
    assert trap.progress.warnings == []


def test_watch_unreadable_file_is_reported_once_and_tried_again(trap: Trap) -> None:
    path = trap.folder / "half.png"
    data = trap.sources[0].read_bytes()
    events = {
        1: lambda: path.write_bytes(data[:40]),
        100: lambda: path.write_bytes(b""),
        200: lambda: path.write_bytes(data),
    }
    trap.watch(events, 300)
    assert trap.rows == ["half.png"]
    assert [warning.partition(": ")[0] for warning in trap.progress.warnings] == [
        f"{path} could not be read, and is tried again if it changes"
    ] * 2
    assert trap.progress.warnings[1].endswith(": the file is empty")


def test_watch_changed_image_is_answered_again(trap: Trap) -> None:
    trap.watch({1: trap.add(0, "a.png"), 10: trap.add(1, "a.png"), 20: trap.add(0, "a.png")}, 30)
    assert trap.rows == ["a.png", "a.png"]


def test_complete_files_file_that_never_rests_is_not_complete(tmp_path: Path) -> None:
    """Planted fault for the rest of this file: what changes in each look is not returned."""
    clock = Clock({}, DAY)
    watched = FolderWatch(tmp_path, clock)
    found = []
    for number in range(20):
        (tmp_path / "a.png").write_bytes(b"x" * number)
        found += watched.complete_files()
        clock.sleep(POLL_SECONDS)
    assert found == []
    clock.sleep(STEADY_SECONDS)
    assert watched.complete_files() == [str(tmp_path / "a.png")]
    assert watched.complete_files() == []


class DayOfEvents(Clock):
    """An image every four minutes, which is renamed after four more and removed after twelve."""

    def __init__(self, folder: Path) -> None:
        super().__init__({}, DAY, step=60)
        self.folder, self.images = folder, 0
        self.memory: list[int] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        number, rest = divmod(round(self.now), 240)
        if rest:
            return
        self.images += 1
        path = self.folder / f"camera {number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        # Colours do not repeat within a day.
        Image.fromarray(np.full((1, 1, 3), (number % 256, number // 256, 7), np.uint8)).save(path)
        earlier = self.folder / f"camera {(number - 1) % 3}" / f"{number - 1}.png"
        if earlier.exists():
            earlier.rename(earlier.with_stem(f"renamed {number - 1}"))
        (path.parent / f"renamed {number - 3}.png").unlink(missing_ok=True)
        if number % 30 == 0:
            gc.collect()
            # Without pathlib: it interns names, and Python doubles the table of them once in a while.
            snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, pathlib.__file__)])
            self.memory.append(sum(entry.size for entry in snapshot.statistics("filename")))


@pytest.mark.integration
def test_watch_a_day_in_flat_memory(trap: Trap) -> None:
    """In the second half of the day 8 bytes for each image are added, not the image or its row."""
    day = DayOfEvents(trap.folder)
    tracemalloc.start()
    try:
        trap.watch_by(day)
    finally:
        tracemalloc.stop()
    assert len(trap.rows) == day.images == 359
    assert trap.progress.warnings == []
    assert len(day.memory) == 11
    assert day.memory[-1] - day.memory[5] < 40_000
