"""A folder of images: its files in a fixed order, their class names, and their part if the layout says it."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data import csv_manifest
from transfer_cli.data.csv_manifest import ImageFile as ImageFile
from transfer_cli.errors import FolderError, nearest
from transfer_cli.io.discovery import SUFFIXES, file_type, is_dir, is_hidden, walk_images

PART_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_LAYOUT = (
    "Expected FOLDER/CLASS/image.jpg with at least two classes, or FOLDER/train/CLASS/image.jpg beside "
    "FOLDER/test/CLASS/."
)
_LOOSE = "images outside a class folder"


@dataclass(frozen=True)
class ImageFolder:
    """The images and classes of a folder.

    Attributes
    ----------
    root : Path
        Folder that paths are relative to.
    files : tuple of ImageFile
        Sorted by path.
    class_names : tuple of str
        Sorted by name, numbers by value (2 before 10).
    left_out : mapping of str to int
        Number of files or folders that were left out, by reason.
    source : Path
        The folder, or the CSV file that lists its images.
    task : str
        A row of `catalog.tasks`.
    """

    root: Path
    files: tuple[ImageFile, ...]
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]
    source: Path
    task: Task = SINGLE_LABEL

    @classmethod
    def scan(cls, source: Path, *, for_training: bool = True) -> ImageFolder:
        """Return the images in a folder, or those that a CSV file lists.

        Classes are the sub-folders, or the sub-folders of ``train``, ``val`` (``valid``, ``validation``) and ``test``.
        Images in deeper folders belong to the class folder above them. A CSV file (see `csv_manifest.read`), or a
        ``labels.csv`` in the folder, gives labels and parts instead; its paths are relative to its own folder.

        Parameters
        ----------
        source : Path
        for_training : bool
            Require at least two classes, each with training images.

        Raises
        ------
        FolderError
            If `source` is neither a folder of images in class folders nor a CSV file that lists images.
        """
        if source.suffix.lower() == ".csv" and source.is_file():
            return cls._from_csv(source, source, Counter(), for_training)
        root = source
        _check_is_folder(root)
        left_out: Counter[str] = Counter()
        if (table := root / csv_manifest.LABELS_FILE).is_file():
            if csv_manifest.has_manifest_columns(table) or not _folders(root, Counter()):
                return cls._from_csv(table, root, left_out, for_training)
            left_out[f"{table.name}, which has other columns than {csv_manifest.COLUMNS}"] += 1
        files: list[ImageFile] = []
        names: set[str] = set()
        for part, class_name, directory in _class_folders(root, left_out, for_training):
            images = list(walk_images(directory, left_out))
            inside = directory.relative_to(root).as_posix()
            if images:
                names.add(class_name)
            else:
                left_out[f"folder without images ({inside})"] += 1
            files += [ImageFile(f"{inside}/{image}", (class_name,), part) for image in images]
        files.sort(key=lambda file: file.path)
        _check_classes(root, files, names, left_out, for_training)
        return cls(root, tuple(files), sort_class_names(names), dict(left_out), root)

    @classmethod
    def _from_csv(cls, table: Path, source: Path, left_out: Counter[str], for_training: bool) -> ImageFolder:
        root = table.parent
        task, files = csv_manifest.read(table, PART_FOLDERS, left_out)
        files.sort(key=lambda file: file.path)
        if source == root:
            images = set(walk_images(root, Counter()))
            left_out[f"images that {table.name} does not list"] += len(images - {file.path for file in files})
        names = {label for file in files for label in file.labels}
        if not files or not any((root / file.path).exists() for file in files):
            example = f" Received: {files[0].path}, and there is no {root / files[0].path}." if files else ""
            raise FolderError(
                f"{table} lists {len(files)} images, and none of them exists. Expected paths relative to "
                f"{root.resolve()}.{example}"
            )
        if for_training:
            if len(names) < 2:
                raise FolderError(f"{table} has {len(names)} class. Expected at least two classes.")
            _check_training_images(files, names, table)
        return cls(root, tuple(files), sort_class_names(names), dict(+left_out), source, task)

    @property
    def name(self) -> str:
        """Default name of a run on these images."""
        path = self.source.resolve()
        return (path.name if self.source == self.root else path.stem) or "images"

    def summary(self) -> str:
        """Return one line about the images and classes."""
        counts = Counter(label for file in self.files for label in file.labels)
        classes = ", ".join(f"{name} {counts[name]}" for name in self.class_names[:20])
        more = ", ..." if len(self.class_names) > 20 else ""
        noun = "classes" if self.task == SINGLE_LABEL else "labels (any number per image)"
        return f"{len(self.files)} images, {len(self.class_names)} {noun}: {classes}{more}"

    def warnings(self) -> list[str]:
        """Return a warning if folders named like parts were read as classes."""
        parts = [name for name in self.class_names if name.lower() in PART_FOLDERS]
        if self.source.is_dir() and parts and self.files[0].part is None:
            return [
                f"{', '.join(parts)} is used as a class name; for a train/test split, put one sub-folder per class "
                "into each of the folders train and test"
            ]
        return []


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return unique class names in their order: numbers by value first, then the others by name.

    Examples
    --------
    >>> sort_class_names(["10", "cat", "2"])
    ('2', '10', 'cat')
    """

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if name.isdecimal() else (1, 0, name)

    return tuple(sorted(set(names), key=key))


