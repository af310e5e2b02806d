"""Which pictures are relatives and belong into one part: of one patient, of one day, copies of one picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer_cli.split import Split

NEAR_DUPLICATES = "near-duplicates"
"""The word that groups copies of a picture, where another text is a regular expression."""


def must_be_a_pattern(text: str) -> None:
    """Raise ValueError unless `text` is a regular expression that can match something."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"expected {NEAR_DUPLICATES} or a regular expression; this one has a fault: {error}") from None
    if pattern.fullmatch(""):
        raise ValueError("expected a regular expression that matches something; this one matches nothing, too")


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


def in_words(groups: Sequence[str | None], text: str) -> str:
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


def _name(match: re.Match[str]) -> str | None:
    inner = match.groups()
    return (inner[0] if inner and inner[0] is not None else match.group()) or None
