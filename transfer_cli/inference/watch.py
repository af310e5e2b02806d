"""Watch a folder that fills: each new image is predicted once it is complete, by looking again and again."""

from __future__ import annotations

import os
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from transfer_cli.data.predictions import Predictions
from transfer_cli.inference.prediction_log import PredictionLog
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.discovery import walk_images
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import counted

POLL_SECONDS = 1.0
STEADY_SECONDS = 2.0
"""A file whose size and times stay the same for this time is complete."""
_IDLE_SHARE = 5
"""Looking through a large folder takes a sixth of the time at most."""

Predict = Callable[[Iterable[str]], Iterator[Predictions]]


class FolderWatch:
    """Finds files that are new or have changed, once they are complete.

    Memory use depends on the number of files that are in the folder now, with 8 bytes for each.

    Parameters
    ----------
    folder : Path
        Its sub-folders are watched, too.
    clock : callable
        Returns the time in seconds.
    steady : float
        Seconds for which a file must not change to be complete.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic, steady: float = STEADY_SECONDS
    ) -> None:
        self._folder, self._clock, self._steady = folder, clock, steady
        self._settled = array("Q")
        self._pending: dict[str, tuple[int, float]] = {}

    def complete_files(self) -> list[str]:
        """Return the paths of the image files that are complete and were not returned since they changed."""
        now, complete = self._clock(), list[str]()
        settled, pending = array("Q"), dict[str, tuple[int, float]]()
        for path in sorted(os.path.join(self._folder, name) for name in self._names()):  # noqa: PTH118
            state = _state_of(path)
            if state is None:
                continue  # removed or renamed since the folder was read
            if _has(self._settled, state):
                settled.append(state)
                continue
            before, since = self._pending.get(path, (state, now))
            since = since if before == state else now
            if now - since >= self._steady:
                settled.append(state)
                complete.append(path)
            else:
                pending[path] = state, since
        self._settled, self._pending = array("Q", sorted(settled)), pending
        return complete

    def _names(self) -> list[str]:
        # A folder that is away for a while, such as a network drive, has no files.
        return list(walk_images(self._folder, Counter(), []))


def watch(
    folder: Path,
    log: PredictionLog,
    predict: Predict,
    progress: Progress = SILENT,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Predict each new image in a folder until the program is interrupted, which `sleep` raises in a test.

    An image is predicted once: by its content, under whatever name, also after a restart. A file that cannot be read is
    reported once, and tried again when it changes.

    Parameters
    ----------
    folder : Path
    log : PredictionLog
        Gets a row for each image, at once.
    predict : callable
        Predicts files in order.
    progress : Progress
    clock : callable
        Returns the time in seconds.
    sleep : callable
        Waits for a number of seconds.
    """
    watched = FolderWatch(folder, clock)
    while True:
        begun = clock()
        complete = watched.complete_files()
        taken = clock() - begun
        for batch in predict(_unknown(complete, log)) if complete else ():
            count = log.append(batch)
            if count:
                progress.note(f"{counted(count, 'new image')}, {log.rows:,} in all")
            for file in batch.skipped:
                if os.path.exists(file.path):  # noqa: PTH110
                    progress.warn(f"{file.path} could not be read, and is tried again if it changes: {file.reason}")
        sleep(max(POLL_SECONDS, _IDLE_SHARE * taken))


def _unknown(paths: Sequence[str], log: PredictionLog) -> Iterator[str]:
    """Yield the paths of images that have no row yet, the first path of each content."""
    found = set[str]()
    for path in paths:
        with suppress(OSError):
            digest = digest_of_file(Path(path)).sha256
            if digest in found or digest in log:
                continue
            found.add(digest)
        yield path


def _state_of(path: str) -> int | None:
    """Return a number that changes with the name, the size and the times of a file; None if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    text = f"{found.st_size} {found.st_mtime_ns} {found.st_ino} ".encode() + os.fsencode(path)
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _has(numbers: array[int], number: int) -> bool:
    index = bisect_left(numbers, number)
    return index < len(numbers) and numbers[index] == number
