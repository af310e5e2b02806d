"""The train/val/test split: decided once per run and kept in split.csv."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.data.csv_manifest import SEPARATOR, SPLIT_COLUMN
from transfer_cli.data.image_folder import ImageFile, sort_class_names
from transfer_cli.data.split_assignment import PARTS, ExistingParts, fill_missing, part_of, parts_of_groups, unit_ids
from transfer_cli.data.table_columns import GROUP_COLUMN
from transfer_cli.errors import SplitError
from transfer_cli.io.csv_tables import read_table, write_table
from transfer_cli.text import counted, listed

_LISTED = 20
"""Classes that a warning lists."""
_LABEL_COLUMN = {SINGLE_LABEL: "class", MULTI_LABEL: "labels"}
UNLABELLED_HEADER = ("path", "sha256")
"""The columns of the split.csv of images without labels."""
_PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
_ORIGINS = {
    "digest": "chosen by file content, stays the same when you add images",
    "folders": "from the folder layout",
    "split.csv": "from an existing split.csv",
}


@dataclass(frozen=True)
class SplitRow:
    """One image, its labels, its part, and its group if a table of images gives it."""

    path: str
    sha256: str
    labels: tuple[str, ...]
    part: str
    group: str | None = None

    @property
    def truth(self) -> str:
        """Its class; for a multi-label task its labels joined by ``;``."""
        return SEPARATOR.join(self.labels)


@dataclass(frozen=True)
class Split:
    """The part (train, val or test) of every image.

    Attributes
    ----------
    rows : tuple of SplitRow
        In the order of the folder.
    seed : int
        Another seed gives another split by digest.
    made_by : str
        ``digest``, ``folders`` (from the folder layout) or ``split.csv`` (an existing split was followed).
    task : str
        A row of `catalog.tasks`.
    """

    rows: tuple[SplitRow, ...]
    seed: int
    made_by: str
    task: Task = SINGLE_LABEL

    @classmethod
    def make(
        cls,
        files: Sequence[ImageFile],
        digests: Sequence[str],
        *,
        test: float,
        val: float,
        seed: int = 0,
        existing: Split | None = None,
        task: Task = SINGLE_LABEL,
        groups: Sequence[str | None] | None = None,
    ) -> Split:
        """Return the split of `files`.

        The part of an image depends on its content digest and `seed` alone, so that adding images moves none. The
        folder layout takes precedence over the digest, and `existing` over both. A class that would lack a part gets
        its image with the lowest digest. Images of one class with the same bytes stay in one part, unless the layout
        separates them.

        Parameters
        ----------
        files : sequence of ImageFile
        digests : sequence of str
            SHA-256 of each file, in hexadecimal.
        test, val : float
            Expected share of each part; 0 leaves the part out. If the folder layout has a val or a test part, test is
            the layout's alone, and val is taken from train unless the layout has it, too.
        seed : int
        existing : Split, optional
            Followed for each image it contains: by path and digest, else by digest, else by path.
        task : str
            A row of `catalog.tasks`.
        groups : sequence of str or None, optional
            Name of each file's group, None for a file without one. The part of a group depends on its name and `seed`
            alone. A group stays in one part unless the layout or `existing` separates it; its other images follow
            those that have a part already, if possible.
        """
        by_folder = {file.part for file in files}
        laid_out = bool(by_folder & {"val", "test"})
        # If every image is in a part folder, val may have to be taken from train.
        binding = PARTS if None in by_folder else ("val", "test")
        if laid_out:
            test = 0.0
            val = 0.0 if "val" in by_folder else val
        groups = groups or [None] * len(files)
        known = ExistingParts((row.path, row.sha256, row.part) for row in (existing.rows if existing else ()))
        units = unit_ids(digests, groups)
        fixed = [
            known.part(file.path, digest) or (file.part if file.part in binding else None)
            for file, digest in zip(files, digests, strict=True)
        ]
        # An image in the layout's train folder may become val, but never test.
        allowed = PARTS if not laid_out or None in by_folder else ("train", "val") if val else ("train",)
        of_groups = parts_of_groups(fixed, groups, units, allowed)
        parts = [
            part or of_groups.get(unit) or part_of(unit, test=test, val=val, seed=seed)
            for part, unit in zip(fixed, units, strict=True)
        ]
        wanted = [part for part, share in (("test", test), ("val", val)) if share > 0]
        fill_missing(parts, [part is None for part in fixed], _labels_to_spread(files), units, wanted, groups)
        given = zip(files, digests, parts, strict=True)
        rows = tuple(SplitRow(file.path, digest, file.labels, part, file.group) for file, digest, part in given)
        return cls(rows, seed, "split.csv" if existing else "folders" if laid_out else "digest", task)

    @classmethod
    def read(cls, path: StrPath) -> Split:
        """Read a split.csv.

        Raises
        ------
        InputError
            If the file is not a table with the columns path, sha256, class (or labels) and split, or, of images without
            labels, path and sha256.
        """
        rows = []
        path = as_path(path, "a table of a split")
        table = read_table(path, ("path", "sha256"))
        if table and [*table[0]] == [*UNLABELLED_HEADER]:
            return cls(tuple(SplitRow(row["path"], row["sha256"], (), "train") for row in table), 0, "split.csv")
        if table and SPLIT_COLUMN not in table[0]:
            raise SplitError(f"{path}: expected a column {SPLIT_COLUMN}. Received: {', '.join(table[0])}.")
        task = MULTI_LABEL if table and _LABEL_COLUMN[MULTI_LABEL] in table[0] else SINGLE_LABEL
        if table and _LABEL_COLUMN[task] not in table[0]:
            raise SplitError(f"{path}: expected a column class or labels. Received: {', '.join(table[0])}.")
        for line, row in enumerate(table, start=2):
            part = row[SPLIT_COLUMN]
            if part not in PARTS:
                expected = f"{', '.join(PARTS)} in the column {SPLIT_COLUMN}"
                raise SplitError(f"{path} line {line}: expected {expected}. Received: {part!r}.")
            truth = row[_LABEL_COLUMN[task]]
            labels = (truth,) if task == SINGLE_LABEL else tuple(filter(None, truth.split(SEPARATOR)))
            rows.append(SplitRow(row["path"], row["sha256"], labels, part, row.get(GROUP_COLUMN) or None))
        return cls(tuple(rows), 0, "split.csv", task)

    def write(self, path: StrPath) -> None:
        """Write the split as CSV."""
        if not self.is_labelled:
            images = ((row.path, row.sha256) for row in self.rows)
            write_table(as_path(path, "a file to write"), UNLABELLED_HEADER, images)
            return
        header = ["path", "sha256", _LABEL_COLUMN[self.task], SPLIT_COLUMN]
        rows = [[row.path, row.sha256, row.truth, row.part] for row in self.rows]
        if any(row.group for row in self.rows):
            header.append(GROUP_COLUMN)
            rows = [[*cells, row.group or ""] for cells, row in zip(rows, self.rows, strict=True)]
        write_table(as_path(path, "a file to write"), header, rows)

    def write_labels(self, path: StrPath) -> None:
        """Write the paths and labels as CSV, a table of images without parts."""
        header = ("path", _LABEL_COLUMN[self.task])
        write_table(as_path(path, "a file to write"), header, ((row.path, row.truth) for row in self.rows))

    @classmethod
    def without_labels(cls, files: Sequence[ImageFile], digests: Sequence[str]) -> Split:
        """Return images without labels: there is nothing to train or test, so all are in one part."""
        rows = (SplitRow(file.path, digest, (), "train") for file, digest in zip(files, digests, strict=True))
        return cls(tuple(rows), 0, "folders")

    @property
    def is_labelled(self) -> bool:
        """Whether the images have labels; without them they are not split, either."""
        return any(row.labels for row in self.rows)

    def has_any(self, files: Sequence[ImageFile], digests: Sequence[str]) -> bool:
        """Return whether any of these images is in the split, by path or by digest."""
        paths, known = {row.path for row in self.rows}, {row.sha256 for row in self.rows}
        return any(file.path in paths for file in files) or not known.isdisjoint(digests)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that occur, sorted."""
        return sort_class_names(label for row in self.rows for label in row.labels)

    def truth(self) -> NDArray[np.int64]:
        """Return the true labels in scikit-learn's form.

        Returns
        -------
        ndarray of shape (n,) or (n, k), int
            Class index of each row; for a multi-label task the indicator matrix of the labels.
        """
        column_of = {name: column for column, name in enumerate(self.class_names)}
        if self.task == SINGLE_LABEL:
            return np.array([column_of[row.labels[0]] for row in self.rows], np.int64)
        truth = np.zeros((len(self.rows), len(column_of)), np.int64)
        for number, row in enumerate(self.rows):
            truth[number, [column_of[label] for label in row.labels]] = 1
        return truth

    def training_counts(self) -> dict[str, int]:
        """Return the number of training images of each class."""
        counts = Counter(label for row in self.rows if row.part == "train" for label in row.labels)
        return {name: counts[name] for name in self.class_names}

    def mask(self, part: str) -> NDArray[np.bool_]:
        """Return which rows are in a part, shape (n,)."""
        return np.array([row.part == part for row in self.rows], bool)

    def counts(self) -> dict[str, int]:
        """Return the number of images of each part that has any."""
        counts = Counter(row.part for row in self.rows)
        return {part: counts[part] for part in PARTS if counts[part]}

    def summary(self) -> str:
        """Return one line about the split.

        Examples
        --------
        >>> Split((SplitRow("a.jpg", "00", ("a",), "train"),), 0, "folders").summary()
        'split: 1 training image (from the folder layout)'
        """
        counts = ", ".join(f"{count} {_PART_NAMES[part]}" for part, count in self.counts().items())
        images = "image" if [*self.counts().values()][-1:] == [1] else "images"
        return f"split: {counts} {images} ({_ORIGINS[self.made_by]})"

    def warnings(self) -> list[str]:
        """Return what can make the scores of this split misleading."""
        classes = Counter(label for row in self.rows for label in row.labels)
        single = sorted(label for label, count in classes.items() if count == 1)
        lines = [
            f"class {label} has a single image: it is used for training, and no test is possible"
            for label in single[:_LISTED]
        ]
        if len(single) > _LISTED:
            lines.append(f"and {counted(len(single) - _LISTED, 'other class')} with a single image")
        by_digest: dict[str, list[SplitRow]] = defaultdict(list)
        for row in self.rows:
            by_digest[row.sha256].append(row)
        if leaks := [rows for rows in by_digest.values() if len({row.part for row in rows}) > 1]:
            lines.append(
                f"data leakage: {counted(len(leaks), 'image', 'has')} an identical copy in another "
                f"part, which makes the score too "
                f"high: {_examples(leaks)}"
            )
        if conflicts := [rows for rows in by_digest.values() if len({row.truth for row in rows}) > 1]:
            conflict = "in more than one class" if self.task == SINGLE_LABEL else "with different labels"
            lines.append(f"{counted(len(conflicts), 'identical image')} {conflict}: {_examples(conflicts)}")
        if not any(row.part == "test" for row in self.rows):
            lines.append("there is no test set: no score of this run is a test score")
        for part in self.counts():
            present = {label for row in self.rows if row.part == part for label in row.labels}
            if missing := [label for label in sorted(set(classes) - present) if classes[label] > 1]:
                lines.append(f"the {_PART_NAMES[part]} set has no image of {listed(missing, _LISTED)}")
        return lines


def _labels_to_spread(files: Sequence[ImageFile]) -> list[tuple[str, ...]]:
    """Return the labels that every part should have: with a single label its absence, too."""
    labels = [file.labels for file in files]
    return [each or ("",) for each in labels] if len({*labels} - {()}) == 1 and () in labels else labels


def _examples(groups: Sequence[Sequence[SplitRow]]) -> str:
    examples = "; ".join(" = ".join(row.path for row in rows) for rows in groups[:3])
    return examples + ("; ..." if len(groups) > 3 else "")
