"""A folder of images that may have no classes, for what needs no labels: features, maps, similar images, duplicates."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.data.csv_manifest import ImageFile, listing_in
from transfer_cli.data.folder_tree import ClassLevel
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_selection import ALL_IMAGES, ImageSelection
from transfer_cli.data.table_columns import TableOptions
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import walk_images


def scan_labels_optional(
    source: StrPath,
    *,
    for_training: bool = True,
    table: TableOptions | None = None,
    class_level: ClassLevel = None,
    selection: ImageSelection | None = None,
) -> ImageFolder:
    """Return the images of a folder with their classes; if it has no class folders, all its images without labels.

    The parameters are those of `ImageFolder.scan`. A table, a class level and a class map are about labels: with one of
    them, a folder without labels is an error.

    Returns
    -------
    ImageFolder
        Without labels, its `unlabelled_reason` says why no classes were found.

    Raises
    ------
    FolderError
        If there is no image, or labels were asked for and cannot be read.
    """
    root, selection = as_path(source, "a folder of images or a CSV file"), selection or ALL_IMAGES
    try:
        return ImageFolder.scan(
            root, for_training=for_training, table=table, class_level=class_level, selection=selection
        )
    except FolderError as error:
        needs_labels = table not in (None, TableOptions()) or class_level is not None or selection.class_map is not None
        if needs_labels or not root.is_dir() or listing_in(root) is not None:
            raise
        folder = _all_images(root, selection, str(error).split(". ")[0].rstrip("."))
        if not folder.files:
            raise
        return folder


def _all_images(root: Path, selection: ImageSelection, reason: str) -> ImageFolder:
    """Return all images in a folder and its sub-folders, without labels."""
    left_out: Counter[str] = Counter()
    files = [ImageFile(path, ()) for path in sorted(walk_images(root, left_out))]
    # As of several labels per image: an image may then have none.
    used = selection.apply(files, root, root, MULTI_LABEL, left_out)
    return ImageFolder(
        root,
        used.files,
        (),
        dict(left_out),
        root,
        SINGLE_LABEL,
        selection=selection,
        selection_notes=used.notes,
        selection_warnings=used.warnings,
        unlabelled_reason=reason,
    )
