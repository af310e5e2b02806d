"""Warnings about folders that are probably not classes, and about class names that look the same."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_cli.data.class_names import look_alike, repeated_folders, unlike_classes
from transfer_cli.data.folder_tree import ClassLevel, FolderTree
from transfer_cli.data.part_names import is_exact
from transfer_cli.text import listed

_TABLE = "list the images with their classes in a CSV file with the columns path,label"


def layout_warnings(tree: FolderTree, class_names: Sequence[str], class_level: ClassLevel = None) -> list[str]:
    """Return a warning if classes look like dates, stations or cameras, or all hold the same sub-folders."""
    repeated = repeated_folders(tree.deeper)
    lines = [*tree.warnings]
    if class_level is None:
        lines += [*_part_classes(tree, class_names), *_classes_in_a_class(tree, class_names)]
    if unlike := unlike_classes(class_names):
        kind, names = unlike
        return [*lines, _unlike(tree, kind, names, repeated)]
    if repeated and class_level is None:
        return [*lines, _repeated(tree, class_names, repeated)]
    return lines


def look_alike_warnings(class_names: Sequence[str]) -> list[str]:
    """Return a warning about classes whose names a reader cannot tell apart, or takes for one."""
    groups = [" and ".join(f"'{name}'" for name in group) for group in look_alike(class_names)]
    if not groups:
        return []
    return [
        f"class names that look alike: {listed(groups)}. They differ only in case, blanks, hyphens or invisible "
        "letters, and are trained as separate classes; if they are one class, give them the same name"
    ]


def _part_classes(tree: FolderTree, class_names: Sequence[str]) -> list[str]:
    parts = [name for name in class_names if is_exact(name)]
    if not parts or any(file.part for file in tree.files):
        return []
    return [
        f"{', '.join(parts)} is used as a class name; for a train/test split, put one sub-folder per class into each "
        "of the folders train and test"
    ]


def _classes_in_a_class(tree: FolderTree, class_names: Sequence[str]) -> list[str]:
    """Return a warning about each class that holds folders called like other classes, such as a copy of all images."""
    inside = {name: sorted(tree.deeper.get(name, set()) & {*class_names} - {name}) for name in class_names}
    return [
        f"the class {name} holds folders called like other classes ({listed(others)}): their images are used as images "
        f"of {name}. If it is no class, such as a copy of the others, move it out of the folder"
        for name, others in inside.items()
        if others
    ]


def _unlike(tree: FolderTree, kind: str, names: Sequence[str], repeated: Sequence[str]) -> str:
    below = sorted({name for inside in tree.deeper.values() for name in inside})
    text = (
        f"class names look like {kind} ({listed(names)}): the model would learn to tell {kind} apart, not what the "
        "images show."
    )
    if below and unlike_classes(below) is None:
        shown = listed(repeated or below)
        return (
            f"{text} If the classes are the sub-folders ({shown}): --class-level {tree.deeper_level}. If not, {_TABLE}"
        )
    return f"{text} If the classes are folders of another level: --class-level N. If they are no folders, {_TABLE}"


def _repeated(tree: FolderTree, class_names: Sequence[str], repeated: Sequence[str]) -> str:
    text = f"the classes {listed(class_names)} hold the same sub-folders ({listed(repeated)})"
    if unlike := unlike_classes(repeated):
        return (
            f"{text}, which look like {unlike[0]}: are {listed(class_names)} stations or cameras instead of classes? "
            f"If so, {_TABLE}"
        )
    return f"{text}, whose images are merged. If the sub-folders are the classes: --class-level {tree.deeper_level}"
