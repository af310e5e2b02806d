"""Another name for a run whose default name is taken: NAME-2, NAME-3 and so on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transfer_cli.errors import RunConflictError
from transfer_cli.progress import Progress
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions

_MOST = 3
"""Differences that are listed in the line."""


class _Request(Protocol):
    """What a command asks for: a `TrainingRequest`, an `EnsembleRequest`."""

    @property
    def run(self) -> RunDirectory: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def overwrite(self) -> bool: ...


Request = TypeVar("Request", bound=_Request)
Result = TypeVar("Result")


class Naming(Protocol):
    """`with_own_name` or `as_named`."""

    def __call__(self, request: Request, start: Callable[[Request], Result], /) -> Result:
        """Return the result of `start`."""


def with_own_name(request: Request, start: Callable[[Request], Result]) -> Result:
    """Call `start` with a request whose run has a name of its own.

    The run of `request` has a default name. Another run may have it, then NAME-2 is used, and so on: a run with the
    settings of this command if there is one, so that it is continued or found complete, else the first free name. One
    line tells so. With `overwrite` it is the run that the same command made, or else the one of the default name.

    Raises
    ------
    TransferError
        As `start`, but no RunConflictError for a place that exists.
    """
    run, line = request.run, ""
    if request.overwrite:
        place = _same_command(run.path, TypedOptions(getattr(request, "command", ())))
        if place != run.path:
            line = f"{place} was made by this command, and is replaced"
        return _start_at(place, request, start, line)
    others: dict[Path, str] = {}
    for place in _places(run.path):
        if run.path in others:
            line = f"{run.path} holds another run ({others[run.path]}); this one is {place}"
        try:
            return _start_at(place, request, start, line)
        except RunConflictError as error:
            if not os.path.lexists(place):
                raise
            more = len(error.differences) - _MOST
            others[place] = "; ".join(error.differences[:_MOST]) + (
                f"; and {more} more differences" if more > 0 else ""
            )
    raise AssertionError


def as_named(request: Request, start: Callable[[Request], Result]) -> Result:
    """Call `start` with the request as it is: its run was named by the user."""
    return start(request)


def _start_at(place: Path, request: Request, start: Callable[[Request], Result], line: str) -> Result:
    progress: Any = _Announced(request.progress, line) if line else request.progress
    moved: Any = replace(request, run=RunDirectory(place), progress=progress)  # type: ignore[type-var]
    result = start(moved)
    if line:
        progress.announce()
    return result


class _Announced:
    """A progress that shows one line before anything else; nothing is shown if nothing is done."""

    def __init__(self, progress: Progress, line: str) -> None:
        self._progress, self._line = progress, line

    def announce(self) -> None:
        line, self._line = self._line, ""
        if line:
            self._progress.note(line)

    def __getattr__(self, name: str) -> Any:
        self.announce()
        return getattr(self._progress, name)


def _places(path: Path) -> Iterator[Path]:
    """Yield NAME, NAME-2 and so on: those that exist first, then those that do not."""
    numbers = _numbers(path)
    for number in chain(numbers, (free for free in count(1) if free not in numbers)):
        yield _numbered(path, number)


def _numbers(path: Path) -> list[int]:
    pattern = re.compile(re.escape(path.name) + r"(?:-([2-9]|[1-9]\d+))?")
    try:
        matches = [pattern.fullmatch(name) for name in os.listdir(path.parent)]  # noqa: PTH208
    except OSError:
        return []
    return sorted(int(match[1] or 1) for match in matches if match)


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def _same_command(path: Path, typed: TypedOptions) -> Path:
    places = (_numbered(path, number) for number in _numbers(path))
    return next((place for place in places if typed.is_same(TypedOptions.read(RunDirectory(place).command))), path)
