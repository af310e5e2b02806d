"""The member runs of an ensemble: whether they are compatible, and their predictions for the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, groups_of_rows
from transfer_cli.data.split import Split
from transfer_cli.errors import LIST_RUNS, InputError
from transfer_cli.inference.ensemble_model import MemberProbabilities
from transfer_cli.recipe.recipes import METHODS
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.runs.selection_tables import table_options
from transfer_cli.text import shell_command

_MAX_LISTED = 10


@dataclass(frozen=True)
class MemberPredictions:
    """The predictions of each member for the same images, which the member was not trained on.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        Row of each image in the split of the first member.
    truth : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (m, n, k), float32
        NaN where a member has no prediction (only `Members.out_of_bag`).
    group_ids : ndarray of shape (n,), int
        Images with the same number belong to one group (see `Members.group_ids_in`).
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    probabilities: MemberProbabilities
    group_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Runs with the same classes and the same validation and test set.

    Attributes
    ----------
    runs : tuple of FinishedRun
    bundles : tuple of OpenedBundle
    names : tuple of str
        The last folder of each path, or more of it where several are equal.
    """

    runs: tuple[FinishedRun, ...]
    bundles: tuple[OpenedBundle, ...]
    names: tuple[str, ...]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Members:
        """Return the runs at some paths.

        Raises
        ------
        InputError
            When there are fewer than two, one is listed twice, classes or validation and test sets differ, or one was
            trained on images that another one holds out.
        RunError
            When one is not a finished run.
        ModelError
            When one has no model, or a damaged one.
        """
        if len(paths) < 2:
            raise InputError(f"Expected two or more runs. Received: {len(paths)}.", hint=LIST_RUNS)
        places = [path.resolve() for path in paths]
        if twice := [str(path) for place, path in zip(places, paths, strict=True) if places.count(place) > 1]:
            raise InputError(f"Expected each run once. Received: {twice[0]} and {twice[1]}.")
        runs = tuple(FinishedRun.read(path) for path in paths)
        bundles = tuple(ModelBundle.open(path) for path in paths)
        members = cls(runs, bundles, _names(paths))
        members._check_classes()
        members._check_no_leakage()
        members._check_held_out_images()
        members._check_held_out_labels()
        return members

    @property
    def split(self) -> Split:
        """The split of the first run."""
        return self.runs[0].split

    @cached_property
    def has_held_out_predictions(self) -> bool:
        """Whether all members have predictions for the same validation images, or out-of-fold predictions."""
        return all("val" in run.parts for run in self.runs) and not self.are_bags

    @cached_property
    def are_bags(self) -> bool:
        """Whether some members have only out-of-bag predictions, each for other images."""
        return any(run.recipe.get("bag") for run in self.runs) and not self.split.mask("val").any()

    def predictions(self, part: str) -> MemberPredictions | None:
        """Return the predictions of all members for val or test; None if one of them has none.

        Without a validation set, "val" means the out-of-fold predictions for the training images. Images without a
        prediction of every member are left out.
        """
        if any(part not in run.parts for run in self.runs) or (part == "val" and self.are_bags):
            return None
        return self._joined(part, all)

    def out_of_bag(self) -> MemberPredictions | None:
        """Return the predictions of each member for the training images outside its bag; NaN for those inside.

        Images that are in all bags are left out (Breiman 1996, "Out-of-bag estimation").
        """
        return self._joined("val", any)

    def rows_in(self, run: FinishedRun, predictions: MemberPredictions) -> NDArray[np.int64]:
        """Return the rows of the images of some predictions in the split of a member."""
        row_of = {key: row for row, key in enumerate(_keys(run.split))}
        own = _keys(self.split)
        return np.array([row_of[own[row]] for row in predictions.rows], np.int64)

    def group_ids_in(self, run: FinishedRun) -> NDArray[np.int64]:
        """Return a group number per row of the split of a member: equal for identical files and for one group.

        Near-duplicates that were found by features are not grouped, as their groups are not stored.
        """
        rows = run.split.rows
        digests = [row.sha256 for row in rows]
        patterns = [leaf.recipe.get("split", {}).get("group_by") for each in self.bundles for leaf in each.leaves()]
        pattern = next((text for text in patterns if text and text != NEAR_DUPLICATES), None)
        groups = None if pattern is None else groups_of_rows(rows, pattern)
        return assign_group_ids(digests, groups)

    def training_images(self) -> TrainingImages:
        """Return the images that any member was trained on, and those used to select a member or the ensemble."""
        # None of them is None, since the split of a run is always known.
        each = [*filter(None, (training_images_of(str(run.directory.path)) for run in self.runs))]
        own = TrainingImages.of(row.sha256 for row in self.split.rows if row.part == "val").train
        train = np.unique(np.concatenate([images.train for images in each]))
        return TrainingImages(train, np.setdiff1d(np.concatenate([own, *(images.val for images in each)]), train))

    def _joined(self, part: str, needed: Callable[[Iterable[bool]], bool]) -> MemberPredictions | None:
        """Return the predictions for the images that all, or any, of the members predicted; None if there are none."""
        each_run = [_probabilities_by_key(run, part) if part in run.parts else {} for run in self.runs]
        keys = _keys(self.split)
        rows = np.flatnonzero([needed(key in each for each in each_run) for key in keys])
        if not len(rows):
            return None
        unknown = np.full(len(self.split.class_names), np.nan, np.float32)
        by_image = np.array([[each.get(keys[row], unknown) for each in each_run] for row in rows], np.float32)
        group_ids = self.group_ids_in(self.runs[0])[rows]
        return MemberPredictions(rows, self.split.truth()[rows], by_image.swapaxes(0, 1), group_ids)

    def _check_classes(self) -> None:
        first, first_name = self.split, self.names[0]
        for run, name in zip(self.runs[1:], self.names[1:], strict=True):
            if run.split.task != first.task:
                raise InputError(
                    f"{first_name} is {first.task}, but {name} is {run.split.task}. Expected the same task for all."
                )
            one, other = set(first.class_names), set(run.split.class_names)
            if one != other:
                only = {first_name: one - other, name: other - one}
                lines = [f"\nonly {whose}: {', '.join(sorted(names))}" for whose, names in only.items() if names]
                raise InputError(
                    f"{first_name} and {name} have different classes.{''.join(lines)}",
                    hint="Train them on the same folder: all members of an ensemble need the same classes.",
                )

    def _check_no_leakage(self) -> None:
        """Raise InputError if a member was trained on images that another one holds out, by content."""
        trained = [{row.sha256: row.path for row in run.split.rows if row.part == "train"} for run in self.runs]
        lines = ["These runs have different splits, so the ensemble cannot be evaluated without data leakage:"]
        lines += [
            f"{self.names[one]} was trained on {trained[one][row.sha256]}, which is in {row.part} of {self.names[two]}"
            for one, two in permutations(range(len(self.runs)), 2)
            for row in self.runs[two].split.rows
            if row.part != "train" and row.sha256 in trained[one]
        ]
        if (leaks := len(lines) - 1) > _MAX_LISTED:
            lines[1 + _MAX_LISTED :] = [f"and {leaks - _MAX_LISTED} more"]
        if leaks:
            raise InputError("\n  ".join(lines), hint=self._commands_for_one_split())

    def _check_held_out_images(self) -> None:
        """Raise InputError unless val and test hold the same images for all members, by content."""
        for part in ("val", "test"):
            first, *others = ({row.sha256 for row in run.split.rows if row.part == part} for run in self.runs)
            for held_out, name in zip(others, self.names[1:], strict=True):
                if held_out != first:
                    raise InputError(
                        f"{self.names[0]} and {name} have different {part} images: {len(first)} and {len(held_out)}, "
                        f"of which {len(first & held_out)} are in both. Expected the same split for all members.",
                        hint=self._commands_for_one_split(),
                    )

    def _check_held_out_labels(self) -> None:
        """Raise InputError if val and test have other labels, or other numbers of identical files, for a member."""
        first = Counter(key[:2] for key in _held_out(self.split))
        for run, name in zip(self.runs[1:], self.names[1:], strict=True):
            other = Counter(key[:2] for key in _held_out(run.split))
            if first == other:
                continue
            digest = next(key[0] for key in [*(first - other), *(other - first)])
            one, two = (
                " and ".join(f"{row.path} ({row.truth or 'no label'})" for row in split.rows if row.sha256 == digest)
                for split in (self.split, run.split)
            )
            raise InputError(
                f"{self.names[0]} and {name} have different labels for a held-out image: {one} in {self.names[0]}, "
                f"{two} in {name}.",
                hint="Train them again on the current folder, with --overwrite: the split is kept.",
            )

    def _commands_for_one_split(self) -> str:
        """Return the commands that train all members on the split of the run that holds out most images."""
        guide = max(self.runs, key=lambda run: sum(row.part != "train" for row in run.split.rows))
        parts = {row.sha256: row.part for row in guide.split.rows}
        lines = ["Train all members on the same split:"]
        for run in self.runs:
            if run is guide or all(parts.get(row.sha256) == row.part for row in run.split.rows):
                continue
            if (method := str(run.recipe.get("method"))) not in METHODS:
                lines.append(f"the members of {run.directory.path}, and then this ensemble again")
                continue
            files = run.directory
            command = ["transfer-cli", method, run.source, "--recipe", files.recipe, "--split", guide.directory.split]
            command += [*table_options(files), "-o", files.path, "--overwrite"]
            lines.append(shell_command(*map(str, command)))
        return "\n".join(lines)


_Key = tuple[str, str, int]
"""An image: its digest, its labels, and a counter of images that are equal in both."""


def _keys(split: Split) -> list[_Key]:
    """Return a key per row of a split, which identifies the image in the split of every member."""
    counts: Counter[tuple[str, str]] = Counter()
    keys = [("", "", 0)] * len(split.rows)
    for place in sorted(range(len(split.rows)), key=lambda place: split.rows[place].path):
        row = split.rows[place]
        keys[place] = (row.sha256, row.truth, counts[row.sha256, row.truth])
        counts[row.sha256, row.truth] += 1
    return keys


def _probabilities_by_key(run: FinishedRun, part: str) -> dict[_Key, NDArray[np.float32]]:
    predicted, keys = run.predictions_of(part), _keys(run.split)
    return dict(zip((keys[row] for row in predicted.rows), predicted.predictions.probabilities, strict=True))


def _held_out(split: Split) -> list[_Key]:
    return [key for key, row in zip(_keys(split), split.rows, strict=True) if row.part != "train"]


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    parts = [path.resolve().parts for path in paths]
    length = next(length for length in count(1) if len({each[-length:] for each in parts}) == len(parts))
    return tuple("/".join(each[-length:]) for each in parts)
