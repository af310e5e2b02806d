"""The runs that an ensemble is made of: whether they fit one another, and what each said of the same pictures."""

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
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, by_pattern
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError, RunError
from transfer_cli.inference.combine import Given
from transfer_cli.recipe.recipes import METHODS
from transfer_cli.runs.completed_run import FinishedRun

_LISTED = 10


@dataclass(frozen=True)
class Part:
    """What each member said of the pictures of a part, none of which it had learnt from when it said so.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        The place of each picture in the split of the first member.
    truth : ndarray of shape (n,) or (n, k), int
    given : ndarray of shape (m, n, k), float32
    assign_group_ids : ndarray of shape (n,), int
        The same number for relatives (see `Members.kin_of`).
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    given: Given
    assign_group_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Runs on the same classes and the same parts.

    Attributes
    ----------
    runs : tuple of FinishedRun
    bundles : tuple of OpenedBundle
    names : tuple of str
        What each is called: the last folder of its path, and more of it where several have the same.
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
            When they are fewer than two, or one is given twice, or they have other classes or other parts, or one has
            learnt from what another holds out.
        RunError
            When one is no finished run.
        ModelError
            When one has no model, or it is damaged.
        """
        if len(paths) < 2:
            raise InputError(f"Expected two runs or more. Received: {len(paths)}.", hint="See what there is: ls runs")
        places = [path.resolve() for path in paths]
        if twice := [str(path) for place, path in zip(places, paths, strict=True) if places.count(place) > 1]:
            raise InputError(f"Expected each run once. Received: {twice[0]} and {twice[1]}.")
        runs = tuple(FinishedRun.read(path) for path in paths)
        bundles = tuple(ModelBundle.open(path) for path in paths)
        members = cls(runs, bundles, _names(paths))
        members._must_have_one_task()
        members._must_hold_out_what_others_do()
        return members

    @property
    def split(self) -> Split:
        """The parts, as the first run has them."""
        return self.runs[0].split

    @cached_property
    def has_held_out(self) -> bool:
        """Whether there are pictures of val, or out-of-fold answers, that each member was asked about."""
        return all("val" in run.parts for run in self.runs) and not self.are_bags

    @cached_property
    def are_bags(self) -> bool:
        """Whether some were asked about what their bootstrap sample left out alone: each about other pictures."""
        return any(run.recipe.get("bag") for run in self.runs) and not self.split.mask("val").any()

    def part(self, name: str) -> Part | None:
        """Return what all members said of val or test; None where one of them was not asked.

        Without a val part these are the out-of-fold answers about the pictures of train; a picture that one of the
        members could not be asked about so is left out.
        """
        if any(name not in run.parts for run in self.runs) or (name == "val" and self.are_bags):
            return None
        first, *others = (self._answers(run, name) for run in self.runs)
        known = [key for key in first if all(key in other for other in others)]
        if not known:
            return None
        given = np.stack([np.stack([answers[key] for key in known]) for answers in (first, *others)])
        return self._part(known, given)

    def out_of_bag(self) -> Part | None:
        """Return what members said of the pictures of train that are not in their bags, NaN of those that are.

        A picture that is in the bags of all is left out (Breiman 1996, "Out-of-bag estimation").
        """
        answers = [self._answers(run, "val") if "val" in run.parts else {} for run in self.runs]
        known = [key for key in _keys(self.split) if any(key in each for each in answers)]
        if not known:
            return None
        unknown = np.full(len(self.split.class_names), np.nan, np.float32)
        given = np.stack([np.stack([each.get(key, unknown) for key in known]) for each in answers])
        return self._part(known, given)

    def places(self, run: FinishedRun, part: Part) -> NDArray[np.int64]:
        """Return where the pictures of a part are in the split of one of the members."""
        place = {key: row for row, key in enumerate(_keys(run.split))}
        own = _keys(self.split)
        return np.array([place[own[row]] for row in part.rows], np.int64)

    def kin_of(self, run: FinishedRun) -> NDArray[np.int64]:
        """Return the same number for relatives in the split of a member: equal to the byte, or of one group.

        Copies that were found by a backbone's features are relatives by their bytes alone: what was found is not kept.
        """
        rows = run.split.rows
        digests = [row.sha256 for row in rows]
        patterns = [leaf.recipe.get("split", {}).get("group_by") for each in self.bundles for leaf in each.leaves()]
        pattern = next((text for text in patterns if text and text != NEAR_DUPLICATES), None)
        return assign_group_ids(digests, None if pattern is None else by_pattern([row.path for row in rows], pattern))

    def _part(self, known: Sequence[_Key], given: Given) -> Part:
        place = {key: row for row, key in enumerate(_keys(self.split))}
        rows = np.array([place[key] for key in known], np.int64)
        order = np.argsort(rows)
        rows = rows[order]
        return Part(rows, self.split.truth()[rows], given[:, order], self.kin_of(self.runs[0])[rows])

    def _answers(self, run: FinishedRun, part: str) -> dict[_Key, NDArray[np.float32]]:
        """Return what a run said of each picture of a part."""
        answered, keys = run.answered(part), _keys(run.split)
        return dict(zip((keys[row] for row in answered.rows), answered.predictions.probabilities, strict=True))

    def _must_have_one_task(self) -> None:
        first, first_name = self.runs[0].split, self.names[0]
        for run, name in zip(self.runs[1:], self.names[1:], strict=True):
            if run.split.task != first.task:
                raise InputError(f"{first_name} is {first.task}, and {name} is {run.split.task}. Expected one task.")
            one, other = set(first.class_names), set(run.split.class_names)
            if one != other:
                lines = [
                    f"only {whose}: {', '.join(sorted(names))}"
                    for whose, names in ((first_name, one - other), (name, other - one))
                    if names
                ]
                raise InputError(
                    f"{first_name} and {name} have other classes.\n" + "\n".join(lines),
                    hint="Train them on one folder: an ensemble knows the classes that each of its members knows.",
                )

    def _must_hold_out_what_others_do(self) -> None:
        """Raise InputError unless val and test are the same pictures for all, by content."""
        leaks = []
        for run, name in zip(self.runs, self.names, strict=True):
            learnt = {row.sha256: row.path for row in run.split.rows if row.part == "train"}
            for other, other_name in zip(self.runs, self.names, strict=True):
                if other is not run:
                    leaks += [
                        f"{name} has learnt from {learnt[row.sha256]}, which is in {row.part} of {other_name}"
                        for row in other.split.rows
                        if row.part != "train" and row.sha256 in learnt
                    ]
        if leaks:
            more = f"\n  and {len(leaks) - _LISTED} more" if len(leaks) > _LISTED else ""
            raise InputError(
                "These runs have other parts, so that no picture would say honestly how good they are together:"
                + "".join(f"\n  {line}" for line in leaks[:_LISTED])
                + more,
                hint=self._on_one_split(),
            )
        for part in ("val", "test"):
            first, *others = ({row.sha256 for row in run.split.rows if row.part == part} for run in self.runs)
            for held, name in zip(others, self.names[1:], strict=True):
                if held != first:
                    raise InputError(
                        f"{self.names[0]} and {name} do not hold out the same pictures: {len(first)} and {len(held)} "
                        f"of {part}, {len(first & held)} of them in both.",
                        hint=self._on_one_split(),
                    )
        self._must_agree_on_what_is_held_out()

    def _must_agree_on_what_is_held_out(self) -> None:
        """Raise InputError where a picture of val or test has another class for one of the members, or other copies."""
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
                f"{self.names[0]} and {name} do not say the same of what they hold out: {one} there, and {two} here.",
                hint="Train them on the folder as it is now, with --overwrite: the parts stay the same.",
            )

    def _on_one_split(self) -> str:
        """Return what to type so that all follow the split of the run that holds out most."""
        held_out = [sum(row.part != "train" for row in run.split.rows) for run in self.runs]
        guide = self.runs[int(np.argmax(held_out))]
        parts = {row.sha256: row.part for row in guide.split.rows}
        lines = ["Train them on one split:"]
        for run in self.runs:
            if run is guide or all(parts.get(row.sha256) == row.part for row in run.split.rows):
                continue
            if (method := str(run.recipe.get("method"))) not in METHODS:
                lines.append(f"the members of {run.directory.path}, and then it, anew")
                continue
            files = run.directory
            words = ["transfer-cli", method, run.source, "--recipe", files.recipe, "--split", guide.directory.split]
            lines.append(shlex.join(map(str, [*words, "-o", files.path, "--overwrite"])))
        return "\n".join(lines)

    def must_have_models_of(self, kind: str, what: str) -> None:
        """Raise RunError where a member is of another kind."""
        for opened, name in zip(self.bundles, self.names, strict=True):
            if opened.bundle.kind != kind:
                raise RunError(f"{name} is a model of the kind {opened.bundle.kind}. Expected {what}.")


_Key = tuple[str, str, int]
"""A picture by its digest and its labels, and which of several that are equal in both it is."""


def _keys(split: Split) -> list[_Key]:
    """Return what tells each row of a split from the others, the same in the split of every member."""
    counted: Counter[tuple[str, str]] = Counter()
    keys = [("", "", 0)] * len(split.rows)
    for place in sorted(range(len(split.rows)), key=lambda place: split.rows[place].path):
        row = split.rows[place]
        keys[place] = (row.sha256, row.truth, counted[row.sha256, row.truth])
        counted[row.sha256, row.truth] += 1
    return keys


def _held_out(split: Split) -> list[_Key]:
    return [key for key, row in zip(_keys(split), split.rows, strict=True) if row.part != "train"]


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    parts = [path.resolve().parts for path in paths]
    length = 1
    while len({each[-length:] for each in parts}) < len(parts):
        length += 1
    return tuple("/".join(each[-length:]) for each in parts)
