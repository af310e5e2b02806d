"""A disk that loses what was not flushed: it records each fsync, and gives what is left after a power cut."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Disk:
    """What was flushed, by the number of the file or folder.

    Attributes
    ----------
    root : Path
        The folder on this disk.
    content : dict of int to bytes
        Content of each file when it was last flushed.
    names : dict of int to dict of str to int
        Names in each folder when it was last flushed, and what they are the names of.
    cuts : list
        The state after each flush, and all names at that moment.
    """

    root: Path
    content: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    cuts: list[tuple[dict[int, bytes], dict[int, dict[str, int]], dict[int, dict[str, int]]]] = field(
        default_factory=list
    )
    _open: list[int] = field(default_factory=list)

    def flushed(self, number: int) -> None:
        """Record an fsync."""
        status = os.fstat(number)
        path = Path(f"/proc/self/fd/{number}").readlink()
        if not path.is_relative_to(self.root):
            return
        # A file that stays open keeps its number, which would be used again otherwise.
        self._open.append(os.dup(number))
        if stat.S_ISDIR(status.st_mode):
            self.names[status.st_ino] = names_in(path)
        else:
            self.content[status.st_ino] = path.read_bytes() if path.exists() else b""
        folders = (Path(place) for place, _, _ in os.walk(self.root))
        at_once = {folder.stat().st_ino: names_in(folder) for folder in folders}
        self.cuts.append((dict(self.content), dict(self.names), at_once))

    def after_cut(self, cut: int, target: Path, *, names_at_once: bool) -> Path:
        """Write what is left after one of the cuts to the folder `target`.

        A file system may write names at once or only when their folder is flushed; content is there only if it was
        flushed.
        """
        content, flushed, at_once = self.cuts[cut]
        self._write(self.root.stat().st_ino, target, content, at_once if names_at_once else flushed)
        return target

    def _write(self, folder: int, target: Path, content: dict[int, bytes], names: dict[int, dict[str, int]]) -> None:
        target.mkdir()
        for name, number in names.get(folder, {}).items():
            if name.endswith("/"):
                self._write(number, target / name, content, names)
            else:
                (target / name).write_bytes(content.get(number, b""))

    def close(self) -> None:
        for number in self._open:
            os.close(number)


def names_in(folder: Path) -> dict[str, int]:
    """Return the names in a folder, those of folders with a slash at the end."""
    with os.scandir(folder) as entries:
        return {entry.name + "/" * entry.is_dir(follow_symlinks=False): entry.inode() for entry in entries}


@contextmanager
def recorded(root: Path) -> Iterator[Disk]:
    """Record what is flushed to the disk below `root` while the block runs."""
    disk, fsync = Disk(root.resolve()), os.fsync
    root.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:

        def recording(number: int) -> None:
            fsync(number)
            disk.flushed(number)

        patch.setattr(os, "fsync", recording)
        try:
            yield disk
        finally:
            patch.undo()
            disk.close()
