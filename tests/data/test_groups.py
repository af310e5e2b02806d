"""Relatives stay in one part."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_cli import ExtractRecipe
from transfer_cli.data.groups import assign_group_ids, by_members, by_pattern, must_part, shares, summary, warnings
from transfer_cli.data.image_folder import ImageFile
from transfer_cli.data.split import Split
from transfer_cli.errors import RecipeError

Picture = tuple[str, int | None]
"""A class, and the number of a group."""
PICTURES = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 6)), min_size=1, max_size=40)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def split_of(images: list[Picture], *, grouped: bool = True, layout: str | None = None, **options: object) -> Split:
    files = [ImageFile(f"{label}/{n}.jpg", (label,), layout) for n, (label, _) in enumerate(images)]
    groups = [None if group is None else str(group) for _, group in images]
    digests = [digest(str(number)) for number in range(len(files))]
    shares = {"test": 0.3, "val": 0.2, **options}
    return Split.make(files, digests, groups=groups if grouped else None, **shares)  # type: ignore[arg-type]


def parted(images: list[Picture], split: Split) -> set[int]:
    """Return the groups that are in more than one part."""
    parts = defaultdict(set)
    for (_, group), row in zip(images, split.rows, strict=True):
        if group is not None:
            parts[group].add(row.part)
    return {group for group, found in parts.items() if len(found) > 1}


@given(PICTURES, st.integers(0, 20))
def test_no_group_is_ever_parted(images: list[Picture], seed: int) -> None:
    split = split_of(images, seed=seed)
    assert parted(images, split) == set()
    assert {row.labels[0] for row in split.rows if row.part == "train"} == {label for label, _ in images}


@given(PICTURES, st.integers(0, 20))
def test_nor_where_the_layout_leaves_val_open(images: list[Picture], seed: int) -> None:
    split = split_of([*images], seed=seed, layout="train")
    assert parted(images, split) == set()


def test_a_split_that_ignores_groups_is_found_out() -> None:
    images: list[Picture] = [("ab"[number % 2], number // 4) for number in range(40)]
    assert parted(images, split_of(images, grouped=False))
    assert not parted(images, split_of(images))


@given(PICTURES, PICTURES)
def test_adding_pictures_moves_no_group(first: list[Picture], more: list[Picture]) -> None:
    # Classes with enough pictures of their own, so that none is drafted into a part.
    fixed: list[Picture] = [("abc"[number % 3], None) for number in range(90)]
    before, after = split_of(fixed + first), split_of(fixed + first + more)
    assert before.rows == after.rows[: len(before.rows)]


@given(PICTURES, PICTURES)
def test_a_new_picture_goes_where_its_relatives_are(first: list[Picture], more: list[Picture]) -> None:
    before = split_of(first)
    after = split_of(first + more, existing=before)
    assert after.rows[: len(before.rows)] == before.rows
    assert parted(first + more, after) == set()


def test_a_missing_part_takes_a_whole_group() -> None:
    images: list[Picture] = [("a", number // 3) for number in range(9)]
    for seed in range(20):
        split = split_of(images, seed=seed, val=0.0)
        assert split.counts().keys() == {"train", "test"}
        assert {count % 3 for count in split.counts().values()} == {0}


def test_what_the_layout_parts_is_said() -> None:
    files = [ImageFile("train/a/1.jpg", ("a",), "train"), ImageFile("test/a/1.jpg", ("a",), "test")]
    groups = ["one", "one"]
    split = Split.make(files, [digest("1"), digest("2")], test=0.2, val=0.0, groups=groups)
    assert [row.part for row in split.rows] == ["train", "test"]
    assert warnings(groups, split) == [
        "1 groups are in more than one part, since the layout of the folder says so: train/a/1.jpg (train) and "
        "test/a/1.jpg (test), for example"
    ]
    assert warnings([None, None], split) == []


def test_the_group_is_the_first_group_of_the_match_or_all_of_it() -> None:
    paths = ["cat/p1_a.jpg", "cat/p12_b.jpg", "dog/p1_c.jpg", "dog/x.jpg"]
    assert by_pattern(paths, r"p(\d+)_") == ["1", "12", "1", None]
    assert by_pattern(paths, r"p\d+") == ["p1", "p12", "p1", None]
    assert by_pattern(paths, r"(q)?p\d+") == ["p1", "p12", "p1", None]
    found = by_pattern(paths, r"p(\d+)_")
    assert summary(found, "p") == "grouped by p: 3 pictures in 2 groups; 1 pictures do not match and are alone"


def test_copies_are_called_by_their_lowest_digest() -> None:
    assert by_members(["x", "y", "z"], ["3", "1", "2"], [("x", "z")]) == ["2", None, "2"]


@pytest.mark.parametrize(
    ("text", "message"), [("p(", "this one has a fault"), ("x*", "this one matches nothing, too"), ("", "nothing, too")]
)
def test_a_bad_pattern_is_a_fault_of_the_recipe(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ExtractRecipe.load(None, [], {"split.group_by": text})


def test_kin_are_of_one_group_or_equal() -> None:
    assert assign_group_ids(["1", "2", "3"]).tolist() == [0, 1, 2]
    assert assign_group_ids(["1", "2", "1", "3", "3"], ["a", "a", "b", "c", None]).tolist() == [0, 0, 0, 3, 3]
    # A name of a group is no digest.
    assert assign_group_ids(["1", "2"], [None, "1"]).tolist() == [0, 1]


def test_a_pattern_that_names_no_group_is_refused_with_examples() -> None:
    paths = ["cat/patient1_a.jpg", "cat/patient1_b.jpg", "dog/patient2_c.jpg"]
    with pytest.raises(RecipeError, match=r"none of the 3 pictures.*cat/patient1_a\.jpg and dog/patient2_c\.jpg"):
        must_part(paths, r"patiant(\d+)")
    with pytest.raises(RecipeError, match="all 3 pictures into one group, pat"):
        must_part(paths, "pat")
    must_part(paths, r"patient(\d+)")
    must_part(paths, "patient1")
    must_part(paths, "near-duplicates")


def test_shares_far_from_those_asked_for_are_said() -> None:
    rows: list[Picture] = [("a", 0)] * 6 + [("a", 1), ("a", 2), ("a", 3), ("a", None)]
    files = [ImageFile(f"{n}.jpg", (label,), None) for n, (label, _) in enumerate(rows)]
    groups = [None if group is None else str(group) for _, group in rows]
    digests = [digest(str(number)) for number in range(len(rows))]
    split = Split.make(files, digests, test=0.2, val=0.0, groups=groups)
    large = Split(
        tuple(replace(row, part="test" if n < 6 else "train") for n, row in enumerate(split.rows)), 0, "digest"
    )
    (said,) = shares(groups, large, test=0.2, val=0.0)
    assert said.startswith("1 of 5 groups are test, 60% of the pictures (20% asked for)")
    few = Split(
        tuple(replace(row, part="test" if n in (7, 8) else "train") for n, row in enumerate(split.rows)), 0, "digest"
    )
    assert shares(groups, few, test=0.2, val=0.0) == []
    assert shares(groups, replace(large, made_by="folders"), test=0.2, val=0.0) == []
