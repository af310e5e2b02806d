"""Paths as a table writes them, and as the file system spells them."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from transfer_cli.io.discovery import SUFFIXES


def composed(text: str) -> str:
    """Return a text with composed accents (NFC); file systems and programs write an accented letter in two ways."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class PathSpelling:
    """Finds the images of a table below a folder.

    Parameters
    ----------
    root : Path
        Folder that relative paths start from.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = root.absolute().as_posix() + "/"
        self._names = cache(self._names_in)

    def find(self, text: str) -> str:
        """Return a path in its normal form, relative to the root if it is below it; empty if the text is blank.

        If no file has this name, but one whose accents are composed in another way, its name is returned.
        """
        text = text.strip().replace("\\", "/")
        if not text:
            return ""
        name = posixpath.normpath(text).removeprefix(self._prefix)
        return name if name.isascii() or (self._root / name).exists() else self._spelled(name) or name

    def _spelled(self, name: str) -> str | None:
        """Return the path whose parts have the same composed form, or None."""
        found = "/" if name.startswith("/") else ""
        for part in name.strip("/").split("/"):
            actual = part if part == ".." else self._names(found).get(composed(part))
            if actual is None:
                return None
            found = posixpath.join(found, actual)
        return found

    def _names_in(self, inside: str) -> dict[str, str]:
        try:
            return {composed(name): name for name in os.listdir(self._root / inside)}  # noqa: PTH208
        except OSError:
            return {}


def likely_path(root: Path, path: str) -> str:
    """Return what to do if there is no image of this path: one without its ending, in another case, or elsewhere."""
    wanted, folder = (root / path).name.lower(), (root / path).parent
    names = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
    for name in names:
        if name.lower() == wanted or (name.lower().endswith(SUFFIXES) and Path(name).stem.lower() == wanted):
            return f"The file is called {name}: write its whole name into the table, in the same case."
    return "If the images are in another folder: --images DIR"


def known_paths(known: Iterable[str], root: Path, *beside: Path) -> Callable[[str], str]:
    """Return the function that gives the path of an image in a folder for a cell, or the cell.

    Parameters
    ----------
    known : iterable of str
        The paths of the images, relative to `root`.
    root : Path
    *beside : Path
        Other folders that a cell may be relative to, such as that of the table.
    """
    spelled = {composed(name): name for name in known}
    prefix = posixpath.normpath(root.absolute().as_posix()) + "/"
    folders = [folder.absolute().as_posix() for folder in beside]

    def find(cell: str) -> str:
        text = cell.strip().replace("\\", "/")
        inside = (posixpath.normpath(posixpath.join(folder, text)) for folder in folders)
        for candidate in (cell, posixpath.normpath(text), *inside):
            if (found := spelled.get(composed(candidate.removeprefix(prefix)))) is not None:
                return found
        return text

    return find
