"""A folder of images: which files belong to it, in which order, under which class names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data import csv_manifest
from transfer_cli.errors import FolderError, nearest
from transfer_cli.io.discovery import SUFFIXES, is_dir, is_hidden, kind, walk

PARTS = ("train", "val", "test")
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
    "Expected FOLDER/CLASS/picture.jpg with two classes or more, "
    "or FOLDER/train/CLASS/picture.jpg beside FOLDER/test/CLASS/."
)


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder.

    Attributes
    ----------
    path : str
        Path relative to the folder's root, with forward slashes.
    labels : tuple of str
        Its classes: one for a single-label task, several or none for a multi-label task.
    part : str or None
        ``train``, ``val`` or ``test`` where the folder's layout says it.
    """

    path: str
    labels: tuple[str, ...]
    part: str | None = None


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder in their order, and the classes in theirs.

    Attributes
    ----------
    root : Path
        What paths are relative to.
    files : tuple of ImageFile
        Sorted by path.
    class_names : tuple of str
        Sorted by name, numbers by value (2 before 10).
    left_out : mapping of str to int
        How many files or folders were left out, by reason.
    source : Path
        The folder, or the CSV file that lists its pictures.
    task : str
        A row of catalog.tasks.
    """

    root: Path
    files: tuple[ImageFile, ...]
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]
    source: Path
    task: Task = SINGLE_LABEL

    @classmethod
    def scan(cls, source: Path, *, learns: bool = True) -> ImageFolder:
        """Return the images below a folder, or those that a CSV file lists.

        Classes are the sub-folders, or the sub-folders of ``train``, ``val`` (``valid``, ``validation``)
        and ``test``. Images in deeper folders belong to the class above them. A CSV file (see manifest.read), or
        ``labels.csv`` in the folder, says labels and parts instead; paths in it are relative to where it lies.

        Parameters
        ----------
        source : Path
        learns : bool
            Whether something is to be learnt from it: two classes or more, each of them in ``train`` where there are
            parts.

        Raises
        ------
        FolderError
            When `source` is not a folder of at least two classes with images, nor a CSV file that lists such.
        """
        if source.suffix.lower() == ".csv" and source.is_file():
            return cls._listed(source, source, Counter(), learns)
        root = source
        _must_be_folder(root)
        left_out: Counter[str] = Counter()
        if (table := root / csv_manifest.IN_FOLDER).is_file():
            if csv_manifest.is_ours(table) or not _folders(root, Counter()):
                return cls._listed(table, root, left_out, learns)
            left_out[f"{table.name}, which has other columns than {csv_manifest.COLUMNS}"] += 1
        layout = _layout(root, left_out, learns)
        files: list[ImageFile] = []
        names: set[str] = set()
        for part, class_name, directory in layout:
            images = list(walk(directory, left_out))
            if not images:
                left_out[f"folder without pictures ({directory.relative_to(root).as_posix()})"] += 1
            if images:
                names.add(class_name)
            inside = directory.relative_to(root).as_posix()
            files += [ImageFile(f"{inside}/{image}", (class_name,), part) for image in images]
        files.sort(key=lambda file: file.path)
        _must_have_classes(root, files, names, left_out, learns)
        return cls(root, tuple(files), sort_class_names(names), dict(left_out), root)

    @classmethod
    def _listed(cls, table: Path, source: Path, left_out: Counter[str], learns: bool) -> ImageFolder:
        """Return the images that a CSV file lists."""
        listed = csv_manifest.read(table, PART_FOLDERS)
        root = table.parent
        files = [ImageFile(row.path, row.labels, row.part) for row in listed.rows]
        if listed.without_label:
            left_out["without a label"] += listed.without_label
        if source == root:
            known = {file.path for file in files}
            left_out[f"pictures that are not in {table.name}"] += sum(
                path not in known for path in walk(root, Counter())
            )
        files.sort(key=lambda file: file.path)
        names = {label for file in files for label in file.labels}
        if not files or not any((root / file.path).exists() for file in files):
            example = f" Received: {files[0].path}, and there is no {root / files[0].path}." if files else ""
            raise FolderError(
                f"{table} lists {len(files)} pictures, and none of them is there. Expected paths relative to "
                f"{root.resolve()}.{example}"
            )
        if learns and len(names) < 2:
            raise FolderError(f"{table} names {len(names)} classes; a classifier needs two or more.")
        if learns:
            _must_be_learnt(files, names, table)
        return cls(root, tuple(files), sort_class_names(names), dict(+left_out), source, listed.task)

    @property
    def name(self) -> str:
        """What a run of these pictures is called after."""
        named = self.source.resolve()
        return (named.name if self.source == self.root else named.stem) or "images"

    def summary(self) -> str:
        """Return one line about what was found."""
        counts = Counter(label for file in self.files for label in file.labels)
        classes = ", ".join(f"{name} {counts[name]}" for name in self.class_names[:20])
        more = ", ..." if len(self.class_names) > 20 else ""
        what = "classes" if self.task == SINGLE_LABEL else "labels, any number a picture"
        return f"{len(self.files)} pictures of {len(self.class_names)} {what}: {classes}{more}"

    def warnings(self) -> list[str]:
        """Return what looks as if the folder were laid out otherwise than its owner thinks."""
        parts = [name for name in self.class_names if name.lower() in PART_FOLDERS]
        if self.source.is_dir() and parts and self.files[0].part is None:
            return [
                f"{', '.join(parts)} is taken for a class: expected train and test, each with one sub-folder a class"
            ]
        return []


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names in their order: numbers by value first, then the others by name.

    Examples
    --------
    >>> sort_class_names(["10", "cat", "2"])
    ('2', '10', 'cat')
    """

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if name.isdecimal() else (1, 0, name)

    return tuple(sorted(set(names), key=key))


