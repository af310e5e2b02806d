"""Leakage: the same image in several splits of a run, or with several labels, and its effect on the test score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath
from transfer_cli.audit.duplicates import Duplicates, find_duplicates
from transfer_cli.audit.findings import PAIR_COLUMNS
from transfer_cli.audit.image_stats import measure_images
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import OutputError, RunError
from transfer_cli.features import table
from transfer_cli.io.atomic import check_writable
from transfer_cli.io.csv_tables import read_table, write_table
from transfer_cli.metrics.intervals import MetricValue, exact_value, proportion
from transfer_cli.metrics.scores import mean_average_precision
from transfer_cli.progress import SILENT, Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.text import counted, shell_command


@dataclass(frozen=True)
class Leak:
    """Two files with the same image, in different splits or with different labels.

    Attributes
    ----------
    a, b : SplitRow
    kind : {"exact", "near"}
        Equal bytes, or near-duplicates.
    score : float or None
        Similarity, 0 to 1; None if both are linked only through other near-duplicates between them.
    mirrored : bool
    """

    a: SplitRow
    b: SplitRow
    kind: str
    score: float | None
    mirrored: bool

    @property
    def across_splits(self) -> bool:
        """Whether the files are in different splits."""
        return self.a.part != self.b.part

    @property
    def across_classes(self) -> bool:
        """Whether the files have different labels."""
        return self.a.labels != self.b.labels

    def to_dict(self) -> dict[str, Any]:
        """Return the row of leaks.csv, by column."""
        cells = [cell for row in (self.a, self.b) for cell in (row.path, row.part, row.truth)]
        return dict(zip(PAIR_COLUMNS, [*cells, self.kind, self.score, self.mirrored], strict=True))


@dataclass(frozen=True)
class Leaks:
    """All leaks of a run, and their effect on the test score.

    Attributes
    ----------
    pairs : tuple of Leak
        In the order of the split.
    leaked_test_images : tuple of str
        Test images that are also in the training or validation set, in the order of the split.
    metric : str
        ``accuracy``, or ``mean_average_precision`` in a multi-label task.
    score_with_leaks, score_without_leaks : MetricValue or None
        On all test images, and without `leaked_test_images`; None if there are no images to score.
    skipped : tuple of Skipped
        Images of the run that cannot be read any more.
    changed : tuple of str
        Images that have changed since the run; they were not compared either.
    """

    pairs: tuple[Leak, ...]
    leaked_test_images: tuple[str, ...]
    metric: str
    score_with_leaks: MetricValue | None
    score_without_leaks: MetricValue | None
    skipped: tuple[Skipped, ...]
    changed: tuple[str, ...] = ()

    @property
    def across_splits(self) -> tuple[Leak, ...]:
        """The pairs in different splits."""
        return tuple(leak for leak in self.pairs if leak.across_splits)

    @property
    def across_classes(self) -> tuple[Leak, ...]:
        """The pairs with different labels."""
        return tuple(leak for leak in self.pairs if leak.across_classes)

    def write(self, path: Path) -> None:
        """Write the pairs as CSV."""
        write_table(path, PAIR_COLUMNS, ([*leak.to_dict().values()] for leak in self.pairs))


def check_leaks_file(path: Path) -> None:
    """Raise OutputError if `path` is not writable or holds something other than an earlier list of leaks."""
    check_writable(path)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            is_list = file.readline().startswith(",".join(PAIR_COLUMNS).encode())
        if not is_list:
            hint = "It was not overwritten. Choose another file: -o FILE.csv"
            raise OutputError(f"{path} already exists and is not a list of leaks.", hint=hint)


def leaks(run: FinishedRun | StrPath, *, progress: bool | Progress = False) -> Leaks:
    """Return the images of a run that are in several splits or have several labels.

    The images are read again. An image that has changed since the run is left out, because features and predictions
    belong to its former content.

    Parameters
    ----------
    run : FinishedRun or path
    progress : bool or Progress

    Raises
    ------
    RunError
        If the run has no features or no labels, or none of its images can be read unchanged.
    """
    run = run if isinstance(run, FinishedRun) else FinishedRun.read(run)
    if not run.split.is_labelled:
        raise RunError(
            f"{run.directory.path} has images without labels, which are not split: no test image can be a copy of a "
            "training image.",
            hint=f"To find near-duplicates: {shell_command('transfer-cli', 'data', 'check', run.source)}",
        )
    progress = progress_of(progress)
    matrix = table.features_of_run(run)
    rows = run.split.rows
    stats = measure_images([row.path for row in rows], run.root, progress, run.bit_depth)
    if not stats.paths:
        raise RunError(
            f"None of the {counted(len(rows), 'image')} of {run.directory.path} can be read in {run.root}.",
            hint=f"Give the folder where they are now: transfer-cli leaks {shell_command(run.directory.path)} "
            "--images DIR",
        )
    unchanged = [place for place, index in enumerate(stats.indices) if stats.digests[place] == rows[index].sha256]
    changed = tuple(path for place, path in enumerate(stats.paths) if place not in set(unchanged))
    if not unchanged:
        hint = f"Restore the old images in {run.root}, or train again with --overwrite."
        images = f"All {len(changed)} readable images have" if len(changed) > 1 else "The only readable image has"
        raise RunError(f"{images} changed since {run.directory.path} was trained.", hint=hint)
    stats = stats.select(unchanged)
    duplicates = find_duplicates(stats, matrix[list(stats.indices)], progress=progress)
    leaked = leaked_test_images(duplicates, run.split)
    return Leaks(leaking_pairs(duplicates, run.split), leaked, *_scores(run, leaked), stats.skipped, changed)


def load_leaks(run: FinishedRun) -> Leaks | None:
    """Return the leaks that an earlier search wrote into the run; None if there are none of this split."""
    path = run.directory.leaks
    if not path.is_file():
        return None
    row_of = {(row.path, row.part, row.truth): row for row in run.split.rows}
    pairs = []
    for line in read_table(path, PAIR_COLUMNS):
        a, b = (row_of.get((line[f"path_{x}"], line[f"split_{x}"], line[f"label_{x}"])) for x in "ab")
        if a is None or b is None:
            return None
        score = float(line["score"]) if line["score"] else None
        pairs.append(Leak(a, b, line["kind"], score, line["mirrored"] == "True"))
    # `leaking_pairs` lists every image that has a duplicate in another split.
    across = {row.path for leak in pairs if leak.across_splits for row in (leak.a, leak.b)}
    leaked = tuple(row.path for row in run.split.rows if row.path in across and row.part == "test")
    return Leaks(tuple(pairs), leaked, *_scores(run, leaked), ())


def find_or_load_leaks(run: FinishedRun, *, search: bool, progress: Progress = SILENT) -> Leaks | None:
    """Return the leaks of a run: from a new search, else from an earlier one; None if there was no search.

    Raises
    ------
    RunError
        If the search fails and there is no earlier result.
    """
    if search:
        try:
            return leaks(run, progress=progress)
        except RunError:
            if (earlier := load_leaks(run)) is None:
                raise
    else:
        earlier = load_leaks(run)
    if earlier is not None:
        progress.note(f"leakage: using the earlier result in {run.directory.leaks}")
    return earlier


def leaking_pairs(duplicates: Duplicates, split: Split) -> tuple[Leak, ...]:
    """Return the duplicate pairs in different splits or with different labels.

    Every image with a duplicate in another split (or with another label) is in at least one pair, even if both are
    linked only through other images of their group.
    """
    row_of = {row.path: row for row in split.rows}
    all_pairs = [
        Leak(row_of[pair.path_a], row_of[pair.path_b], pair.kind, pair.score, pair.mirrored)
        for pair in duplicates.pairs
    ]
    pairs = {(leak.a.path, leak.b.path): leak for leak in all_pairs if leak.across_splits or leak.across_classes}
    for group in duplicates.groups:
        members = [row_of[path] for path in group]
        for of in (attrgetter("part"), attrgetter("labels")):
            paired = {path for paths, leak in pairs.items() if of(leak.a) != of(leak.b) for path in paths}
            for row in members:
                other = next((each for each in members if of(each) != of(row)), None)
                if other is not None and row.path not in paired:
                    a, b = sorted((row, other), key=members.index)
                    same = a.sha256 == b.sha256
                    pairs[a.path, b.path] = Leak(a, b, "exact" if same else "near", 1.0 if same else None, False)
    place = {row.path: number for number, row in enumerate(split.rows)}
    return tuple(pairs[paths] for paths in sorted(pairs, key=lambda paths: (place[paths[0]], place[paths[1]])))


def leaked_test_images(duplicates: Duplicates, split: Split) -> tuple[str, ...]:
    """Return the test images that have a duplicate in the training or validation set."""
    part = {row.path: row.part for row in split.rows}
    leaked = {path for group in duplicates.groups if any(part[each] != "test" for each in group) for path in group}
    return tuple(row.path for row in split.rows if row.part == "test" and row.path in leaked)


def summary(result: Leaks) -> list[str]:
    """Return lines for the user, the most important first."""
    if not result.pairs:
        return ["no leakage: no image is in two splits or in two classes"]
    lines, leaked, across_splits = [], len(result.leaked_test_images), result.across_splits
    if leaked:
        examples = _examples(across_splits)
        lines.append(
            f"leakage: {counted(leaked, 'test image', 'is')} also in the training or validation set: {examples}"
        )
    elif across_splits:
        lines.append(f"{counted(len(across_splits), 'duplicate pair', 'is')} in two splits: {_examples(across_splits)}")
    if leaked and result.score_with_leaks is not None:
        name, without = result.metric.replace("_", " "), result.score_without_leaks
        rest = f"{without['value']:.3f} without them" if without else "no test image is left without them"
        lines.append(f"test {name} {result.score_with_leaks['value']:.3f}, {rest}")
    if across_classes := result.across_classes:
        lines.append(
            f"{counted(len(across_classes), 'duplicate pair', 'is')} in two classes: {_examples(across_classes)}"
        )
    return lines


def _examples(pairs: Sequence[Leak]) -> str:
    shown = "; ".join(f"{leak.a.path} = {leak.b.path}" for leak in pairs[:3])
    return shown + ("; ..." if len(pairs) > 3 else "")


def _scores(run: FinishedRun, leaked: Iterable[str]) -> tuple[str, MetricValue | None, MetricValue | None]:
    """Return the name of the metric, its value on all test images, and on those that are not leaked."""
    name = "accuracy" if run.split.task == SINGLE_LABEL else "mean_average_precision"
    if "test" not in run.parts:
        return name, None, None
    test, leaked = run.predictions_of("test"), set(leaked)
    clean = np.array([path not in leaked for path in test.predictions.paths], bool)

    def score(mask: NDArray[np.bool_]) -> MetricValue | None:
        if not mask.any():
            return None
        truth, probabilities = test.truth[mask], test.predictions.probabilities[mask]
        if name == "accuracy":
            return proportion(int((probabilities.argmax(axis=1) == truth).sum()), len(truth))
        return exact_value(mean_average_precision(truth, probabilities))

    return name, score(np.ones(len(clean), bool)), score(clean)
