"""A named file or folder inside a directory, and the error if it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.errors import RunError


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

    def __get__(self, directory: Any, owner: type) -> Path:
        """Return the path of the file in a directory, an object that has a `path`."""
        return Path(directory.path, self.name)


@dataclass(frozen=True)
class Directory:
    """A folder whose files have names that its class lists as entries; itself a path object (`os.PathLike`)."""

    path: Path

    def __init__(self, path: StrPath) -> None:
        object.__setattr__(self, "path", as_path(path, "a folder"))

    def __fspath__(self) -> str:
        return str(self.path)


@contextmanager
def reading(path: Path, hint: str | None = None) -> Iterator[None]:
    """Raise RunError if `path` is missing, or its content cannot be decoded, in the block."""
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint=hint) from None
