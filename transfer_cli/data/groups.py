"""Groups of images that must stay in one part: images of one patient or one day, or near-duplicates."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import RecipeError
from transfer_cli.io.foreign_tables import fold
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFile, ImageFolder
    from transfer_cli.data.split import Split, SplitRow

NEAR_DUPLICATES = "near-duplicates"
"""Groups near-duplicates; any other text that does not begin with `COLUMN` is a regular expression."""
COLUMN = "column:"
"""Before the heading of a column of the CSV file that lists the images."""
_MAX_DEVIATION = 0.05
"""A larger difference between the requested and the actual share of a part is reported."""


def check_group_pattern(text: str) -> str:
    """Return `text`; raise ValueError unless it is a regular expression that does not match the empty text."""
    if text.startswith(COLUMN):
        if not group_column(text):
            raise ValueError(f"expected the heading of a column after {COLUMN}, as in column:group")
        return text
    try:
        if re.fullmatch(text, ""):
            raise ValueError("expected a regular expression that does not match the empty text")
    except re.error as error:
        raise ValueError(f"expected {NEAR_DUPLICATES} or a valid regular expression: {error}") from None
    return text


def group_column(text: str | None) -> str | None:
    """Return the heading of the column that gives the groups, or None if they are not given by a column."""
    return text.removeprefix(COLUMN).strip() if text and text.startswith(COLUMN) else None


def check_groups_of_folder(folder: ImageFolder, text: str) -> None:
    """Raise RecipeError if a pattern or column groups no image of a folder, or puts all into one group."""
    column = group_column(text)
    if column is None:
        return check_groups([file.path for file in folder.files], text)
    if folder.group_column is None or fold(folder.group_column) != fold(column):
        received = f"{folder.source}{' without this column' if folder.source.is_file() else ', a folder'}"
        raise RecipeError(
            f"--group-by {text} (split.group_by): expected a CSV file with a column {column}. Received: {received}.",
            hint="Give the CSV file in place of the folder, or a pattern of the paths: --group-by 'patient(\\d+)'",
        )
    groups = {file.group for file in folder.files}
    if len(groups) == 1 and len(folder.files) > 1:
        received = "empty cells only" if groups == {None} else f"{groups.pop()} in all rows"
        raise RecipeError(
            f"--group-by {text} (split.group_by): expected several groups in the column {column} of {folder.source}. "
            f"Received: {received}."
        )
    return None


def check_groups(paths: Sequence[str], text: str) -> None:
    """Raise RecipeError if a regular expression matches no path, or puts all paths into one group."""
    if text == NEAR_DUPLICATES or not paths:
        return
    groups = groups_by_pattern(paths, text)
    if not any(groups):
        problem = f"matches none of the {counted(len(paths), 'image')}. Expected a match"
    elif len(paths) > 1 and len(set(groups)) == 1:
        problem = f"puts all {len(paths)} images into one group, {groups[0]}: no test set is possible. Expected several"
    else:
        return
    examples = " and ".join(dict.fromkeys((paths[0], paths[-1])))
    raise RecipeError(
        f"--group-by {text} (split.group_by) {problem} in paths such as {examples}.",
        hint="The part in brackets names the group. For photos/cat/patient07_3.jpg: --group-by 'patient(\\d+)'",
    )


def groups_of_rows(rows: Iterable[ImageFile | SplitRow], text: str) -> list[str | None]:
    """Return the group of each image by a pattern of its path, or by the column that was read; None without a group."""
    if text.startswith(COLUMN):
        return [row.group for row in rows]
    return groups_by_pattern((row.path for row in rows), text)


def groups_by_pattern(paths: Iterable[str], text: str) -> list[str | None]:
    r"""Return the group of each path: the first group of the match, or the whole match; None if there is no match.

    Examples
    --------
    >>> groups_by_pattern(["cat/a1-x.jpg", "cat/a1-y.jpg", "cat/z.jpg"], r"a(\d)-")
    ['1', '1', None]
    """
    pattern = re.compile(text)
    matches = (pattern.search(path) for path in paths)
    return [None if match is None else _name(match) for match in matches]


def groups_by_members(
    paths: Sequence[str], digests: Sequence[str], groups: Iterable[Sequence[str]]
) -> list[str | None]:
    """Return the group of each path, named after the lowest digest in it; None if it is in no group."""
    digest_of = dict(zip(paths, digests, strict=True))
    name_of: dict[str, str] = {}
    for group in groups:
        name_of |= dict.fromkeys(group, min(digest_of[path] for path in group))
    return [name_of.get(path) for path in paths]


def assign_group_ids(digests: Sequence[str], groups: Sequence[str | None] | None = None) -> NDArray[np.int64]:
    """Return a number for each image, the same for images of one group and for byte-identical images.

    Examples
    --------
    >>> assign_group_ids(["x", "y", "x", "z"], ["a", "a", None, None]).tolist()
    [0, 0, 0, 3]
    """
    first: dict[tuple[str, str], int] = {}
    parent = list(range(len(digests)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, digest in enumerate(digests):
        group = groups[index] if groups is not None else None
        for key in [("digest", digest), *([] if group is None else [("group", group)])]:
            low, high = sorted((root(first.setdefault(key, index)), root(index)))
            parent[high] = low
    return np.array([root(index) for index in range(len(digests))], np.int64)


def summary(groups: Sequence[str | None], text: str) -> str:
    """Return one line about the groups."""
    named = [group for group in groups if group is not None]
    if text == NEAR_DUPLICATES:
        return f"{text}: {counted(len(named), 'image')} in {counted(len(set(named)), 'group')}"
    ungrouped = len(groups) - len(named)
    has = "has" if text.startswith(COLUMN) else "does"
    reason = f"{counted(ungrouped, 'image', has)} {'an empty cell' if has == 'has' else 'not match'}"
    rest = f"; {reason}: in no group" if ungrouped else ""
    return f"grouped by {text}: {counted(len(named), 'image')} in {counted(len(set(named)), 'group')}{rest}"


def warnings(groups: Sequence[str | None], split: Split) -> list[str]:
    """Return a warning if a group is in several parts."""
    parts_of: dict[str, dict[str, str]] = defaultdict(dict)
    for group, row in zip(groups, split.rows, strict=True):
        if group is not None:
            parts_of[group].setdefault(row.part, f"{row.path} ({row.part})")
    separated = [[*examples.values()] for examples in parts_of.values() if len(examples) > 1]
    if not separated:
        return []
    example = " and ".join(separated[0][:2])
    cause = "an earlier split" if split.made_by == "split.csv" else "the folder layout"
    return [f"{counted(len(separated), 'group', 'is')} in more than one part because of {cause}, for example {example}"]


def share_warnings(groups: Sequence[str | None], split: Split, *, test: float, val: float) -> list[str]:
    """Return a warning if large groups make the share of a part differ much from the requested one."""
    if split.made_by != "digest" or not any(groups):
        return []
    names = [("image", index) if group is None else ("group", group) for index, group in enumerate(groups)]
    total, parts = len(set(names)), []
    for part, wanted in (("test", test), ("val", val)):
        inside = [name for name, row in zip(names, split.rows, strict=True) if row.part == part]
        share = len(inside) / len(names)
        if wanted and abs(share - wanted) > max(_MAX_DEVIATION, wanted / 4):
            parts.append(
                f"{(count := len(set(inside)))} of {counted(total, 'group')} {'is' if count == 1 else 'are'} {part}, "
                f"{share:.0%} of the images ({wanted:.0%} requested)"
            )
    if not parts:
        return []
    return ["; ".join(parts) + ". A group is never split; --set split.seed=1 gives another split"]


def _name(match: re.Match[str]) -> str | None:
    inner = match.groups()
    return (inner[0] if inner and inner[0] is not None else match.group()) or None
