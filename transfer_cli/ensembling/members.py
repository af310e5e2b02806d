"""The member runs of an ensemble: whether they are compatible, and their predictions for the same images."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, groups_by_pattern
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.inference.ensemble_model import MemberProbabilities
from transfer_cli.recipe.recipes import METHODS
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_of_model import training_images_of

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
            raise InputError(f"Expected two or more runs. Received: {len(paths)}.", hint="List your runs: ls runs")
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
        first, *others = (self._probabilities_by_key(run, part) for run in self.runs)
        common = [key for key in first if all(key in other for other in others)]
        if not common:
            return None
        stacked = np.stack([np.stack([each[key] for key in common]) for each in (first, *others)])
        return self._in_order(common, stacked)

    def out_of_bag(self) -> MemberPredictions | None:
        """Return the predictions of each member for the training images outside its bag; NaN for those inside.

        Images that are in all bags are left out (Breiman 1996, "Out-of-bag estimation").
        """
        each_run = [self._probabilities_by_key(run, "val") if "val" in run.parts else {} for run in self.runs]
        known = [key for key in _keys(self.split) if any(key in each for each in each_run)]
        if not known:
            return None
        unknown = np.full(len(self.split.class_names), np.nan, np.float32)
        stacked = np.stack([np.stack([each.get(key, unknown) for key in known]) for each in each_run])
        return self._in_order(known, stacked)

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
        groups = None if pattern is None else groups_by_pattern([row.path for row in rows], pattern)
        return assign_group_ids(digests, groups)

    def training_images(self) -> TrainingImages:
        """Return the images that any member was trained on, and those used to select a member or the ensemble."""
        trained: list[NDArray[np.uint64]] = []
        selected = [TrainingImages.of(row.sha256 for row in self.split.rows if row.part == "val").train]
        for run in self.runs:
            images = training_images_of(str(run.directory.path))
            assert images is not None  # the split of a run is always known
            trained.append(images.train)
            selected.append(images.val)
        train: NDArray[np.uint64] = np.unique(np.concatenate(trained))
        return TrainingImages(train, np.setdiff1d(np.concatenate(selected), train))

    def _in_order(self, keys: Sequence[_Key], stacked: MemberProbabilities) -> MemberPredictions:
        row_of = {key: row for row, key in enumerate(_keys(self.split))}
        rows = np.array([row_of[key] for key in keys], np.int64)
        order = np.argsort(rows)
        rows = rows[order]
        return MemberPredictions(
            rows, self.split.truth()[rows], stacked[:, order], self.group_ids_in(self.runs[0])[rows]
        )

    def _probabilities_by_key(self, run: FinishedRun, part: str) -> dict[_Key, NDArray[np.float32]]:
        predicted, keys = run.predictions_of(part), _keys(run.split)
        return dict(zip((keys[row] for row in predicted.rows), predicted.predictions.probabilities, strict=True))

    def _check_classes(self) -> None:
        first, first_name = self.runs[0].split, self.names[0]
        for run, name in zip(self.runs[1:], self.names[1:], strict=True):
            if run.split.task != first.task:
                raise InputError(
                    f"{first_name} is {first.task}, but {name} is {run.split.task}. Expected the same task for all."
                )
            one, other = set(first.class_names), set(run.split.class_names)
            if one != other:
                lines = [
                    f"only {whose}: {', '.join(sorted(names))}"
                    for whose, names in ((first_name, one - other), (name, other - one))
                    if names
                ]
                raise InputError(
                    f"{first_name} and {name} have different classes.\n" + "\n".join(lines),
                    hint="Train them on the same folder: all members of an ensemble need the same classes.",
                )

    def _check_no_leakage(self) -> None:
        """Raise InputError if a member was trained on images that another one holds out, by content."""
        leaks = []
        for run, name in zip(self.runs, self.names, strict=True):
            trained = {row.sha256: row.path for row in run.split.rows if row.part == "train"}
            for other, other_name in zip(self.runs, self.names, strict=True):
                if other is not run:
                    leaks += [
                        f"{name} was trained on {trained[row.sha256]}, which is in {row.part} of {other_name}"
                        for row in other.split.rows
                        if row.part != "train" and row.sha256 in trained
                    ]
        if leaks:
            more = f"\n  and {len(leaks) - _MAX_LISTED} more" if len(leaks) > _MAX_LISTED else ""
            raise InputError(
                "These runs have different splits, so the ensemble cannot be evaluated without data leakage:"
                + "".join(f"\n  {line}" for line in leaks[:_MAX_LISTED])
                + more,
                hint=self._commands_for_one_split(),
            )

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
        held_out = [sum(row.part != "train" for row in run.split.rows) for run in self.runs]
        guide = self.runs[int(np.argmax(held_out))]
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
            lines.append(shlex.join(map(str, [*command, "-o", files.path, "--overwrite"])))
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


def _held_out(split: Split) -> list[_Key]:
    return [key for key, row in zip(_keys(split), split.rows, strict=True) if row.part != "train"]


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    parts = [path.resolve().parts for path in paths]
    length = 1
    while len({each[-length:] for each in parts}) < len(parts):
        length += 1
    return tuple("/".join(each[-length:]) for each in parts)
