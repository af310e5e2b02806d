"""How long work tells that it goes on, without knowing whether anybody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """What a function of the engine may say while it works."""

    def track(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Open a task of `total` steps (None: unknown); yield the function that reports n more."""

    def note(self, message: str) -> None:
        """Say one line that a person who waits wants to know."""

    def warn(self, message: str) -> None:
        """Say one line about something that may spoil the result."""


class Silent:
    """A progress that nobody sees."""

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda count: None

    def note(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Say nothing."""


SILENT = Silent()
