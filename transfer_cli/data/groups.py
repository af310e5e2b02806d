"""Which pictures are relatives and belong into one part: of one patient, of one day, copies of one picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import RecipeError

if TYPE_CHECKING:
    from transfer_cli.data.split import Split

NEAR_DUPLICATES = "near-duplicates"
"""The word that groups copies of a picture, where another text is a regular expression."""
_FAR = 0.05
"""By so much a share of the pictures may differ from what was asked for without a word."""


def must_be_a_pattern(text: str) -> None:
    """Raise ValueError unless `text` is a regular expression that can match something."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"expected {NEAR_DUPLICATES} or a regular expression; this one has a fault: {error}") from None
    if pattern.fullmatch(""):
        raise ValueError("expected a regular expression that matches something; this one matches nothing, too")


def must_part(paths: Sequence[str], text: str) -> None:
    """Raise RecipeError where a regular expression names no group, or one only: nothing would be kept together by it.

    Parameters
    ----------
    paths : sequence of str
        Of the pictures of a folder.
    text : str
        As in the recipe.
    """
    if text == NEAR_DUPLICATES or not paths:
        return
    found = by_pattern(paths, text)
    examples = " and ".join(dict.fromkeys((paths[0], paths[-1])))
    hint = "What is in brackets names the group; of photos/cat/patient07_3.jpg: --group-by 'patient(\\d+)'"
    if not any(found):
        raise RecipeError(
            f"--group-by {text} (split.group_by) matches none of the {len(paths)} pictures. Expected it to match "
            f"within paths such as {examples}.",
            hint=hint,
        )
    if len(paths) > 1 and None not in found and len(set(found)) == 1:
        raise RecipeError(
            f"--group-by {text} (split.group_by) puts all {len(paths)} pictures into one group, {found[0]}: they would "
            "be in one part, and nothing could be tested. Expected several groups within paths such as "
            f"{examples}.",
            hint=hint,
        )


def by_pattern(paths: Iterable[str], text: str) -> list[str | None]:
    r"""Return the group of each path: the first group of the match, or all of it; None where there is no match.

    Examples
    --------
    >>> by_pattern(["cat/a1-x.jpg", "cat/a1-y.jpg", "cat/z.jpg"], r"a(\d)-")
    ['1', '1', None]
    """
    pattern = re.compile(text)
    found = (pattern.search(path) for path in paths)
    return [None if match is None else _name(match) for match in found]


def by_members(paths: Sequence[str], digests: Sequence[str], groups: Iterable[Sequence[str]]) -> list[str | None]:
    """Return the group of each path, called by the lowest digest in it; None where it is in none."""
    digest_of = dict(zip(paths, digests, strict=True))
    name_of: dict[str, str] = {}
    for group in groups:
        name = min(digest_of[path] for path in group)
        name_of |= dict.fromkeys(group, name)
    return [name_of.get(path) for path in paths]


def assign_group_ids(digests: Sequence[str], groups: Sequence[str | None] | None = None) -> NDArray[np.int64]:
    """Return a number for each picture, the same for relatives: of one group, or equal to the byte.

    Examples
    --------
    >>> kin(["x", "y", "x", "z"], ["a", "a", None, None]).tolist()
    [0, 0, 0, 3]
    """
    first: dict[tuple[str, str], int] = {}
    lowest = list(range(len(digests)))

    def root(place: int) -> int:
        while lowest[place] != place:
            lowest[place] = lowest[lowest[place]]
            place = lowest[place]
        return place

    for place, digest in enumerate(digests):
        group = groups[place] if groups is not None else None
        for key in [("digest", digest), *([] if group is None else [("group", group)])]:
            one, other = sorted((root(first.setdefault(key, place)), root(place)))
            lowest[other] = one
    return np.array([root(place) for place in range(len(digests))], np.int64)


def summary(groups: Sequence[str | None], text: str) -> str:
    """Return one line about what was grouped."""
    named = [group for group in groups if group is not None]
    alone = len(groups) - len(named)
    if text == NEAR_DUPLICATES:
        return f"{text}: {len(named)} pictures are copies of one another, in {len(set(named))} groups"
    without = f"; {alone} pictures do not match and are alone" if alone else ""
    return f"grouped by {text}: {len(named)} pictures in {len(set(named))} groups{without}"


def warnings(groups: Sequence[str | None], split: Split) -> list[str]:
    """Return what a person should know of groups that have come into several parts."""
    rows: Mapping[str, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        if group is not None:
            rows[group].append(place)
    parted = [places for places in rows.values() if len({split.rows[place].part for place in places}) > 1]
    if not parted:
        return []
    first = parted[0]
    other = next(place for place in first if split.rows[place].part != split.rows[first[0]].part)
    example = " and ".join(f"{split.rows[place].path} ({split.rows[place].part})" for place in (first[0], other))
    why = "an earlier split" if split.made_by == "split.csv" else "the layout of the folder"
    return [f"{len(parted)} groups are in more than one part, since {why} says so: {example}, for example"]


def shares(groups: Sequence[str | None], split: Split, *, test: float, val: float) -> list[str]:
    """Return how the parts came out where that is far from the shares that were asked for: groups are large."""
    if split.made_by != "digest" or not any(groups):
        return []
    names = [("alone", place) if group is None else ("group", group) for place, group in enumerate(groups)]
    every, found = len(set(names)), []
    for part, wanted in (("test", test), ("val", val)):
        inside = [name for name, row in zip(names, split.rows, strict=True) if row.part == part]
        share = len(inside) / len(names)
        if wanted and abs(share - wanted) > max(_FAR, wanted / 4):
            found.append(
                f"{len(set(inside))} of {every} groups are {part}, {share:.0%} of the pictures ({wanted:.0%} asked for)"
            )
    if not found:
        return []
    return ["; ".join(found) + ". Groups are not parted; another --set split.seed=1 deals them otherwise"]


def _name(match: re.Match[str]) -> str | None:
    inner = match.groups()
    return (inner[0] if inner and inner[0] is not None else match.group()) or None
