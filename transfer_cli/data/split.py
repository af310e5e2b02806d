"""Which image is in train, val or test, decided once and kept in split.csv."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.image_folder import PARTS, ImageFile, sort_class_names
from transfer_cli.errors import SplitError
from transfer_cli.io.csv_tables import read_table, write_table

_LABELS = {SINGLE_LABEL: "class", MULTI_LABEL: "labels"}
"""What the column of the truth is called."""


@dataclass(frozen=True)
class SplitRow:
    """One image, its labels and its part."""

    path: str
    sha256: str
    labels: tuple[str, ...]
    part: str

    @property
    def truth(self) -> str:
        """Its class; of a multi-label task its labels in one text."""
        return SEPARATOR.join(self.labels)


@dataclass(frozen=True)
class Split:
    """The part of every image.

    Attributes
    ----------
    rows : tuple of SplitRow
        In the order of the folder.
    seed : int
        Which of the possible splits by digest this is.
    made_by : str
        ``digest``, ``folders`` (the layout said it) or ``split.csv`` (an existing one was followed).
    task : str
        A row of catalog.tasks.
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

        A part is decided by an image's content digest and `seed` alone, so that adding images moves none.
        What the layout of the folder says goes before that; what `existing` says goes before both. Only a class
        that would lack a part is given its image with the lowest digest. Images with the same bytes are
        never parted within a class, except where the layout parts them.

        Parameters
        ----------
        files : sequence of ImageFile
        digests : sequence of str
            The SHA-256 of each file, in hexadecimal.
        test, val : float
            Expected shares of the parts, 0 to leave a part out. Where the folder's layout has a val or a test part,
            test is the layout's alone, and val is taken from train unless the layout has it, too.
        seed : int
            Another seed gives another split by digest.
        existing : Split, optional
            Followed for each image it knows: by path and digest, else by digest, else by path.
        task : str
            A row of catalog.tasks.
        groups : sequence of str or None, optional
            What each file's relatives are called, None for one that has none. The part of a group is decided by its
            name and `seed` alone, and no group is parted unless the layout or `existing` parts it; what these leave
            open goes where they put the others of its group, if it may.
        """
        by_folder = {file.part for file in files}
        laid_out = bool(by_folder & {"val", "test"})
        # Where some are left open, what is said to be train is; where none is, val has to come from somewhere.
        given = ("train", "val", "test") if None in by_folder else ("val", "test")
        if laid_out:
            test = 0.0
            val = 0.0 if "val" in by_folder else val
        known = _Known(existing.rows if existing else ())
        units = _units(digests, groups)
        fixed = [
            known.part(file.path, digest) or (file.part if file.part in given else None)
            for file, digest in zip(files, digests, strict=True)
        ]
        # What the layout has in train may be held out as val, but is no test picture.
        may = PARTS if not laid_out or None in by_folder else ("train", "val") if val else ("train",)
        led = _led_by(fixed, groups, may)
        parts = [
            part or led.get(unit) or part_of(unit, test=test, val=val, seed=seed)
            for part, unit in zip(fixed, units, strict=True)
        ]
        wanted = [part for part, share in (("test", test), ("val", val)) if share > 0]
        free = [part is None for part in fixed]
        _fill_missing(parts, free, [file.labels for file in files], units, wanted, groups)
        rows = tuple(
            SplitRow(file.path, digest, file.labels, part)
            for file, digest, part in zip(files, digests, parts, strict=True)
        )
        made_by = "split.csv" if existing else "folders" if laid_out else "digest"
        return cls(rows, seed, made_by, task)

    @classmethod
    def read(cls, path: Path) -> Split:
        """Return the split written in `path`.

        Raises
        ------
        InputError
            When the file is not a table with the columns path, sha256, class (or labels) and part.
        """
        rows = []
        table = read_table(path, ("path", "sha256", "part"))
        task = MULTI_LABEL if table and _LABELS[MULTI_LABEL] in table[0] else SINGLE_LABEL
        if table and _LABELS[task] not in table[0]:
            raise SplitError(f"{path}: expected a column class, or labels. Received: {', '.join(table[0])}.")
        for line, row in enumerate(table, start=2):
            if row["part"] not in PARTS:
                raise SplitError(
                    f"{path} line {line}: expected the part {', '.join(PARTS)}. Received: {row['part']!r}."
                )
            truth = row[_LABELS[task]]
            labels = (truth,) if task == SINGLE_LABEL else tuple(filter(None, truth.split(SEPARATOR)))
            rows.append(SplitRow(row["path"], row["sha256"], labels, row["part"]))
        return cls(tuple(rows), 0, "split.csv", task)

    def write(self, path: Path) -> None:
        """Write the split as CSV."""
        header = ("path", "sha256", _LABELS[self.task], "part")
        write_table(path, header, ((row.path, row.sha256, row.truth, row.part) for row in self.rows))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that occur, in their order."""
        return sort_class_names(label for row in self.rows for label in row.labels)

    def truth(self) -> NDArray[np.int64]:
        """Return the truth as scikit-learn has it.

        Returns
        -------
        ndarray of shape (n,) or (n, k), int
            The column of each row's class; of a multi-label task 1 in the columns of its labels and 0 in the others.
        """
        column_of = {name: column for column, name in enumerate(self.class_names)}
        if self.task == SINGLE_LABEL:
            return np.array([column_of[row.labels[0]] for row in self.rows], np.int64)
        truth = np.zeros((len(self.rows), len(column_of)), np.int64)
        for number, row in enumerate(self.rows):
            truth[number, [column_of[label] for label in row.labels]] = 1
        return truth

    def learnt(self) -> dict[str, int]:
        """Return how many images of each class there are to learn from."""
        counted = Counter(label for row in self.rows if row.part == "train" for label in row.labels)
        return {name: counted[name] for name in self.class_names}

    def mask(self, part: str) -> NDArray[np.bool_]:
        """Return which rows are in a part, of shape (n,)."""
        return np.array([row.part == part for row in self.rows], bool)

    def counts(self) -> dict[str, int]:
        """Return how many images each part has; parts without any are left out."""
        counted = Counter(row.part for row in self.rows)
        return {part: counted[part] for part in PARTS if counted[part]}

    def summary(self) -> str:
        """Return one line about the parts."""
        made_by = {"digest": "by content", "folders": "as laid out", "split.csv": "as in split.csv"}[self.made_by]
        return f"{', '.join(f'{part} {count}' for part, count in self.counts().items())} ({made_by})"

    def warnings(self) -> list[str]:
        """Return what a person should know about this split before trusting a score."""
        found = []
        classes = Counter(label for row in self.rows for label in row.labels)
        for label in sorted(label for label, count in classes.items() if count == 1):
            found.append(f"class {label} has a single picture: it goes to train, and nothing can test it")
        same: dict[str, list[SplitRow]] = defaultdict(list)
        for row in self.rows:
            same[row.sha256].append(row)
        leaks = [rows for rows in same.values() if len({row.part for row in rows}) > 1]
        if leaks:
            found.append(
                f"{len(leaks)} pictures are in more than one part, byte for byte, which flatters the score: "
                + _examples(leaks)
            )
        doubled = [rows for rows in same.values() if len({row.truth for row in rows}) > 1]
        if doubled:
            several = "are in more than one class" if self.task == SINGLE_LABEL else "have other labels elsewhere"
            found.append(f"{len(doubled)} pictures {several}, byte for byte: {_examples(doubled)}")
        if not any(row.part == "test" for row in self.rows):
            found.append("there is no test part: no score of this run is a test score")
        missing = {
            part: sorted(set(classes) - {label for row in self.rows if row.part == part for label in row.labels})
            for part in self.counts()
        }
        for part, labels in missing.items():
            untested = [label for label in labels if classes[label] > 1]
            if untested:
                found.append(f"the {part} part has no picture of {', '.join(untested)}")
        return found


