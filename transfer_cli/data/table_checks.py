"""Whether a table lists images that exist, with labels that a classifier can be trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from transfer_cli.catalog.tasks import MULTI_LABEL, Task
from transfer_cli.data.csv_manifest import ImageFile
from transfer_cli.data.table_paths import likely_path
from transfer_cli.errors import FolderError
from transfer_cli.text import counted


def check_listed(table: Path, root: Path, files: Sequence[ImageFile], left_out: Mapping[str, int]) -> None:
    """Raise FolderError if a table lists no image that exists."""
    if any((root / file.path).exists() for file in files):
        return
    unlabelled = left_out.get("without a label", 0)
    example = f" Received: {files[0].path}, and there is no {root / files[0].path}." if files else ""
    example = f" {counted(unlabelled, 'row', 'has')} an empty label." if unlabelled and not files else example
    raise FolderError(
        f"{table} lists {counted(len(files), 'image')}, and none of them exists. Expected paths relative to "
        f"{root.resolve()}.{example}",
        hint=likely_path(root, files[0].path) if files else None,
    )


def check_labels(table: Path, files: Sequence[ImageFile], names: Collection[str], task: Task) -> None:
    """Raise FolderError unless there are two classes, or one label that some images do not have."""
    if len(names) >= 2 or (task == MULTI_LABEL and names and not all(file.labels for file in files)):
        return
    received = ", ".join(names) or "empty cells only"
    raise FolderError(
        f"{table} has {len(names)} class{'es' * (len(names) != 1)}. Expected at least two classes, or one label and "
        f"images without it. Received: {received}.",
        hint="For presence and absence: name the column labels and leave the cell of the images without it empty, or "
        "give them a second class, such as none.",
    )