def describe_left_out(left_out: Mapping[str, int]) -> str | None:
    """Return one line about the files that a scan left out, or None if there are none."""
    if not left_out:
        return None
    return "left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))


def _check_is_folder(root: Path) -> None:
    if root.is_dir():
        if not os.access(root, os.R_OK | os.X_OK):
            raise FolderError(f"{root} cannot be read: no permission.")
        return
    if root.exists():
        raise FolderError(
            f"{root} is a file. {_LAYOUT} Or a CSV file with the columns {csv_manifest.COLUMNS}.",
            hint="To classify single images with a trained model: transfer-cli predict RUN IMAGE",
        )
    siblings = os.scandir(root.parent) if root.parent.is_dir() else ()
    near = nearest(root.name, [entry.name for entry in siblings if is_dir(entry)])
    guess = f" Did you mean {root.parent / near}?" if near else ""
    raise FolderError(f"There is no folder {root}.{guess} {_LAYOUT}")


def _class_folders(root: Path, left_out: Counter[str], for_training: bool) -> list[tuple[str | None, str, Path]]:
    """Return (part or None, class name, directory) of each class folder."""
    tops = _folders(root, left_out)
    parts = {top: PART_FOLDERS[top.name.lower()] for top in tops if top.name.lower() in PART_FOLDERS and _is_part(top)}
    only_parts = bool(parts) and len(parts) == len(tops)
    if "train" not in parts.values() and (for_training or not only_parts):
        # Without a train folder, "test" or "val" is a class like any other, unless there is nothing else.
        if only_parts:
            names = ", ".join(sorted(top.name for top in parts))
            raise FolderError(f"{root} has {names} but no train folder. {_LAYOUT}")
        return [(None, _class_name(top), top) for top in tops]
    for top in tops:
        if top not in parts:
            left_out[f"folder beside train ({top.name})"] += 1
    return [
        (part, _class_name(directory), directory)
        for top, part in parts.items()
        for directory in _folders(top, left_out)
    ]


def _is_part(directory: Path) -> bool:
    """Return whether a folder holds class folders; a class that is called train holds images."""
    entries = [entry for entry in os.scandir(directory) if not is_hidden(entry.name)]
    has_image = any(entry.name.lower().endswith(SUFFIXES) and not is_dir(entry) for entry in entries)
    return not has_image and any(map(is_dir, entries))


def _folders(directory: Path, left_out: Counter[str]) -> list[Path]:
    folders = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if is_hidden(entry.name):
            left_out["hidden"] += 1
        elif is_dir(entry):
            folders.append(Path(entry.path))
        else:
            left_out[_LOOSE if entry.name.lower().endswith(SUFFIXES) else file_type(entry.name)] += 1
    return folders


def _class_name(directory: Path) -> str:
    # File systems store an accented letter in different ways; it must be one class on all of them.
    return unicodedata.normalize("NFC", directory.name)


def _check_classes(
    root: Path, files: list[ImageFile], names: set[str], left_out: Counter[str], for_training: bool
) -> None:
    if not files:
        loose = left_out[_LOOSE]
        content = f"{loose} images directly in it and no class folder" if loose else "no image"
        raise FolderError(f"{root} has {content}. {_LAYOUT}", hint=f"Images are files with {', '.join(SUFFIXES)}.")
    if not for_training:
        return
    if len(names) == 1:
        (only,) = names
        inner = _folders(root / only, Counter()) if (root / only).is_dir() else []
        hint = f"Did you mean {root / only}? It has {len(inner)} sub-folders." if len(inner) > 1 else None
        raise FolderError(f"{root} has only one class ({only}). {_LAYOUT}", hint=hint)
    _check_training_images(files, names, root)


def _check_training_images(files: Sequence[ImageFile], names: set[str], source: Path) -> None:
    """Raise FolderError if a class has no training image; an image without a part may become one."""
    train = {label for file in files if file.part in ("train", None) for label in file.labels}
    if names - train:
        raise FolderError(
            f"{source} has classes without training images: {', '.join(sort_class_names(names - train))}. "
            f"Expected the class names of train: {', '.join(sort_class_names(train))}."
        )
