"""The parts of a folder written down for good: as folders of copies, or as a CSV file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import written_whole
from transfer_cli.io.csv_tables import write_table
from transfer_cli.io.discovery import is_hidden

_FILES = frozenset((".txt", ".tsv", ".tab", ".json", ".jsonl", ".xls", ".xlsx", ".ods", ".parquet", ".toml", ".yaml"))
"""Whoever gives a name with such an end thinks of a file."""


def must_be_new(target: Path, folder: ImageFolder) -> None:
    """Raise OutputError where something is there already, or `target` would be taken for a class of the folder."""
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} is there already.", hint="Give a name that is not there yet: -o NAME")
    if target.suffix.lower() in _FILES:
        raise OutputError(
            f"{target} would become a folder, and its name is that of a file. Expected a name that ends in .csv, or "
            "one of a folder.",
            hint=f"Take: -o {target.with_suffix('.csv')}, or -o {target.with_suffix('')}",
        )
    # What a CSV file lists may lie all around.
    listed = folder.source != folder.root
    if not listed and not _is_table(target) and target.resolve().is_relative_to(folder.root.resolve()):
        raise OutputError(
            f"{target} would lie inside the folder of pictures {folder.root}, and be taken for a class.",
            hint="Choose a place outside with -o DIR.",
        )


def lay_out(split: Split, folder: ImageFolder, target: Path, *, link: bool = False) -> None:
    """Write the parts of a folder: TARGET/PART/CLASS/NAME, or rows where `target` ends in .csv; whole or not at all.

    Parameters
    ----------
    split : Split
        Of pictures of the folder.
    folder : ImageFolder
    target : Path
        Nothing may be there.
    link : bool
        Hard links instead of copies; both have to be on one file system.

    Raises
    ------
    OutputError
        When something is there, or the file system or the names refuse.
    """
    must_be_new(target, folder)
    if _is_table(target):
        return _write_table(split, folder, target)
    if split.task != SINGLE_LABEL:
        raise OutputError(
            "A picture with several labels cannot lie in one folder of each. Expected a file ending in .csv.",
            hint=f"Take: -o {target}.csv",
        )
    with written_whole(target) as draft:
        for row, name in _named(split):
            place = draft / row.part / row.labels[0] / name
            place.parent.mkdir(parents=True, exist_ok=True)
            source = folder.root / row.path
            if link:
                os.link(source.resolve(), place)
            else:
                shutil.copy2(source, place)
    return None


def _named(split: Split) -> Iterator[tuple[SplitRow, str]]:
    """Yield each row with a name that no other has in its folder, on file systems without capitals, too."""
    taken: set[tuple[str, str, str]] = set()
    for row in split.rows:
        label = row.labels[0]
        if "/" in label or "\\" in label or is_hidden(label) or not label.strip():
            raise OutputError(
                f"The class {label!r} cannot be the name of a folder.", hint="Take a CSV file instead: -o NAME.csv"
            )
        name = Path(row.path).name
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while (key := (row.part, label.casefold(), name.casefold())) in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(key)
        yield row, name


def _write_table(split: Split, folder: ImageFolder, target: Path) -> None:
    single = split.task == SINGLE_LABEL
    beside = target.resolve().parent
    rows = [(_from(beside, folder.root / row.path), row.truth, row.part) for row in split.rows]
    with written_whole(target) as draft:
        write_table(draft, ("path", "label" if single else "labels", "part"), rows)
        # A name with a backslash, or blanks at its end, is another one to whoever reads the file.
        read = ImageFolder.scan(draft)
        if {(file.path, file.labels, file.part) for file in read.files} != {
            (path, row.labels, row.part) for (path, _, _), row in zip(rows, split.rows, strict=True)
        }:
            raise OutputError(
                f"{target} would not be read as it was written: a path or a class has a backslash or blanks at an end.",
                hint="Rename it, or write a folder: -o DIR",
            )


def _from(beside: Path, image: Path) -> str:
    """Return a path as the CSV file says it: relative where the picture lies below it."""
    whole = Path(os.path.abspath(image))  # noqa: PTH100
    return whole.relative_to(beside).as_posix() if whole.is_relative_to(beside) else whole.as_posix()


def _is_table(target: Path) -> bool:
    return target.suffix.lower() == ".csv"
