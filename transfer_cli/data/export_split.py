"""Write the train/val/test split of a folder: as folders of copies, or as a CSV file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.csv_manifest import SPLIT_COLUMN
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import InputError, OutputError
from transfer_cli.io.atomic import atomic_write, check_writable, check_writable_folder
from transfer_cli.io.csv_tables import write_table
from transfer_cli.io.discovery import is_hidden
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import shell_command

_FILE_SUFFIXES = frozenset(
    (".txt", ".tsv", ".tab", ".json", ".jsonl", ".xls", ".xlsx", ".ods", ".parquet", ".toml", ".yaml")
)
"""A target with one of these suffixes is a mistake: it would become a folder."""


def check_target(target: Path, folder: ImageFolder) -> None:
    """Raise OutputError if `target` exists, looks like another file type, or would become a class of the folder."""
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} already exists.", hint="Give a new name: -o NAME")
    if target.suffix.lower() in _FILE_SUFFIXES:
        raise OutputError(
            f"{target} would be a folder, but has the name of a file. Expected a name that ends in .csv, or a folder.",
            hint="Use -o {} or -o {}".format(*(shell_command(str(target.with_suffix(end))) for end in (".csv", ""))),
        )
    # The images of a CSV file may be anywhere around it.
    is_inside = folder.source == folder.root and target.resolve().is_relative_to(folder.root.resolve())
    if is_inside and target.suffix.lower() != ".csv":
        raise OutputError(
            f"{target} is inside the image folder {folder.root} and would become one of its classes.",
            hint="Choose a folder outside with -o DIR.",
        )
    if target.suffix.lower() == ".csv":
        check_writable(target)
    else:
        check_writable_folder(target, is_replaced=True)


def export_split(
    split: Split, folder: ImageFolder, target: Path, *, link: bool = False, progress: Progress = SILENT
) -> None:
    """Write TARGET/PART/CLASS/NAME, or a CSV file if `target` ends in .csv; completely or not at all.

    Parameters
    ----------
    split : Split
        Split of the images of `folder`.
    folder : ImageFolder
    target : Path
        Must not exist.
    link : bool
        Hard links instead of copies; both must be on one file system.
    progress : Progress

    Raises
    ------
    OutputError
        If the target exists, the file system refuses, or a class cannot be the name of a folder.
    """
    check_target(target, folder)
    if target.suffix.lower() == ".csv":
        return _write_table(split, folder, target)
    if split.task != SINGLE_LABEL:
        raise OutputError(
            "An image with several labels cannot be put into one class folder. Expected a target that ends in .csv.",
            hint=f"Use -o {shell_command(target)}.csv",
        )
    what = f"{'linking' if link else 'copying'} images"
    with atomic_write(target) as draft, progress.track(what, len(split.rows)) as advance:
        for row, name in _unique_names(split):
            path = draft / row.part / row.labels[0] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = folder.root / row.path
            if link:
                os.link(source.resolve(), path)
            else:
                shutil.copy2(source, path)
            advance(1)
    return None


def _unique_names(split: Split) -> Iterator[tuple[SplitRow, str]]:
    """Yield each row with a file name that is unique in its folder, also on case-insensitive file systems."""
    used: set[tuple[str, str, str]] = set()
    for row in split.rows:
        label = row.labels[0]
        if "/" in label or "\\" in label or is_hidden(label) or not label.strip():
            raise OutputError(f"The class {label!r} cannot be the name of a folder.", hint="Use -o NAME.csv")
        name = Path(row.path).name
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while (key := (row.part, label.casefold(), name.casefold())) in used:
            number += 1
            name = f"{stem}-{number}{suffix}"
        used.add(key)
        yield row, name


def _write_table(split: Split, folder: ImageFolder, target: Path) -> None:
    single = split.task == SINGLE_LABEL
    parent = target.resolve().parent
    rows = [(_listed_path(parent, folder.root / row.path), row.truth, row.part) for row in split.rows]
    with atomic_write(target) as draft:
        write_table(draft, ("path", "label" if single else "labels", SPLIT_COLUMN), rows)
        # Reading normalises backslashes and outer blanks: a name that has them would be read as another one.
        try:
            read = ImageFolder.scan(draft, for_training=False).files
        except InputError:
            read = ()
        if {(file.path, file.labels, file.part) for file in read} != {
            (path, row.labels, row.part) for (path, _, _), row in zip(rows, split.rows, strict=True)
        }:
            raise OutputError(
                f"{target} would not be read as it was written: a path or a class has a backslash, a separator of "
                "labels (; |), a line break or outer blanks.",
                hint="Rename it, or write a folder: -o DIR",
            )


def _listed_path(parent: Path, image: Path) -> str:
    """Return the path for the CSV file: relative if the image is below the folder of that file."""
    absolute = Path(os.path.abspath(image))  # noqa: PTH100
    return absolute.relative_to(parent).as_posix() if absolute.is_relative_to(parent) else absolute.as_posix()
