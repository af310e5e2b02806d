"""The images of a folder with their class and part, from the folders that they are in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from unicodedata import normalize

from transfer_cli.data.class_names import repeated_folders
from transfer_cli.data.csv_manifest import ImageFile
from transfer_cli.data.part_folders import LOOSE, class_folders
from transfer_cli.data.part_names import (
    are_folds,
    content_words,
    is_exact,
    is_generic,
    part_name,
    plain_part,
    with_test,
)
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import walk_images
from transfer_cli.text import listed

LAST = "last"
"""The class level of the folder that an image is directly in."""
ClassLevel = int | str | None
"""Depth of the class folders below the image folder (1: its sub-folders), `LAST`, or None: decided by the layout."""


@dataclass(frozen=True)
class FolderTree:
    """The images of a folder.

    Attributes
    ----------
    files : list of ImageFile
    warnings : list of str
        What the reading of the layout left out.
    deeper : mapping of str to set of str
        The folders in the folders of each class, which are merged into it; those in CLASS/images if all are there.
    merged : set of str
        All folders with images below a class folder.
    deeper_level : int
        Class level at which the folders in `deeper` would be the classes.
    """

    files: list[ImageFile]
    warnings: list[str] = field(default_factory=list)
    deeper: Mapping[str, set[str]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    deeper_level: int = 2

    @classmethod
    def read(
        cls, root: Path, left_out: Counter[str], *, for_training: bool = True, class_level: ClassLevel = None
    ) -> FolderTree:
        """Return the images below a folder.

        Parameters
        ----------
        root : Path
        left_out : Counter
            Files and folders that are left out are counted here, by reason.
        for_training : bool
            Require a train folder where there is another part.
        class_level : int, "last" or None

        Raises
        ------
        FolderError
            If it is not clear which folders are classes, or there is no folder at this level.
        """
        if class_level is not None:
            return _at_level(root, left_out, class_level)
        files: list[ImageFile] = []
        deeper: dict[str, set[str]] = defaultdict(set)
        merged: set[str] = set()
        folders, warnings = class_folders(root, left_out, for_training=for_training)
        for part, name, directory in folders:
            images = list(walk_images(directory, left_out))
            inside = directory.relative_to(root).as_posix()
            if not images:
                left_out[f"folder without images ({inside})"] += 1
            files += [ImageFile(f"{inside}/{image}", (name,), part) for image in images]
            below = {image.rpartition("/")[0] for image in images} - {""}
            deeper[name] |= {path.partition("/")[0] for path in below}
            merged |= {f"{inside}/{path}" for path in below}
        depth = max((len(folder.path.relative_to(root).parts) for folder in folders), default=1)
        inner, wrappers = _without_wrappers(deeper, merged, depth)
        _check_not_folds(root, inner, depth, depth + wrappers + 1)
        if part_files := _parts_in_classes(files, deeper, left_out):
            return _below_parts(part_files, warnings)
        if not any(file.part for file in files):
            _check_no_parts_inside(root, {folder.path.name for folder in folders}, merged)
            _check_not_parts(root, inner, depth + wrappers + 1)
        return cls(files, warnings, inner, merged, depth + wrappers + 1)


def _at_level(root: Path, left_out: Counter[str], class_level: int | str) -> FolderTree:
    """Return the images whose class is the folder at a depth below `root`, or the one that they are directly in."""
    paths = [path.split("/") for path in walk_images(root, left_out)]
    level = None if class_level == LAST else int(class_level)
    used = [path for path in paths if len(path) > (level or 1)]
    if paths and not used:
        _raise_no_folder(root, paths, class_level)
    if loose := len(paths) - len(used):
        left_out["images above the class level" if (level or 1) > 1 else LOOSE] += loose
    tops = {path[0] for path in used if (level or len(path) - 1) > 1}
    parts = _parts_of_tops(tops)
    if parts and (beside := sorted(tops - {*parts})):
        left_out[f"images beside train ({listed(beside)})"] += sum(path[0] in beside for path in used)
    used = [path for path in used if not parts or path[0] in parts]
    places = [len(path) - 2 if level is None else level - 1 for path in used]
    inner = _parts_around(used, places)
    files, merged = [], set[str]()
    deeper: dict[str, set[str]] = defaultdict(set)
    for path, at, part in zip(used, places, inner, strict=True):
        name = normalize("NFC", path[at])
        files.append(ImageFile("/".join(path), (name,), (parts.get(path[0]) if at else None) or part))
        if below := path[at + 1 : -1]:
            deeper[name].add(below[0])
            merged.add("/".join(path[:-1]))
    warnings = [] if any(file.part for file in files) else _unused_parts(tops)
    return FolderTree(files, warnings, deeper, merged, (level or max((len(path) - 1 for path in used), default=1)) + 1)


def _unused_parts(tops: set[str]) -> list[str]:
    """Return a warning about folders that are called like parts but are not used as such at a class level."""
    parts = sorted(filter(plain_part, tops))
    if len(tops) < 2 or not parts:
        return []
    return [
        f"the images in {listed(parts)} are split like all others, since there is no training folder beside a test or "
        "validation folder. To keep them apart, call the folders train and test"
    ]


def _parts_around(paths: Sequence[Sequence[str]], places: Sequence[int]) -> list[str | None]:
    """Return the part that a folder around or in the class folder says, if there is one for every image."""
    parts = [
        next((part for name in (*path[:at], *path[at + 1 : -1]) if (part := plain_part(name))), None)
        for path, at in zip(paths, places, strict=True)
    ]
    is_split = None not in parts and "train" in parts and len({*parts}) > 1
    return parts if is_split else [None] * len(paths)


def _raise_no_folder(root: Path, paths: Sequence[Sequence[str]], class_level: int | str) -> NoReturn:
    deepest = max(paths, key=len)
    raise FolderError(
        f"{root} has no image in a folder at class level {class_level}. Expected a level from 1 (the sub-folders of "
        f"{root}) to {len(deepest) - 1}. Received for example: {'/'.join(deepest)}.",
        hint=f"--class-level {max(len(deepest) - 1, 1)}, or --class-level {LAST} for the folder that an image is in.",
    )


def _parts_of_tops(tops: set[str]) -> dict[str, str]:
    """Return the part of each top folder that is one; empty if there is no train beside another part."""
    names = with_test({top: name for top in tops if (name := part_name(top))})
    if len(names) < len(tops):
        names = {top: name for top, name in names.items() if is_exact(top)}
    parts = {top: name.part for top, name in names.items()}
    return parts if "train" in parts.values() and len({*parts.values()}) > 1 else {}


def _parts_in_classes(
    files: Sequence[ImageFile], deeper: Mapping[str, set[str]], left_out: Counter[str]
) -> list[ImageFile]:
    """Return the files with their parts if each class folder holds the folders train and test (or val), else none."""
    parts = {plain_part(name) for below in deeper.values() for name in below}
    is_complete = len(parts) > 1 and "train" in parts and None not in parts and all(deeper.values())
    if not is_complete or any(file.part for file in files):
        return []
    inner = [(file, file.path.split("/")) for file in files]
    placed = [replace(file, part=plain_part(path[1])) for file, path in inner if len(path) > 2]
    if 2 * len(placed) <= len(files):
        return []
    if loose := len(files) - len(placed):
        left_out["images beside the folders train and test of their class"] += loose
    return placed


def _without_wrappers(
    deeper: Mapping[str, set[str]], merged: set[str], depth: int
) -> tuple[Mapping[str, set[str]], int]:
    """Return the folders in CLASS/images if each class has only that folder, and how many levels these wrappers are."""
    first = next(iter(deeper.values()), set())
    if len(first) != 1 or not all(map(is_generic, first)) or any(below != first for below in deeper.values()):
        return deeper, 0
    inner: dict[str, set[str]] = {name: set() for name in deeper}
    for path in merged:
        names = path.split("/")
        if len(names) > depth + 1:
            inner[normalize("NFC", names[depth - 1])].add(names[depth + 1])
    return (inner, 1) if any(inner.values()) else (deeper, 0)


def _below_parts(files: list[ImageFile], warnings: list[str]) -> FolderTree:
    """Return the tree of images in CLASS/PART, with the folders below these."""
    deeper: dict[str, set[str]] = {label: set() for file in files for label in file.labels}
    merged = set[str]()
    for file in files:
        if below := file.path.split("/")[2:-1]:
            deeper[file.labels[0]].add(below[0])
            merged.add(file.path.rpartition("/")[0])
    return FolderTree(files, warnings, deeper, merged, 3)


def _check_no_parts_inside(root: Path, classes: set[str], merged: set[str]) -> None:
    """Raise FolderError if one of several class folders holds train and test: they would be merged."""
    below: dict[str, set[str]] = defaultdict(set)
    for path in merged if len(classes) > 1 else ():
        name, *inner = path.split("/")
        below[name].update(inner)
    for name in sorted(below):
        inside = sorted(filter(plain_part, below[name]))
        parts = {plain_part(inner) for inner in inside}
        if len(parts) > 1 and "train" in parts:
            others = listed(sorted(classes - {name}))
            raise FolderError(
                f"{root} has {name} with {listed(inside)}, which are called like the parts of a split, beside "
                f"{others}. Expected the same parts and nothing else in each class folder, or only class folders.",
                hint=f"If {name} is the data set, give this folder: {root / name}. If it is a class, and its parts "
                "shall be merged: --class-level 1. If the classes are deeper folders: --class-level 2 or more",
            )


def _check_not_parts(root: Path, deeper: Mapping[str, set[str]], level: int) -> None:
    """Raise FolderError if a class is called like a part, and the same folders are in all classes."""
    names, shared = sorted(deeper), repeated_folders(deeper)
    found = {name: part for name in names if (part := part_name(name))}
    parts = [
        name
        for name, part in found.items()
        if not part.rest or len(found) == len(names) or any([*part.rest] == content_words(other) for other in names)
    ]
    if shared and parts:
        raise FolderError(
            f"{root} has {listed(names)}, which hold the same sub-folders ({listed(shared)}). Expected one folder per "
            f"class, or the parts train, val and test. Received names of both kinds: {listed(parts)} means a part.",
            hint=f"If these are parts, call them train, val or test. If {listed(shared)} are the classes of images "
            f"without parts: --class-level {level}. If {listed(names)} are the classes: --class-level 1",
        )


def _check_not_folds(root: Path, deeper: Mapping[str, set[str]], depth: int, level: int) -> None:
    """Raise FolderError if the classes are called like folds, and the same folders are in several of them."""
    names = sorted(deeper)
    counts = Counter(name for below in deeper.values() for name in below)
    shared = sorted(name for name, count in counts.items() if count > 1)
    if not shared or not are_folds(names):
        return
    if all(map(is_exact, shared)):
        way_out = f"Use one of them: {root / names[0]}"
    else:
        way_out = (
            f"If {listed(shared)} are the classes: --class-level {level} (and --group-by "
            f"'^{'[^/]+/' * (depth - 1)}([^/]+)/' keeps each of {listed(names)} in one part)"
        )
    raise FolderError(
        f"{root} has {listed(names)}, which are called like folds of one data set and hold the same sub-folders "
        f"({listed(shared)}). Expected one folder per class.",
        hint=f"{way_out}. If {listed(names)} are the classes: --class-level {depth}",
    )
