"""What a run was tested on and had learnt from: the same picture in several parts, or in several classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit import duplicates
from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.image_stats import look
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import OutputError, RunError
from transfer_cli.features import table
from transfer_cli.io.atomic import must_be_writable
from transfer_cli.io.csv_tables import read_table, write_table
from transfer_cli.metrics.intervals import Figure, plain, proportion
from transfer_cli.metrics.scores import mean_average_precision
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.completed_run import FinishedRun

_HEADER = ("path_a", "part_a", "class_a", "path_b", "part_b", "class_b", "kind", "score", "mirrored")


@dataclass(frozen=True)
class Leak:
    """Two pictures that are one, in different parts or in different classes.

    Attributes
    ----------
    a, b : SplitRow
    kind : {"exact", "near"}
        The same bytes, or the same picture.
    score : float or None
        How alike they are; None where only other pictures between them are.
    mirrored : bool
    """

    a: SplitRow
    b: SplitRow
    kind: str
    score: float | None
    mirrored: bool

    @property
    def across_parts(self) -> bool:
        """Whether they are in different parts."""
        return _other_part(self.a, self.b)

    @property
    def across_classes(self) -> bool:
        """Whether they are in different classes, or have different labels."""
        return _other_class(self.a, self.b)

    def to_dict(self) -> dict[str, Any]:
        """Return it as one row, by the names of the columns."""
        pair = ((row.path, row.part, row.truth) for row in (self.a, self.b))
        cells = [cell for row in pair for cell in row]
        return dict(zip(_HEADER, [*cells, self.kind, self.score, self.mirrored], strict=True))


@dataclass(frozen=True)
class Leaks:
    """What leaks, and what it does to the score.

    Attributes
    ----------
    found : tuple of Leak
        Pairs across parts or across classes, in the order of the split.
    leaked : tuple of str
        Test pictures that are in train or val, too, in the order of the split.
    figure : str
        What the next two are: ``accuracy``, or ``mean_average_precision`` of a multi-label task.
    with_leaked, without_leaked : Figure or None
        Of the test part, all of it and without `leaked`; None where there is nothing to be scored.
    skipped : tuple of Skipped
        Pictures of the split that cannot be read any more.
    changed : tuple of str
        Pictures of the split that are others now than those the run was made of; they were not compared either.
    """

    found: tuple[Leak, ...]
    leaked: tuple[str, ...]
    figure: str
    with_leaked: Figure | None
    without_leaked: Figure | None
    skipped: tuple[Skipped, ...]
    changed: tuple[str, ...] = ()

    @property
    def across_parts(self) -> tuple[Leak, ...]:
        """The pairs in different parts."""
        return tuple(leak for leak in self.found if leak.across_parts)

    @property
    def across_classes(self) -> tuple[Leak, ...]:
        """The pairs in different classes."""
        return tuple(leak for leak in self.found if leak.across_classes)

    def write(self, path: Path) -> None:
        """Write the pairs as CSV."""
        rows = [leak.to_dict() for leak in self.found]
        write_table(path, _HEADER, (["" if value is None else value for value in row.values()] for row in rows))


def must_be_replaceable(path: Path) -> None:
    """Raise OutputError before any work where the list cannot be written, or would replace something else."""
    must_be_writable(path)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.readline().startswith(",".join(_HEADER).encode()):
                raise OutputError(
                    f"{path} is there already and holds no list of leaks.", hint="Give another name: -o FILE.csv"
                )


def leaks(run: FinishedRun, *, progress: Progress = SILENT) -> Leaks:
    """Return the pictures that are in several parts, or in several classes, of a run.

    The pictures are read again, from where they were when the run was made. One that has other bytes now is left out:
    the run's features and answers are of what it was.

    Parameters
    ----------
    run : FinishedRun
    progress : Progress

    Raises
    ------
    RunError
        When the run has no features, or none of its pictures is where it was, as it was.
    """
    matrix = table.of_run(run)
    rows = run.split.rows
    looks = look([row.path for row in rows], run.root, progress)
    if not looks.paths:
        raise RunError(
            f"None of the {len(rows)} pictures of {run.directory.path} could be read. Expected them in {run.root}, as "
            "when the run was made.",
            hint="Lay them there again.",
        )
    same = [place for place, index in enumerate(looks.indices) if looks.digests[place] == rows[index].sha256]
    kept = set(same)
    changed = tuple(path for place, path in enumerate(looks.paths) if place not in kept)
    if not same:
        raise RunError(
            f"All {len(changed)} pictures in {run.root} that could be read are others than those that "
            f"{run.directory.path} was made of. Expected the same files.",
            hint="Lay the old ones there again, or make the run anew with --overwrite.",
        )
    looks = looks.only(same)
    twice = duplicates.find(looks, matrix[list(looks.indices)], progress=progress)
    found = across(twice, run.split)
    leaked = leaked_pictures(twice, run.split)
    figure, whole, rest = _scores(run, leaked)
    return Leaks(found, leaked, figure, whole, rest, looks.skipped, changed)


def read(run: FinishedRun) -> Leaks | None:
    """Return what an earlier search wrote into the run, or None where there is nothing of this split."""
    path = run.directory.leaks
    if not path.is_file():
        return None
    row_of = {(row.path, row.part, row.truth): row for row in run.split.rows}
    found = []
    for line in read_table(path, _HEADER):
        a, b = (row_of.get((line[f"path_{x}"], line[f"part_{x}"], line[f"class_{x}"])) for x in "ab")
        if a is None or b is None:
            return None
        score = float(line["score"]) if line["score"] else None
        found.append(Leak(a, b, line["kind"], score, line["mirrored"] == "True"))
    # Each picture with a fellow in another part is in a pair with one.
    elsewhere = {row.path for leak in found if leak.across_parts for row in (leak.a, leak.b)}
    leaked = tuple(row.path for row in run.split.rows if row.path in elsewhere and row.part == "test")
    return Leaks(tuple(found), leaked, *_scores(run, leaked), ())


def found_or_read(run: FinishedRun, *, compares: bool, progress: Progress = SILENT) -> Leaks | None:
    """Return what leaks: found now, or what an earlier search found where the pictures are gone or too many.

    Raises
    ------
    RunError
        When they cannot be looked for, and no earlier search is there.
    """
    if compares:
        try:
            return leaks(run, progress=progress)
        except RunError:
            if (earlier := read(run)) is None:
                raise
    else:
        earlier = read(run)
    if earlier is not None:
        progress.note(f"leaks were not looked for again: those in {run.directory.leaks} are taken")
    return earlier


def across(twice: Duplicates, split: Split) -> tuple[Leak, ...]:
    """Return the pairs that are in different parts or classes.

    Within a group each picture that has a fellow elsewhere is in one pair or more, even where only others lie between.
    """
    row_of = {row.path: row for row in split.rows}
    pairs = [
        Leak(row_of[pair.path_a], row_of[pair.path_b], pair.kind, pair.score, pair.mirrored) for pair in twice.pairs
    ]
    found = {(leak.a.path, leak.b.path): leak for leak in pairs if leak.across_parts or leak.across_classes}
    for group in twice.groups:
        members = [row_of[path] for path in group]
        for differ in (_other_part, _other_class):
            known = {path for pair, leak in found.items() if differ(leak.a, leak.b) for path in pair}
            for row in members:
                other = next((each for each in members if differ(row, each)), None)
                if other is not None and row.path not in known:
                    a, b = sorted((row, other), key=members.index)
                    same = a.sha256 == b.sha256
                    found[a.path, b.path] = Leak(a, b, "exact" if same else "near", 1.0 if same else None, False)
    place = {row.path: number for number, row in enumerate(split.rows)}
    return tuple(found[pair] for pair in sorted(found, key=lambda pair: (place[pair[0]], place[pair[1]])))


def leaked_pictures(twice: Duplicates, split: Split) -> tuple[str, ...]:
    """Return the test pictures whose group reaches into train or val."""
    part = {row.path: row.part for row in split.rows}
    leaked = {
        path
        for group in twice.groups
        if any(part[other] != "test" for other in group)
        for path in group
        if part[path] == "test"
    }
    return tuple(row.path for row in split.rows if row.path in leaked)


def summary(found: Leaks) -> list[str]:
    """Return what a person should know of them, the most important first."""
    parts, classes = found.across_parts, found.across_classes
    if not found.found:
        return ["no picture is in two parts or in two classes"]
    said = []
    if found.leaked:
        said.append(f"{len(found.leaked)} test pictures are in train or val, too: {_examples(parts)}")
    elif parts:
        said.append(f"{len(parts)} pairs of pictures are in two parts: {_examples(parts)}")
    if found.leaked and found.with_leaked is not None:
        name = found.figure.replace("_", " ")
        rest = found.without_leaked
        without = f"{rest['value']:.3f} without them" if rest else "no test picture is left without them"
        said.append(f"test {name} {found.with_leaked['value']:.3f}, {without}")
    if classes:
        said.append(f"{len(classes)} pairs of pictures are in two classes: {_examples(classes)}")
    return said


def _other_part(a: SplitRow, b: SplitRow) -> bool:
    return a.part != b.part


def _other_class(a: SplitRow, b: SplitRow) -> bool:
    return a.labels != b.labels


def _examples(found: Sequence[Leak]) -> str:
    shown = "; ".join(f"{leak.a.path} = {leak.b.path}" for leak in found[:3])
    return shown + ("; ..." if len(found) > 3 else "")


def _scores(run: FinishedRun, leaked: Iterable[str]) -> tuple[str, Figure | None, Figure | None]:
    """Return which figure it is, of all test pictures and of those that are not leaked."""
    name = "accuracy" if run.split.task == SINGLE_LABEL else "mean_average_precision"
    if "test" not in run.parts:
        return name, None, None
    test, out = run.answered("test"), set(leaked)
    kept = np.array([path not in out for path in test.predictions.paths], bool)

    def figure(mask: NDArray[np.bool_]) -> Figure | None:
        if not mask.any():
            return None
        truth, given = test.truth[mask], test.predictions.probabilities[mask]
        if name == "accuracy":
            return proportion(int((given.argmax(axis=1) == truth).sum()), len(truth))
        return plain(mean_average_precision(truth, given))

    return name, figure(np.ones(len(kept), bool)), figure(kept)
