from __future__ import annotations

import pytest

from transfer_cli.data.part_names import are_folds, is_generic, part_name


@pytest.mark.parametrize(
    ("name", "part", "rest"),
    [
        ("train", "train", ()),
        ("Training Images", "train", ()),
        ("TRAINSET", "train", ()),
        ("ValidationData", "val", ()),
        ("dev", "val", ()),
        ("hold-out", "test", ()),
        ("test_set_2", "test", ()),
        ("Trainingsdaten", "train", ()),
        ("seg_train", "train", ("seg",)),
        ("flowers-test", "test", ("flowers",)),
        ("train_station", "train", ("station",)),
    ],
)
def test_part_name_of_a_part_gives_part_and_other_words(name: str, part: str, rest: tuple[str, ...]) -> None:
    assert part_name(name) == (part, rest)


@pytest.mark.parametrize("name", ["cat", "trainer", "valley", "testimonial", "train_val", "bus", "3"])
def test_part_name_of_another_word_is_none(name: str) -> None:
    assert part_name(name) is None


@pytest.mark.parametrize(
    "names", [["fold1", "fold2"], ["Fold A", "Fold B"], ["split_0", "split_1"], ["part_one", "part_two"], ["k1", "k2"]]
)
def test_are_folds_of_numbered_parts_is_true(names: list[str]) -> None:
    assert are_folds(names)


@pytest.mark.parametrize("names", [["cat", "dog"], ["fold1", "cat"], ["class1", "class2"], ["1", "2"], ["fold1"]])
def test_are_folds_of_classes_is_false(names: list[str]) -> None:
    assert not are_folds(names)


def test_is_generic_of_a_content_is_false() -> None:
    assert all(map(is_generic, ("images", "All Files", "test")))
    assert not is_generic("cat images")
