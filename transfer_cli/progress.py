"""Progress of long work: the interface that functions report to, and one that ignores everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receives progress, notes and warnings of a function while it runs."""

    def track(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Start a task of `total` steps (None: unknown); yield a function that reports n finished steps."""

    def note(self, message: str) -> None:
        """Report one line of information."""

    def warn(self, message: str) -> None:
        """Report one line about a possible problem with the result."""


class Silent:
    """Ignores everything."""

    def __repr__(self) -> str:
        return "SILENT"

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda count: None

    def note(self, message: str) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Do nothing."""


SILENT = Silent()


@dataclass(frozen=True)
class StepsOnly:
    """Shows how far the steps of a longer work are, and ignores their notes and warnings.

    Attributes
    ----------
    progress : Progress
        Shows the steps.
    """

    progress: Progress

    def track(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Start a task as `progress` does."""
        return self.progress.track(description, total)

    def note(self, message: str) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class WithoutNotes:
    """Shows steps and warnings, and ignores notes.

    Attributes
    ----------
    progress : Progress
        Shows them.
    """

    progress: Progress

    def track(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Start a task as `progress` does."""
        return self.progress.track(description, total)

    def note(self, message: str) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Report one line as `progress` does."""
        self.progress.warn(message)
