"""Groups stay in one part."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import save_image
from transfer_cli import ExtractRecipe
from transfer_cli.data.groups import (
    assign_group_ids,
    check_groups,
    check_groups_of_folder,
    groups_by_members,
    groups_by_pattern,
    groups_of_rows,
    share_warnings,
    summary,
    warnings,
)
from transfer_cli.data.image_folder import ImageFile, ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.data.table_columns import TableOptions
from transfer_cli.errors import FolderError, RecipeError

Image = tuple[str, int | None]
"""A class, and the number of a group."""
IMAGES = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 6)), min_size=1, max_size=40)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def split_of(images: list[Image], *, grouped: bool = True, layout: str | None = None, **options: object) -> Split:
    files = [ImageFile(f"{label}/{n}.jpg", (label,), layout) for n, (label, _) in enumerate(images)]
    groups = [None if group is None else str(group) for _, group in images]
    digests = [digest(str(number)) for number in range(len(files))]
    requested = {"test": 0.3, "val": 0.2, **options}
    return Split.make(files, digests, groups=groups if grouped else None, **requested)  # type: ignore[arg-type]


def separated(images: list[Image], split: Split) -> set[int]:
    """Return the groups that are in more than one part."""
    parts = defaultdict(set)
    for (_, group), row in zip(images, split.rows, strict=True):
        if group is not None:
            parts[group].add(row.part)
    return {group for group, group_parts in parts.items() if len(group_parts) > 1}


@given(IMAGES, st.integers(0, 20))
def test_split_groups_stay_in_one_part(images: list[Image], seed: int) -> None:
    split = split_of(images, seed=seed)
    assert separated(images, split) == set()
    assert {row.labels[0] for row in split.rows if row.part == "train"} == {label for label, _ in images}


@given(IMAGES, st.integers(0, 20))
def test_split_groups_stay_in_one_part_when_the_layout_leaves_val_open(images: list[Image], seed: int) -> None:
    split = split_of([*images], seed=seed, layout="train")
    assert separated(images, split) == set()


def test_split_without_groups_separates_them() -> None:
    images: list[Image] = [("ab"[number % 2], number // 4) for number in range(40)]
    assert separated(images, split_of(images, grouped=False))
    assert not separated(images, split_of(images))


@given(IMAGES, IMAGES)
def test_split_adding_images_moves_no_group(first: list[Image], more: list[Image]) -> None:
    # Enough images of each class, so that none is moved to fill a part.
    fixed: list[Image] = [("abc"[number % 3], None) for number in range(90)]
    before, after = split_of(fixed + first), split_of(fixed + first + more)
    assert before.rows == after.rows[: len(before.rows)]


@given(IMAGES, IMAGES)
def test_split_new_images_follow_their_group(first: list[Image], more: list[Image]) -> None:
    before = split_of(first)
    after = split_of(first + more, existing=before)
    assert after.rows[: len(before.rows)] == before.rows
    assert separated(first + more, after) == set()


def test_split_missing_part_gets_a_whole_group() -> None:
    images: list[Image] = [("a", number // 3) for number in range(9)]
    for seed in range(20):
        split = split_of(images, seed=seed, val=0.0)
        assert split.counts().keys() == {"train", "test"}
        assert {count % 3 for count in split.counts().values()} == {0}


def test_warnings_groups_separated_by_the_layout_are_reported() -> None:
    files = [ImageFile("train/a/1.jpg", ("a",), "train"), ImageFile("test/a/1.jpg", ("a",), "test")]
    groups = ["one", "one"]
    split = Split.make(files, [digest("1"), digest("2")], test=0.2, val=0.0, groups=groups)
    assert [row.part for row in split.rows] == ["train", "test"]
    assert warnings(groups, split) == [
        "1 group is in more than one part because of the folder layout, for example train/a/1.jpg (train) and "
        "test/a/1.jpg (test)"
    ]
    assert warnings([None, None], split) == []


def test_groups_by_pattern_uses_the_first_group_or_the_whole_match() -> None:
    paths = ["cat/p1_a.jpg", "cat/p12_b.jpg", "dog/p1_c.jpg", "dog/x.jpg"]
    assert groups_by_pattern(paths, r"p(\d+)_") == ["1", "12", "1", None]
    assert groups_by_pattern(paths, r"p\d+") == ["p1", "p12", "p1", None]
    assert groups_by_pattern(paths, r"(q)?p\d+") == ["p1", "p12", "p1", None]
    groups = groups_by_pattern(paths, r"p(\d+)_")
    assert summary(groups, "p") == "grouped by p: 3 images in 2 groups; 1 image does not match: in no group"


def test_groups_by_members_are_named_by_the_lowest_digest() -> None:
    assert groups_by_members(["x", "y", "z"], ["3", "1", "2"], [("x", "z")]) == ["2", None, "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("p(", "a valid regular expression"), ("x*", "does not match the empty text"), ("", "the empty text")],
)
def test_recipe_with_invalid_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ExtractRecipe.load(None, [], {"split.group_by": text})


def test_assign_group_ids_joins_groups_and_identical_images() -> None:
    assert assign_group_ids(["1", "2", "3"]).tolist() == [0, 1, 2]
    assert assign_group_ids(["1", "2", "1", "3", "3"], ["a", "a", "b", "c", None]).tolist() == [0, 0, 0, 3, 3]
    # The name of a group is not confused with a digest.
    assert assign_group_ids(["1", "2"], [None, "1"]).tolist() == [0, 1]


def test_check_groups_useless_pattern_is_refused_with_examples() -> None:
    paths = ["cat/patient1_a.jpg", "cat/patient1_b.jpg", "dog/patient2_c.jpg"]
    with pytest.raises(RecipeError, match=r"none of the 3 images.*cat/patient1_a\.jpg and dog/patient2_c\.jpg"):
        check_groups(paths, r"patiant(\d+)")
    with pytest.raises(RecipeError, match="all 3 images into one group, pat"):
        check_groups(paths, "pat")
    check_groups(paths, r"patient(\d+)")
    check_groups(paths, "patient1")
    check_groups(paths, "near-duplicates")


def test_share_warnings_report_large_deviations() -> None:
    rows: list[Image] = [("a", 0)] * 6 + [("a", 1), ("a", 2), ("a", 3), ("a", None)]
    files = [ImageFile(f"{n}.jpg", (label,), None) for n, (label, _) in enumerate(rows)]
    groups = [None if group is None else str(group) for _, group in rows]
    digests = [digest(str(number)) for number in range(len(rows))]
    split = Split.make(files, digests, test=0.2, val=0.0, groups=groups)
    large = Split(
        tuple(replace(row, part="test" if n < 6 else "train") for n, row in enumerate(split.rows)), 0, "digest"
    )
    (warning,) = share_warnings(groups, large, test=0.2, val=0.0)
    assert warning.startswith("1 of 5 groups is test, 60% of the images (20% requested)")
    few = Split(
        tuple(replace(row, part="test" if n in (7, 8) else "train") for n, row in enumerate(split.rows)), 0, "digest"
    )
    assert share_warnings(groups, few, test=0.2, val=0.0) == []
    assert share_warnings(groups, replace(large, made_by="folders"), test=0.2, val=0.0) == []


def test_check_groups_of_folder_column_needs_a_table_with_several_groups(tmp_path: Path) -> None:
    save_image(tmp_path / "0.png", (1, 2, 3), np.random.default_rng(0), 8)
    table = tmp_path / "m.csv"

    def check(text: str, column: str, read: str | None = None) -> None:
        rows = "".join(f"{n}.png,{'ab'[n % 2]},{value}\n" for n, value in enumerate(text))
        table.write_text(f"path,label,{column}\n{rows}")
        check_groups_of_folder(ImageFolder.scan(table, table=TableOptions(group=read)), "column:site")

    check("xxyy", "Site", "site")
    with pytest.raises(RecipeError, match="expected a CSV file with a column site"):
        check("xxyy", "group")
    with pytest.raises(RecipeError, match=r"expected several groups in the column site .* Received: x in all rows"):
        check("xxxx", "site", "site")
    with pytest.raises(RecipeError, match="Received: empty cells only"):
        check("    ", "site", "site")
    with pytest.raises(FolderError, match=r"--group-by column:site: .*m.csv has no column site"):
        check("xxyy", "place", "site")


def test_groups_of_rows_by_column_are_the_cells() -> None:
    rows = [ImageFile("p1.jpg", ("a",), None, "north"), ImageFile("p2.jpg", ("a",))]
    assert groups_of_rows(rows, "column:site") == ["north", None]
    assert groups_of_rows(rows, r"p(\d)") == ["1", "2"]
    assert summary(["north", None], "column:site").endswith("; 1 image has an empty cell: in no group")


def test_split_with_groups_of_a_table_keeps_them_in_its_file(tmp_path: Path) -> None:
    files = [ImageFile(f"{n}.jpg", ("ab"[n % 2],), None, "xyz"[n % 3]) for n in range(12)]
    groups = groups_of_rows(files, "column:group")
    split = Split.make(files, [digest(str(n)) for n in range(12)], test=0.3, val=0.0, groups=groups)
    split.write(tmp_path / "split.csv")
    assert Split.read(tmp_path / "split.csv").rows == split.rows
    assert len({(row.group, row.part) for row in split.rows}) == 3
