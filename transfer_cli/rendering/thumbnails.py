"""The pictures of a page: each once, small, until the page is full."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering.html import SIDE, thumbnails

ROOM = 9_000_000
"""Bytes of a page that its pictures may take."""
_AT_A_TIME = 64


class ThumbnailStore:
    """Thumbnails, as many as there is room for.

    Attributes
    ----------
    gone : set of str
        Pictures that cannot be read any more.

    Parameters
    ----------
    root : Path
        What paths are relative to.
    room : int
        Bytes that all of them may take.
    side : int
        Of the longer side of each, in pixels.
    """

    def __init__(self, root: Path, room: int = ROOM, side: int = SIDE) -> None:
        self._root, self._room, self._side = root, room, side
        self._kept: dict[str, str] = {}
        self.gone: set[str] = set()

    def lay(self, paths: Iterable[str], progress: Progress = SILENT) -> None:
        """Take in some pictures, the most important first, as long as there is room."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._kept and path not in self.gone]
        with progress.track("reading pictures for the page", len(wanted)) as advance:
            for at in range(0, len(wanted), _AT_A_TIME):
                if self._room <= 0:
                    return
                for path, uri in thumbnails(wanted[at : at + _AT_A_TIME], self._root, self._side).items():
                    if uri is None:
                        self.gone.add(path)
                    else:
                        self._kept[path] = uri
                        self._room -= len(uri)
                    advance(1)

    def __getitem__(self, path: str) -> str | None:
        """Return the data URI of a picture, or None where there is none."""
        return self._kept.get(path)

    def __len__(self) -> int:
        """Return how many pictures are kept."""
        return len(self._kept)
