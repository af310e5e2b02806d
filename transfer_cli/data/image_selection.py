"""Which images of a folder are used, and as which class: a class map and a list of images that are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data.class_map import ClassMap
from transfer_cli.data.csv_manifest import ImageFile
from transfer_cli.data.omission import Omission
from transfer_cli.errors import FolderError
from transfer_cli.text import counted, listed, printable, shell_command


@dataclass(frozen=True)
class ImageSelection:
    """What ``--class-map`` and ``--omit`` say.

    Attributes
    ----------
    class_map : ClassMap or None
    omit : Omission or None
    for_evaluation : bool
        The images may be of some of the classes only.
    known : tuple of str
        Classes that the class map may list although the folder does not have them.
    """

    class_map: ClassMap | None = None
    omit: Omission | None = None
    for_evaluation: bool = False
    known: tuple[str, ...] = ()

    @classmethod
    def read(cls, class_map: Path | None = None, omit: Path | None = None) -> ImageSelection:
        """Return the selection of two tables; raise InputError if one of them cannot be read or contradicts itself."""
        return cls(ClassMap.read(class_map) if class_map else None, Omission.read(omit) if omit else None)

    def apply(
        self, files: Sequence[ImageFile], root: Path, source: Path, task: Task, left_out: Counter[str]
    ) -> SelectedImages:
        """Return the images that are used, with the labels that they are used with.

        Parameters
        ----------
        files : sequence of ImageFile
        root : Path
            Folder that the paths are relative to.
        source : Path
            The folder or table, for messages.
        task : str
        left_out : Counter
            Gets the number of images that are left out, by reason.

        Raises
        ------
        FolderError
            If the tables do not fit the images, or leave fewer than two classes.
        """
        if self.class_map is None and self.omit is None:
            return SelectedImages(tuple(files))
        before = _classes(files)
        notes, warnings = self._class_map_lines(before, source, task)
        mapped = [self._mapped(file) for file in files]
        omitted: set[str] = set()
        if self.omit is not None:
            omitted, unmatched = self.omit.omitted(mapped, root)
            self.omit.check_matches(files, unmatched, source)
            warnings += self.omit.warnings(unmatched, source)
            left_out[f"images listed in {printable(self.omit.path.name)}"] += len(omitted)
        listed_ = [file for file in mapped if file.path not in omitted]
        # An image of several labels of which none is left remains, as an image without a label.
        used = [file for file in listed_ if file.labels or task != SINGLE_LABEL]
        left_out["images of classes that the class map leaves out"] += len(listed_) - len(used)
        for reason in [reason for reason, count in left_out.items() if not count]:
            del left_out[reason]
        self._check_classes(before, _classes(used), source, task)
        if lost := [name for name in _classes(mapped) if name not in _classes(used)]:
            warnings.append(f"no image of {listed(lost)} is left: {self._names()} leaves out all of them")
        return SelectedImages(tuple(used), tuple(notes), tuple(warnings))

    def _class_map_lines(self, before: Sequence[str], source: Path, task: Task) -> tuple[list[str], list[str]]:
        """Return notes and warnings about the class map, after checking that it fits the classes."""
        if self.class_map is None:
            return [], []
        if not self.for_evaluation or self.class_map.lines:
            self.class_map.check_classes([*before, *self.known], source)
        changes = self.class_map.summary(before)
        notes = [f"class map {printable(self.class_map.name)}: {changes}"] if changes else []
        return notes, self.class_map.warnings(task)

    def _mapped(self, file: ImageFile) -> ImageFile:
        if self.class_map is None:
            return file
        return ImageFile(file.path, self.class_map.labels_of(file.labels), file.part, file.group)

    def tables(self) -> list[Path]:
        """Return the paths of the tables; the class map of a model has none."""
        class_map = [Path(self.class_map.name)] if self.class_map and self.class_map.lines else []
        return [*class_map, *([self.omit.path] if self.omit else [])]

    def _names(self) -> str:
        class_map = [self.class_map.name] if self.class_map else []
        return " with ".join(map(printable, [*class_map, *([str(self.omit.path)] if self.omit else [])]))

    def _check_classes(self, before: Sequence[str], used: Sequence[str], source: Path, task: Task) -> None:
        """Raise FolderError if too few classes are left: to tell images of one label from others, it is enough."""
        least = 1 if self.for_evaluation or task != SINGLE_LABEL else 2
        if len(used) >= min(len(before), least):
            return
        left = f"one class ({printable(used[0])})" if used else "no class"
        raise FolderError(
            f"{self._names()} leaves {left} of the {counted(len(before), 'class')} of {source}. Expected at least "
            f"{'two classes' if least == 2 else 'one class'}.",
            hint="See which classes there are: transfer-cli data check " + shell_command(source),
        )


@dataclass(frozen=True)
class SelectedImages:
    """The images that are used, what was changed, and what may be meant in another way."""

    files: tuple[ImageFile, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _classes(files: Sequence[ImageFile]) -> list[str]:
    return sorted({label for file in files for label in file.labels})


ALL_IMAGES = ImageSelection()
"""Neither table: all images are used as they are labelled."""
