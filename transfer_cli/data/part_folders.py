"""The layout of an image folder: its sub-folders are classes, or the parts train, val and test with class folders."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transfer_cli.data.part_names import PartName, is_exact, is_generic, is_unlabelled, part_name, with_test
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import SUFFIXES, UNREADABLE, file_type, is_dir, is_hidden, walk_images
from transfer_cli.text import counted, listed, shell_command

LAYOUT = (
    "Expected FOLDER/CLASS/image.jpg with at least two classes, or FOLDER/train/CLASS/image.jpg beside "
    "FOLDER/test/CLASS/."
)
_MAX_WRAPPERS = 3
"""A link may lead back to the folder that it is in."""
LOOSE = "images outside a class folder"


class ClassFolder(NamedTuple):
    """A folder of images of one class; `part` is None if the layout does not say it."""

    part: str | None
    name: str
    path: Path


def class_folders(
    root: Path, left_out: Counter[str], *, for_training: bool = True
) -> tuple[list[ClassFolder], list[str]]:
    """Return the class folders of an image folder, and warnings about images that have no class.

    Sub-folders called train, val or test that hold folders are parts. Other names with these words (``training_set``,
    ``seg_train``, ``Test_Images``) are parts if both hold the same class folders, or if there is nothing else.

    Parameters
    ----------
    root : Path
    left_out : Counter
        Files and folders that are left out are counted here, by reason.
    for_training : bool
        Require a train folder where there is another part.

    Raises
    ------
    FolderError
        If it is not clear whether folders are parts or classes, or the images of a part have no classes.
    """
    tops = visible_folders(root, left_out)
    part_names = with_test({path.name: name for path in tops if (name := part_name(path.name))})
    named = [_PartFolder.read(path, part_names[path.name]) for path in tops if path.name in part_names]
    unnamed = [path for path in tops if part_name(path.name) is None]
    _check_not_flat(root, named, unnamed)
    parts = _find_parts(named, unnamed)
    if "train" not in {top.part for top in parts} and (for_training or not parts or len(parts) < len(tops)):
        if parts and len(parts) == len(tops):
            names = ", ".join(sorted(top.path.name for top in parts))
            raise FolderError(
                f"{root} has {names} but no train folder. {LAYOUT}",
                hint=f"To train on these images, give a folder that has class folders: {parts[0].inner}",
            )
        # Without a train folder, "test" or "val" is a class like any other, unless there is nothing else.
        return [ClassFolder(None, class_name(path), path) for path in tops], []
    if {top.part for top in named} == {"train"} and (beside := _with_images(unnamed)):
        if any(top.images for top in parts):
            return [ClassFolder(None, class_name(path), path) for path in tops], []
        _raise_train_or_class(root, parts, beside)
    warnings = _leave_out_beside(tops, named, parts, left_out)
    known = {name for top in parts if top.part == "train" for name in top.class_names}
    found: list[ClassFolder] = []
    for top in parts:
        _check_few_strays(top)
        for path in top.visible(left_out):
            if top.part != "train" and known and class_name(path) not in known and _has_no_class(path.name):
                warnings += _without_class(path)
            else:
                found.append(ClassFolder(top.part, class_name(path), path))
    return found, warnings


def class_name(directory: Path) -> str:
    """Return the name of a class folder, the same on all file systems: they store accented letters differently."""
    # Under a locale without UTF-8 the name has the same bytes, but is other text.
    return unicodedata.normalize("NFC", os.fsencode(directory.name).decode("utf-8", "surrogateescape"))


def visible_folders(directory: Path, left_out: Counter[str]) -> list[Path]:
    """Return the folders in a folder, sorted; hidden ones and files are counted as left out."""
    folders = []
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except PermissionError:
        left_out[f"{UNREADABLE} ({directory.name})"] += 1
        return []
    for entry in entries:
        if is_hidden(entry.name):
            left_out["hidden"] += 1
        elif is_dir(entry):
            folders.append(Path(entry.path))
        else:
            left_out[LOOSE if entry.name.lower().endswith(SUFFIXES) else file_type(entry.name)] += 1
    return folders


@dataclass(frozen=True)
class _PartFolder:
    """A sub-folder that is called after a part.

    Attributes
    ----------
    path : Path
    name : PartName
    inner : Path
        The folder in which the class folders are: `path`, or the only folder in it (train/train/CLASS).
    folders : tuple of Path
        The folders in `inner`.
    images : int
        Number of images beside the class folders.
    """

    path: Path
    name: PartName
    inner: Path
    folders: tuple[Path, ...]
    images: int

    @classmethod
    def read(cls, path: Path, name: PartName) -> _PartFolder:
        inner, (folders, images) = path, _listing(path)
        for _ in range(_MAX_WRAPPERS):
            if len(folders) != 1 or not _is_wrapper(folders[0], inner, name):
                break
            below, inside = _listing(folders[0])
            if not below:
                break
            inner, folders, images = folders[0], below, images + inside
        return cls(path, name, inner, tuple(folders), images)

    @property
    def part(self) -> str:
        return self.name.part

    @property
    def class_names(self) -> set[str]:
        return {class_name(path) for path in self.folders}

    def visible(self, left_out: Counter[str]) -> list[Path]:
        """Return the folders in `inner`, and count what is left out around them."""
        path = self.path
        while path != self.inner:
            (path,) = visible_folders(path, left_out)
        return visible_folders(path, left_out)


def _listing(directory: Path) -> tuple[list[Path], int]:
    left_out: Counter[str] = Counter()
    return visible_folders(directory, left_out), left_out[LOOSE]


def _is_wrapper(folder: Path, around: Path, name: PartName) -> bool:
    inside = part_name(folder.name)
    is_same_part = inside is not None and inside.part == name.part
    return is_same_part or folder.name.casefold() == around.name.casefold() or is_generic(folder.name)


def _find_parts(named: Sequence[_PartFolder], unnamed: Sequence[Path]) -> list[_PartFolder]:
    """Return the folders that are parts: of those that are called after one, those with enough evidence."""
    holders = [top for top in named if top.folders]
    is_rest_empty = not _with_images(unnamed)
    if _is_one_split(named) and is_rest_empty and any(top.part == "train" for top in holders):
        return holders
    parts = [top for top in holders if is_exact(top.path.name) or _shares_classes(top, holders)]
    # train beside public_test: the other word has no counterpart, but the classes are the same.
    found, trained = (
        {top.part for top in parts},
        {name for top in parts if top.part == "train" for name in top.class_names},
    )
    return parts + [top for top in holders if top.part not in found and top.class_names & trained]


def _is_one_split(tops: Sequence[_PartFolder]) -> bool:
    """Return whether folders are called after several parts and have no other word that differs."""
    return len({top.part for top in tops}) > 1 and len({top.name.rest for top in tops}) == 1


def _shares_classes(top: _PartFolder, holders: Sequence[_PartFolder]) -> bool:
    return any(
        other.part != top.part
        and "train" in (top.part, other.part)
        and other.name.rest == top.name.rest
        and other.class_names & top.class_names
        for other in holders
    )


def _with_images(folders: Sequence[Path]) -> list[Path]:
    """Return the folders that hold images, except those called after unlabelled images."""
    return [
        path
        for path in folders
        if not is_unlabelled(path.name) and next(walk_images(path, Counter()), None) is not None
    ]


def _check_not_flat(root: Path, named: Sequence[_PartFolder], unnamed: Sequence[Path]) -> None:
    """Raise FolderError for train/image.jpg beside test/image.jpg: a classifier of train against test is not wanted."""
    flat = [top for top in named if top.images and not top.folders]
    used = [top for top in named if top.images or top.folders]
    has_train = any(top.part == "train" and top.folders for top in named)
    if not flat or has_train or not _is_one_split(used) or _with_images(unnamed):
        return
    names, without = listed([top.path.name for top in used]), listed([top.path.name for top in flat])
    images = counted(sum(top.images for top in flat), "image")
    raise FolderError(
        f"{root} has {names}, which are called like the parts of a split, with {images} directly in {without} and not "
        f"in class folders: their classes are unknown. {LAYOUT}",
        hint="Sort the images into class folders, or list them in a CSV file with the columns path,label. "
        f"If {names} are the classes: --class-level 1",
    )


def _raise_train_or_class(root: Path, parts: Sequence[_PartFolder], beside: Sequence[Path]) -> None:
    train = parts[0].path
    inside = listed(sorted(name for top in parts for name in top.class_names))
    raise FolderError(
        f"{root} has {train.name} with the sub-folders {inside}, beside {listed([path.name for path in beside])}. "
        f"Expected either only classes, or a training set beside val or test; {train.name} can be both here.",
        hint=f"If {train.name} is a class like the others: --class-level 1. If it is the training set, give this "
        f"folder alone: {train}",
    )


def _check_few_strays(top: _PartFolder) -> None:
    """Raise FolderError if more images are beside the class folders of a part than in them."""
    if not top.images:
        return
    inside = sum(1 for path in top.folders for _ in walk_images(path, Counter()))
    if top.images > inside:
        raise FolderError(
            f"{top.path} has {counted(top.images, 'image')} directly in it and {inside} in its sub-folders "
            f"({listed([path.name for path in top.folders])}). Expected all images in class folders.",
            hint="Sort the images into class folders, or list them in a CSV file with the columns path,label.",
        )


def _has_no_class(name: str) -> bool:
    return is_generic(name) or is_unlabelled(name)


def _leave_out_beside(
    tops: Sequence[Path], named: Sequence[_PartFolder], parts: Sequence[_PartFolder], left_out: Counter[str]
) -> list[str]:
    used = {top.path for top in parts}
    for path in tops:
        if path not in used:
            left_out[f"folder beside train ({path.name})"] += 1
    warnings = [line for top in named if top.path not in used and not top.folders for line in _without_class(top.path)]
    named_paths = {top.path for top in named if not top.folders}
    if others := _with_images([path for path in tops if path not in used | named_paths]):
        names, parts_text = listed([path.name for path in others]), listed([top.path.name for top in parts])
        warnings.append(
            f"the images in {names} are not used: the parts of the data are {parts_text}. Move what is a class, or "
            "belongs to a part, into these folders"
        )
    return warnings


def _without_class(path: Path) -> list[str]:
    images = sum(1 for _ in walk_images(path, Counter()))
    if not images:
        return []
    return [
        f"{path} has {counted(images, 'image')} without a class: they are not used. Put them into class folders to "
        f"test on them, or predict their classes after the training: transfer-cli predict RUN {shell_command(path)}"
    ]
