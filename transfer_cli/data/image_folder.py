"""A folder of images: its files in a fixed order, their class names, and their part if the layout says it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data import csv_manifest
from transfer_cli.data.class_names import look_alike
from transfer_cli.data.csv_manifest import ImageFile as ImageFile
from transfer_cli.data.csv_manifest import Manifest, is_table
from transfer_cli.data.folder_tree import LAST, ClassLevel, FolderTree
from transfer_cli.data.image_selection import ALL_IMAGES, ImageSelection
from transfer_cli.data.layout_warnings import layout_warnings, look_alike_warnings
from transfer_cli.data.part_folders import LAYOUT, LOOSE, visible_folders
from transfer_cli.data.table_checks import check_labels, check_listed
from transfer_cli.data.table_columns import TableOptions
from transfer_cli.errors import FolderError, nearest
from transfer_cli.io.discovery import SUFFIXES, is_dir, walk_images
from transfer_cli.io.discovery import describe_left_out as describe_left_out
from transfer_cli.io.foreign_tables import has_foreign_bytes
from transfer_cli.text import counted, listed, printable, shell_command, utf8


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
    group_column : str or None
        Heading of the column that gives the groups of the files.
    table_warnings : tuple of str
        What may be read from the CSV file in another way than it is meant.
    layout_warnings : tuple of str
        Why the folders that were read as classes may not be the classes.
    merged : tuple of str
        Deeper folders whose images belong to the class folder above them.
    selection : ImageSelection
        The class map and the list of omitted images that were applied.
    selection_notes, selection_warnings : tuple of str
        What they changed, and what may be meant in another way.
    unlabelled_reason : str
        Why the images have no labels; empty if they have (see `unlabelled_folder`).
    """

    root: Path
    files: tuple[ImageFile, ...]
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]
    source: Path
    task: Task = SINGLE_LABEL
    group_column: str | None = None
    table_warnings: tuple[str, ...] = ()
    layout_warnings: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    selection: ImageSelection = ALL_IMAGES
    selection_notes: tuple[str, ...] = ()
    selection_warnings: tuple[str, ...] = ()
    unlabelled_reason: str = ""

    @classmethod
    def scan(
        cls,
        source: StrPath,
        *,
        for_training: bool = True,
        table: TableOptions | None = None,
        class_level: ClassLevel = None,
        selection: ImageSelection | None = None,
    ) -> ImageFolder:
        """Return the images in a folder, or those that a CSV file lists.

        Classes are the sub-folders, or the sub-folders of ``train``, ``val`` (``valid``, ``validation``) and ``test``;
        `part_folders.class_folders` lists other names of parts. Images in deeper folders belong to the class folder
        above them. A CSV file (see `csv_manifest.Manifest.read`), or a ``labels.csv`` in the folder, gives labels and
        parts instead; its paths are relative to its own folder.

        Parameters
        ----------
        source : str or os.PathLike
        for_training : bool
            Require at least two classes, each with training images.
        table : TableOptions, optional
            The columns of a CSV file, and the folder of its images.
        class_level : int or "last", optional
            Depth of the class folders below `source` (1: its sub-folders), or the folder that an image is directly in.
            Default: decided by the layout.
        selection : ImageSelection, optional
            Rename, merge or leave out classes, and leave out images. Default: use all images as they are labelled.

        Raises
        ------
        FolderError
            If `source` is neither a folder of images in class folders nor a CSV file that lists images.
        """
        source = as_path(source, "a folder of images or a CSV file")
        options, selection = table or TableOptions(), selection or ALL_IMAGES
        if is_table(source):
            _check_no_level(source, class_level)
            return cls._from_csv(source, source, options, selection, for_training)
        root = source
        _check_is_folder(root)
        if listing := csv_manifest.listing_in(root):
            _check_no_level(listing, class_level)
            return cls._from_csv(listing, root, options, selection, for_training)
        options.check_unused(root)
        left_out: Counter[str] = Counter()
        tree = FolderTree.read(root, left_out, for_training=for_training, class_level=class_level)
        _check_has_images(root, tree, left_out)
        _check_are_text(root, sort_class_names(label for file in tree.files for label in file.labels))
        files = sorted(tree.files, key=lambda file: file.path)
        used = selection.apply(files, root, root, SINGLE_LABEL, left_out)
        class_names = sort_class_names(label for file in used.files for label in file.labels)
        if for_training:
            _check_classes(root, tree, used.files, class_names)
        return cls(
            root,
            used.files,
            class_names,
            dict(left_out),
            root,
            layout_warnings=tuple(layout_warnings(tree, class_names, class_level)),
            merged=tuple(sorted(tree.merged)),
            selection=selection,
            selection_notes=used.notes,
            selection_warnings=used.warnings,
        )

    @classmethod
    def _from_csv(
        cls, table: Path, source: Path, options: TableOptions, selection: ImageSelection, for_training: bool
    ) -> ImageFolder:
        left_out: Counter[str] = Counter()
        root = options.images or table.parent
        if not root.is_dir():
            raise FolderError(f"--images: there is no folder {root}. Expected the folder of the images of {table}.")
        manifest = Manifest.read(table, options, left_out)
        files = sorted(manifest.files, key=lambda file: file.path)
        if source == root:
            images = set(walk_images(root, Counter()))
            left_out[f"images that {table.name} does not list"] += len(images - {file.path for file in files})
        check_listed(table, root, files, left_out)
        used = selection.apply(files, root, source, manifest.task, left_out)
        names = {label for file in used.files for label in file.labels}
        if for_training:
            check_labels(table, used.files, names, manifest.task)
            _check_training_images(used.files, names, table)
        return cls(
            root,
            used.files,
            sort_class_names(names),
            dict(+left_out),
            source,
            manifest.task,
            manifest.group_column,
            manifest.warnings,
            selection=selection,
            selection_notes=used.notes,
            selection_warnings=used.warnings,
        )

    @property
    def images_elsewhere(self) -> Path | None:
        """The folder of the images if it is not the one that `source` implies."""
        implied = self.source if self.source.is_dir() else self.source.parent
        return None if self.root == implied else self.root

    @property
    def is_labelled(self) -> bool:
        """Whether the images have classes."""
        return not self.unlabelled_reason

    @property
    def name(self) -> str:
        """Default name of a run on these images."""
        path = self.source.resolve()
        return (path.name if self.source == self.root else path.stem) or "images"

    def summary(self) -> str:
        """Return one line about the images and classes."""
        if not self.is_labelled:
            return f"{counted(len(self.files), 'image')} without labels. No classes, since {self.unlabelled_reason}"
        counts = Counter(label for file in self.files for label in file.labels)
        classes = ", ".join(f"{name} {counts[name]}" for name in self.class_names[:20])
        more = ", ..." if len(self.class_names) > 20 else ""
        noun, rest = ("class", "") if self.task == SINGLE_LABEL else ("label", " (any number per image)")
        found = f"{counted(len(self.files), 'image')}, {counted(len(self.class_names), noun)}{rest}"
        return f"{found}: {classes}{more}"

    def notes(self) -> list[str]:
        """Return lines about the images and classes, and about what is left out or merged."""
        lines = [self.summary()]
        if left_out := describe_left_out(self.left_out):
            lines.append(left_out)
        return [*lines, *self.selection_notes, *self.merged_notes()]

    def merged_notes(self) -> list[str]:
        """Return a line about deeper folders whose images belong to the class folder above them, if there are any."""
        if not self.merged:
            return []
        were = "was" if len(self.merged) == 1 else "were"
        return [
            f"{counted(len(self.merged), 'deeper folder')} {were} merged into the class folder above, such as "
            f"{self.merged[0]} (--class-level {LAST} makes each folder a class)"
        ]

    def warnings(self) -> list[str]:
        """Return why classes or parts may have been read in another way than they are meant."""
        alike = look_alike_warnings(self.class_names)
        return [*self.table_warnings, *self.layout_warnings, *self.selection_warnings, *alike]


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


