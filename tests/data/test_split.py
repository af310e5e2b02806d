"""The train/val/test split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_cli.data.image_folder import ImageFile
from transfer_cli.data.split import Split
from transfer_cli.data.split_assignment import part_of
from transfer_cli.errors import InputError


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make(contents: list[tuple[str, str]], **options: object) -> Split:
    files = [ImageFile(f"{label}/{content}.jpg", (label,)) for label, content in contents]
    digests = [digest(content) for _, content in contents]
    return Split.make(files, digests, **{"test": 0.2, "val": 0.1, **options})  # type: ignore[arg-type]


def parts(split: Split) -> dict[str, str]:
    return {row.path: row.part for row in split.rows}


def test_part_of_shares_are_as_requested() -> None:
    result = [part_of(digest(str(number)), test=0.2, val=0.1) for number in range(5000)]
    assert result.count("test") == pytest.approx(1000, abs=100)
    assert result.count("val") == pytest.approx(500, abs=80)


@given(st.sets(st.integers(0, 10_000), min_size=60, max_size=120), st.sets(st.integers(0, 10_000), max_size=60))
def test_split_adding_images_moves_none(first: set[int], more: set[int]) -> None:
    def of(numbers: set[int]) -> dict[str, str]:
        # Both classes always have every part, so that no image is moved to fill one.
        fixed = [("ab"[number % 2], f"fixed{number}") for number in range(80)]
        return parts(make([*fixed, *(("ab"[number % 2], str(number)) for number in sorted(numbers))]))

    before, after = of(first), of(first | more)
    assert before.items() <= after.items()


def test_split_another_seed_gives_another_split() -> None:
    contents = [("ab"[number % 2], str(number)) for number in range(100)]
    assert parts(make(contents, seed=0)) == parts(make(contents, seed=0))
    assert parts(make(contents, seed=0)) != parts(make(contents, seed=1))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_split_small_classes_fill_train_then_test_then_val(count: int) -> None:
    split = make([("a", f"{name}{number}") for name in "xyz" for number in range(count)][:count])
    have = {row.part for row in split.rows}
    assert have == {1: {"train"}, 2: {"train", "test"}}.get(count, {"train", "test", "val"})


def test_split_missing_part_gets_the_lowest_digest() -> None:
    contents = [("a", str(number)) for number in range(50)]
    in_train = [content for content in contents if part_of(digest(content[1]), test=0.2, val=0) == "train"][:5]
    split = make(in_train, val=0.0)
    lowest = min(in_train, key=lambda content: digest(content[1]))
    assert [row.path for row in split.rows if row.part == "test"] == [f"a/{lowest[1]}.jpg"]


def test_split_identical_images_stay_in_one_part() -> None:
    files = [ImageFile(f"a/{number}.jpg", ("a",)) for number in range(4)]
    same = Split.make(files, [digest("one")] * 4, test=0.2, val=0.2)
    assert len({row.part for row in same.rows}) == 1
    two = Split.make(files, [digest("one"), digest("two"), digest("one"), digest("two")], test=0.2, val=0.0)
    assert two.rows[0].part == two.rows[2].part != two.rows[1].part == two.rows[3].part


def test_split_follows_the_layout_and_takes_val_from_train() -> None:
    files = [ImageFile(f"train/a/{n}.jpg", ("a",), "train") for n in range(40)]
    files += [ImageFile(f"test/a/{n}.jpg", ("a",), "test") for n in range(5)]
    split = Split.make(files, [digest(str(n)) for n in range(45)], test=0.2, val=0.2)
    assert split.made_by == "folders"
    assert [row.part for row in split.rows[40:]] == ["test"] * 5
    assert {row.part for row in split.rows[:40]} == {"train", "val"}


def test_split_train_folder_alone_is_split_by_digest() -> None:
    files = [ImageFile(f"train/a/{n}.jpg", ("a",), "train") for n in range(40)]
    split = Split.make(files, [digest(str(n)) for n in range(40)], test=0.2, val=0.0)
    assert split.made_by == "digest"
    assert split.counts().keys() == {"train", "test"}


def test_split_existing_split_is_followed_by_digest_then_by_path(tmp_path: Path) -> None:
    first = make([("a", str(number)) for number in range(20)])
    first.write(tmp_path / "split.csv")
    existing = Split.read(tmp_path / "split.csv")
    assert existing.rows == first.rows
    other = {"test": "train", "train": "val", "val": "test"}
    swapped = Split(
        tuple(type(row)(row.path, row.sha256, row.labels, other[row.part]) for row in first.rows), 0, "split.csv"
    )
    followed = make([("a", str(number)) for number in range(20)], existing=swapped)
    assert followed.rows == swapped.rows
    renamed = Split.make([ImageFile("a/new.jpg", ("a",))], [digest("3")], test=0.2, val=0.1, existing=swapped)
    assert renamed.rows[0].part == swapped.rows[3].part
    edited = Split.make([ImageFile("a/3.jpg", ("a",))], [digest("edited")], test=0.2, val=0.1, existing=swapped)
    assert edited.rows[0].part == swapped.rows[3].part


def test_write_split_csv_has_quoted_names(tmp_path: Path) -> None:
    Split.make([ImageFile('odd "name", x.jpg', ("a",))], [digest("1")], test=0.0, val=0.0).write(tmp_path / "s.csv")
    expected = f'path,sha256,class,split\n"odd ""name"", x.jpg",{digest("1")},a,train\n'
    assert (tmp_path / "s.csv").read_text() == expected


def test_read_split_csv_keeps_odd_names(tmp_path: Path) -> None:
    names = ["a\rb.jpg", "a\nb.jpg", 'a",b.jpg', "caf\udce9.jpg"]
    split = Split.make([ImageFile(name, ("a",)) for name in names], list("1234"), test=0.0, val=0.0)
    split.write(tmp_path / "s.csv")
    assert Split.read(tmp_path / "s.csv").rows == split.rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Received: an empty file"),
        ("path,sha256,class,split\n" + "x" * 200_000, "is not a readable CSV table"),
        ("path,split\n", "Received: path, split"),
        (
            "path,sha256,class,split\na,b,c,training\n",
            "line 2: expected train, val, test in the column split. Received: 'training'",
        ),
    ],
)
def test_read_invalid_split_csv_names_the_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        Split.read(tmp_path / "split.csv")


def test_warnings_name_leakage_conflicts_and_missing_parts() -> None:
    files = [
        ImageFile("train/a/1.jpg", ("a",), "train"),
        ImageFile("train/b/1.jpg", ("b",), "train"),
        ImageFile("train/b/2.jpg", ("b",), "train"),
        ImageFile("test/b/3.jpg", ("b",), "test"),
    ]
    split = Split.make(files, [digest("1"), digest("2"), digest("1"), digest("2")], test=0.2, val=0)
    assert split.warnings() == [
        "class a has a single image: it is used for training, and no test is possible",
        "data leakage: 1 image has an identical copy in another part, which makes the score too high: "
        "train/b/1.jpg = test/b/3.jpg",
        "1 identical image in more than one class: train/a/1.jpg = train/b/2.jpg",
    ]
    untested = make([("a", "1"), ("a", "2")], test=0.0, val=0.0)
    assert untested.warnings() == ["there is no test set: no score of this run is a test score"]
