"""Files on disk: which of them are pictures, and which folders are not worth a look."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from transfer_cli.errors import FolderError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Folders that file managers, archives and network drives leave behind.
_LITTER = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


def walk_paths(paths: Iterable[str]) -> Iterator[str]:
    """Yield files in input order: each path as it was given, each folder's images sorted by path.

    A path that is no folder is yielded whether it exists or not, so that its reader can say why it cannot be
    read. Nothing is held in memory beyond one folder's names.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112
            yield from sorted(os.path.join(path, image) for image in walk(Path(path), Counter()))  # noqa: PTH118
        else:
            yield path


def at_least_one(paths: Iterable[str]) -> Iterator[str]:
    """Return `paths`, having looked at the first; raise FolderError when there is none."""
    rest = iter(paths)
    for first in rest:
        return chain([first], rest)
    raise FolderError(
        "There is no picture to be read. Expected pictures, folders of pictures, or - for paths on stdin."
    )


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def kind(name: str) -> str:
    """Return what a file that is no picture is called in a count."""
    return f"{Path(name).suffix.lower() or 'nameless'} files"


def is_hidden(name: str) -> bool:
    """Return whether a name is one that nobody gave to pictures."""
    return name.startswith(".") or name in _LITTER


def walk(directory: Path, left_out: Counter[str]) -> Iterator[str]:
    """Yield the image files below a directory, relative to it; links are followed, loops are not."""
    seen: set[str] = set()
    stack = [""]
    while stack:
        inside = stack.pop()
        current = directory / inside
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(current))
        except OSError:
            left_out[f"folder without permission to read ({current.name})"] += 1
            continue
        for entry in entries:
            if is_hidden(entry.name):
                left_out["hidden"] += 1
            elif is_dir(entry):
                stack.append(f"{inside}{entry.name}/")
            elif entry.name.lower().endswith(SUFFIXES):
                yield f"{inside}{entry.name}"
            else:
                left_out[kind(entry.name)] += 1
