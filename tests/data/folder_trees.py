"""Folders of empty image files, to test how their layout is read."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from transfer_cli.data.image_folder import ImageFolder


def paths(form: str, *names: list[str]) -> list[str]:
    """Return a path for each combination of names: ``paths("{}/{}/1.jpg", ["a", "b"], ["x"])``."""
    return [form.format(*chosen) for chosen in product(*names)]


def touch(root: Path, *files: str) -> Path:
    """Write empty files and return their folder."""
    for path in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def parts_of(folder: ImageFolder) -> dict[str, set[str | None]]:
    """Return the parts of the images of each class."""
    parts: dict[str, set[str | None]] = {name: set() for name in folder.class_names}
    for file in folder.files:
        parts[file.labels[0]].add(file.part)
    return parts
