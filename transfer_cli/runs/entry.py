"""A named file or folder inside a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, overload


class _Directory(Protocol):
    @property
    def path(self) -> Path:
        """The directory."""


class Entry:
    """The name of a file or folder; as a class attribute it gives the path of that file, ``run.metrics``.

    Parameters
    ----------
    name : str
    is_result : bool
        Whether a new run in the same place removes it.
    """

    def __init__(self, name: str, *, is_result: bool = True) -> None:
        self.name, self.is_result = name, is_result

    @overload
    def __get__(self, directory: None, owner: type) -> Self: ...
    @overload
    def __get__(self, directory: _Directory, owner: type) -> Path: ...
    def __get__(self, directory: _Directory | None, owner: type) -> Self | Path:
        """Return the path of the file in a directory; of the class, the entry itself."""
        return self if directory is None else directory.path / self.name