def describe_left_out(left_out: Mapping[str, int]) -> str | None:
    """Return one line about what a scan left out, or None if it took everything."""
    if not left_out:
        return None
    return "left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))


def _must_be_folder(root: Path) -> None:
    if root.is_dir():
        if not os.access(root, os.R_OK | os.X_OK):
            raise FolderError(f"{root} cannot be read: no permission.")
        return
    if root.exists():
        raise FolderError(
            f"{root} is a file. {_LAYOUT} Or a CSV file with the columns {csv_manifest.COLUMNS}.",
            hint="To classify single pictures with a finished classifier: transfer-cli predict RUN PICTURE",
        )
    near = _nearest_sibling(root)
    guess = f" Did you mean {near}?" if near else ""
    raise FolderError(f"There is no folder {root}.{guess} {_LAYOUT}")


def _nearest_sibling(root: Path) -> Path | None:
    if not root.parent.is_dir():
        return None
    near = nearest(root.name, [entry.name for entry in os.scandir(root.parent) if is_dir(entry)])
    return root.parent / near if near else None


def _layout(root: Path, left_out: Counter[str], learns: bool) -> list[tuple[str | None, str, Path]]:
    """Return (part or None, class name, directory) of each class folder."""
    tops = _folders(root, left_out)
    parts = {top: PART_FOLDERS[top.name.lower()] for top in tops if top.name.lower() in PART_FOLDERS and _is_part(top)}
    only_parts = bool(parts) and len(parts) == len(tops)
    if "train" not in parts.values() and (learns or not only_parts):
        # Without a train part, "test" or "val" is a class like any other, unless there is nothing else.
        if only_parts:
            raise FolderError(
                f"{root} has {', '.join(sorted(top.name for top in parts))} but no train folder. {_LAYOUT}"
            )
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
    """Return whether a folder is a part, which holds class folders; a class called train holds pictures."""
    has_folder = False
    for entry in list(os.scandir(directory)):
        if is_dir(entry) and not is_hidden(entry.name):
            has_folder = True
        elif not is_hidden(entry.name) and entry.name.lower().endswith(SUFFIXES):
            return False
    return has_folder


def _folders(directory: Path, left_out: Counter[str]) -> list[Path]:
    folders = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if is_hidden(entry.name):
            left_out["hidden"] += 1
        elif is_dir(entry):
            folders.append(Path(entry.path))
        elif entry.name.lower().endswith(SUFFIXES):
            left_out["pictures outside a class folder"] += 1
        else:
            left_out[kind(entry.name)] += 1
    return folders


def _class_name(directory: Path) -> str:
    # File systems differ in how they write an accent; a class must be one class on all of them.
    return unicodedata.normalize("NFC", directory.name)


def _must_have_classes(
    root: Path, files: list[ImageFile], names: set[str], left_out: Counter[str], learns: bool
) -> None:
    if not files:
        loose = left_out["pictures outside a class folder"]
        found = f"{loose} pictures directly in it and no class folder" if loose else "no picture"
        raise FolderError(
            f"{root} has {found}. {_LAYOUT}",
            hint=f"Pictures are files ending in {', '.join(SUFFIXES)}.",
        )
    if not learns:
        return
    if len(names) == 1:
        (only,) = names
        inner = [path.name for path in _folders(root / only, Counter())] if (root / only).is_dir() else []
        hint = f"Did you mean {root / only}? It has {len(inner)} sub-folders." if len(inner) > 1 else None
        raise FolderError(f"{root} has one class only ({only}); a classifier needs two or more. {_LAYOUT}", hint=hint)
    _must_be_learnt(files, names, root)


def _must_be_learnt(files: Sequence[ImageFile], names: set[str], source: Path) -> None:
    """Raise FolderError where parts are given and a class has none to learn from."""
    # A picture without a part is learnt from where others have one.
    train = {label for file in files if file.part in ("train", None) for label in file.labels}
    if names - train:
        raise FolderError(
            f"{source} has classes without training pictures: {', '.join(sort_class_names(names - train))}. "
            f"Expected the class names of train: {', '.join(sort_class_names(train))}."
        )
