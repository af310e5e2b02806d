"""Find image files on disk, and leave out folders that never hold images of the user."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from transfer_cli.errors import FolderError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Folders that file managers, archives and network drives create.
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


def expand_paths(paths: Iterable[str]) -> Iterator[str]:
    """Yield files in input order: each file as given, each folder's images sorted by path.

    A path that is not a folder is yielded even if it does not exist; the decoder reports it. Only the names of one
    folder are in memory at a time.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112
            yield from sorted(os.path.join(path, image) for image in walk_images(Path(path), Counter()))  # noqa: PTH118
        else:
            yield path


def require_paths(paths: Iterable[str]) -> Iterator[str]:
    """Return `paths` after a look at the first; raise FolderError if there is none."""
    rest = iter(paths)
    for first in rest:
        return chain([first], rest)
    raise FolderError("No images found. Expected image files, folders of images, or - for paths on stdin.")


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def file_type(name: str) -> str:
    """Return the name of a file's type for a count: ".txt files"."""
    return f"{Path(name).suffix.lower() or 'nameless'} files"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or belongs to the system."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def walk_images(directory: Path, left_out: Counter[str]) -> Iterator[str]:
    """Yield the image files below a folder, relative to it; links are followed, each folder once."""
    visited: set[str] = set()
    stack = [""]
    while stack:
        inside = stack.pop()
        current = directory / inside
        real = os.path.realpath(current)
        if real in visited:
            continue
        visited.add(real)
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
                left_out[file_type(entry.name)] += 1