def _check_is_folder(root: Path) -> None:
    if root.is_dir():
        if not os.access(root, os.R_OK | os.X_OK):
            raise FolderError(f"{root} cannot be read: no permission.")
        return
    if root.exists():
        raise FolderError(
            f"{root} is a file. {LAYOUT} Or a CSV file with the columns {csv_manifest.COLUMNS}.",
            hint="To classify single images with a trained model: transfer-cli predict RUN IMAGE",
        )
    siblings = os.scandir(root.parent) if root.parent.is_dir() else ()
    near = nearest(root.name, [entry.name for entry in siblings if is_dir(entry)])
    guess = f" Did you mean {root.parent / near}?" if near else ""
    raise FolderError(f"There is no folder {root}.{guess} {LAYOUT}")


def _check_no_level(table: Path, class_level: ClassLevel) -> None:
    if class_level is not None:
        raise FolderError(
            f"{table} says the class of each image: --class-level {class_level} has no use.",
            hint="Leave out --class-level, or move the table out of the folder to read the classes from the folders.",
        )


def _check_are_text(root: Path, names: Iterable[str]) -> None:
    """Raise FolderError if the name of a class has bytes that are not UTF-8: no table or model could hold it."""
    for name in filter(has_foreign_bytes, names):
        likely = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        raise FolderError(
            f"{root} has a class folder {printable(utf8(name))}, whose name is not UTF-8 text. Expected UTF-8. In the "
            f"encoding Windows-1252 (cp1252) it would be {printable(likely)}.",
            hint="The folder was probably unpacked with the wrong encoding: rename it, or unpack the archive again.",
        )