def _examples(groups: Sequence[Sequence[SplitRow]]) -> str:
    shown = "; ".join(" = ".join(row.path for row in rows) for rows in groups[:3])
    return shown + ("; ..." if len(groups) > 3 else "")


def part_of(digest: str, *, test: float, val: float, seed: int = 0) -> str:
    """Return the part of an image by its digest alone.

    Examples
    --------
    >>> part_of("00" * 32, test=0.2, val=0.1)
    'train'
    """
    salted = hashlib.sha256(f"{seed}:{digest}".encode()).digest()
    position = int.from_bytes(salted[:8], "big") / 2**64
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


class _Known:
    """What an existing split says of an image."""

    def __init__(self, rows: Sequence[SplitRow]) -> None:
        self._by_path: Mapping[str, SplitRow] = {row.path: row for row in rows}
        by_digest: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            by_digest[row.sha256].add(row.part)
        self._by_digest = {digest: parts.pop() for digest, parts in by_digest.items() if len(parts) == 1}

    def part(self, path: str, digest: str) -> str | None:
        row = self._by_path.get(path)
        if row and row.sha256 == digest:
            return row.part
        # A renamed picture keeps its part; so does an edited one, which is a near duplicate of what it was.
        return self._by_digest.get(digest) or (row.part if row else None)


def _units(digests: Sequence[str], groups: Sequence[str | None] | None) -> list[str]:
    """Return what decides the part of each image: its digest, or that of its group's name."""
    if groups is None:
        return list(digests)
    return [digest if group is None else _unit(group) for digest, group in zip(digests, groups, strict=True)]


def _unit(group: str) -> str:
    return hashlib.sha256(f"group:{group}".encode("utf-8", "surrogateescape")).hexdigest()


def _led_by(fixed: Sequence[str | None], groups: Sequence[str | None] | None, may: Sequence[str]) -> dict[str, str]:
    """Return where the rest of a group goes some of whose images have a part: with them, to train first."""
    found: dict[str, set[str]] = defaultdict(set)
    for part, group in zip(fixed, groups or [None] * len(fixed), strict=True):
        if group is not None and part is not None and part in may:
            found[_unit(group)].add(part)
    return {unit: min(parts, key=PARTS.index) for unit, parts in found.items()}


def _fill_missing(
    parts: list[str],
    free: Sequence[bool],
    labels: Sequence[tuple[str, ...]],
    units: Sequence[str],
    wanted: Sequence[str],
    groups: Sequence[str | None] | None,
) -> None:
    """Give each class that lacks a wanted part its image with the lowest digest, or its lowest group, in place.

    Images with equal bytes move together, groups as a whole, and no part is emptied of a class to fill another; train
    goes first.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    together: dict[str, list[int]] = defaultdict(list)
    for index, (of_image, unit) in enumerate(zip(labels, units, strict=True)):
        for label in of_image:
            members[label][unit].append(index)
        if groups is not None and groups[index] is not None:
            together[unit].append(index)

    def held(label: str, part: str) -> int:
        return sum(any(parts[index] == part for index in indices) for indices in members[label].values())

    for part in ("train", *wanted):
        for label, by_unit in members.items():
            if held(label, part):
                continue
            for unit in sorted(by_unit):
                indices = together.get(unit, by_unit[unit])
                origin = parts[indices[0]]
                spare = part == "train" or all(held(other, origin) > 1 for index in indices for other in labels[index])
                if spare and all(free[index] for index in indices):
                    for index in indices:
                        parts[index] = part
                    break
