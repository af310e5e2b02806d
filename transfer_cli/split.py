"""Which image is in train, val or test, decided once and kept in split.csv."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import SplitError
from transfer_cli.folder import PARTS, ImageFile, sort_class_names
from transfer_cli.tables import read_table, write_table

HEADER = ("path", "sha256", "class", "part")


@dataclass(frozen=True)
class SplitRow:
    """One image and its part."""

    path: str
    sha256: str
    label: str
    part: str


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
    """

    rows: tuple[SplitRow, ...]
    seed: int
    made_by: str

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
    ) -> Split:
        """Return the split of `files`.

        A part is decided by an image's content digest and `seed` alone, so that adding images moves none.
        What the layout of the folder says goes before that; what `existing` says goes before both. Only a class
        that would lack a part is given its image with the lowest digest. Images with the same bytes are
        never parted within a class, except where the layout parts them.

        Parameters
        ----------
        files : sequence of ImageFile
            Single-label images.
        digests : sequence of str
            The SHA-256 of each file, in hexadecimal.
        test, val : float
            Expected shares of the parts, 0 to leave a part out. Where the folder's layout has a val or a test part,
            test is the layout's alone, and val is taken from train unless the layout has it, too.
        seed : int
            Another seed gives another split by digest.
        existing : Split, optional
            Followed for each image it knows: by path and digest, else by digest, else by path.
        """
        by_folder = {file.part for file in files}
        laid_out = bool(by_folder & {"val", "test"})
        if laid_out:
            test = 0.0
            val = 0.0 if "val" in by_folder else val
        known = _Known(existing.rows if existing else ())
        parts: list[str] = []
        free: list[bool] = []
        for file, digest in zip(files, digests, strict=True):
            fixed = known.part(file.path, digest)
            by_layout = file.part if file.part in ("val", "test") else None
            parts.append(fixed or by_layout or part_of(digest, test=test, val=val, seed=seed))
            free.append(fixed is None and by_layout is None)
        wanted = [part for part, share in (("test", test), ("val", val)) if share > 0]
        labels = [file.labels[0] for file in files]
        _fill_missing(parts, free, labels, digests, wanted)
        rows = tuple(
            SplitRow(file.path, digest, label, part)
            for file, digest, label, part in zip(files, digests, labels, parts, strict=True)
        )
        made_by = "split.csv" if existing else "folders" if laid_out else "digest"
        return cls(rows, seed, made_by)

    @classmethod
    def read(cls, path: Path) -> Split:
        """Return the split written in `path`.

        Raises
        ------
        InputError
            When the file is not a table with the columns path, sha256, class and part.
        """
        rows = []
        for line, row in enumerate(read_table(path, HEADER), start=2):
            if row["part"] not in PARTS:
                raise SplitError(
                    f"{path} line {line}: expected the part {', '.join(PARTS)}. Received: {row['part']!r}."
                )
            rows.append(SplitRow(row["path"], row["sha256"], row["class"], row["part"]))
        return cls(tuple(rows), 0, "split.csv")

    def write(self, path: Path) -> None:
        """Write the split as CSV."""
        write_table(path, HEADER, ((row.path, row.sha256, row.label, row.part) for row in self.rows))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that occur, in their order."""
        return sort_class_names(row.label for row in self.rows)

    def truth(self) -> NDArray[np.int64]:
        """Return the column of each row's class, of shape (n,)."""
        column_of = {name: column for column, name in enumerate(self.class_names)}
        return np.array([column_of[row.label] for row in self.rows], np.int64)

    def mask(self, part: str) -> NDArray[np.bool_]:
        """Return which rows are in a part, of shape (n,)."""
        return np.array([row.part == part for row in self.rows], bool)

    def counts(self) -> dict[str, int]:
        """Return how many images each part has; parts without any are left out."""
        counted = Counter(row.part for row in self.rows)
        return {part: counted[part] for part in PARTS if counted[part]}

    def in_words(self) -> str:
        """Return one line about the parts."""
        made_by = {"digest": "by content", "folders": "as laid out", "split.csv": "as in split.csv"}[self.made_by]
        return f"{', '.join(f'{part} {count}' for part, count in self.counts().items())} ({made_by})"

    def warnings(self) -> list[str]:
        """Return what a person should know about this split before trusting a score."""
        found = []
        classes = Counter(row.label for row in self.rows)
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
        doubled = [rows for rows in same.values() if len({row.label for row in rows}) > 1]
        if doubled:
            found.append(f"{len(doubled)} pictures are in more than one class, byte for byte: {_examples(doubled)}")
        if not any(row.part == "test" for row in self.rows):
            found.append("there is no test part: no score of this run is a test score")
        missing = {
            part: sorted(set(classes) - {row.label for row in self.rows if row.part == part}) for part in self.counts()
        }
        for part, labels in missing.items():
            several = [label for label in labels if classes[label] > 1]
            if several:
                found.append(f"the {part} part has no picture of {', '.join(several)}")
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


def _fill_missing(
    parts: list[str],
    free: Sequence[bool],
    labels: Sequence[str],
    digests: Sequence[str],
    wanted: Sequence[str],
) -> None:
    """Give each class that lacks a wanted part its lowest-digest image, in place.

    Images with equal bytes move together, and no part is emptied to fill another; train goes first.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (label, digest) in enumerate(zip(labels, digests, strict=True)):
        members[label][digest].append(index)
    for by_digest in members.values():
        for part in ("train", *wanted):
            held = Counter(parts[indices[0]] for indices in by_digest.values())
            if held[part]:
                continue
            for digest in sorted(by_digest):
                indices = by_digest[digest]
                origin = parts[indices[0]]
                spare = held[origin] > 1 or part == "train"
                if spare and all(free[index] for index in indices):
                    for index in indices:
                        parts[index] = part
                    break