def _check_classes(root: Path, tree: FolderTree, files: Iterable[ImageFile], names: Sequence[str]) -> None:
    """Raise FolderError unless a folder has two classes with training images."""
    if len(names) == 1:
        (only,) = names
        inner = visible_folders(root / only, Counter()) if (root / only).is_dir() else []
        hint = f"Did you mean {root / only}? It has {len(inner)} sub-folders." if len(inner) > 1 else None
        if hint is None and len(below := sorted(tree.deeper.get(only, ()))) > 1:
            hint = f"If the classes are its sub-folders ({listed(below)}): --class-level {tree.deeper_level}"
        raise FolderError(f"{root} has only one class ({only}). {LAYOUT}", hint=hint)
    _check_training_images(files, names, root)


def _check_has_images(root: Path, tree: FolderTree, left_out: Mapping[str, int]) -> None:
    if tree.files:
        return
    loose = left_out.get(LOOSE)
    content = f"{counted(loose, 'image')} directly in it and no class folder" if loose else "no image"
    others = f" Received: {text}." if (text := describe_left_out(left_out)) else ""
    hint = _way_out_of_loose(root) if loose else f"Images are files with {', '.join(SUFFIXES)}."
    raise FolderError(f"{root} has {content}. {LAYOUT}{others}", hint=hint)


def _way_out_of_loose(root: Path) -> str:
    """Return what to do with a folder of images without classes."""
    example = root / "CLASS" / "image.jpg"
    return (
        f"To train or evaluate, sort the images into one sub-folder per class ({printable(str(example))}), or name "
        f"their classes in a CSV file with the columns {csv_manifest.COLUMNS}.\n"
        f"To look at them without classes: transfer-cli extract {shell_command(root)} --classifier none\n"
        f"To classify them with a trained model: transfer-cli predict RUN {shell_command(root)}"
    )


def _check_training_images(files: Iterable[ImageFile], names: Iterable[str], source: Path) -> None:
    """Raise FolderError if a class has no training image; an image without a part may become one."""
    train = {label for file in files if file.part in ("train", None) for label in file.labels}
    if not (missing := sort_class_names({*names} - train)):
        return
    similar = [group for group in look_alike({*missing, *train}) if len(group) > 1]
    raise FolderError(
        f"{source} has classes without training images: {listed(missing, 20)}. "
        f"Expected the class names of train: {listed(sort_class_names(train), 20) or 'none'}.",
        hint=f"Give one class the same name everywhere: {' and '.join(map(repr, similar[0]))} look alike."
        if similar
        else "Add training images of them. If their images have no class, move them out of the folder and predict them "
        "after the training: transfer-cli predict RUN IMAGES",
    )
