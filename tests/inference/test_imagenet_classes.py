"""Folder names and the 1000 ImageNet classes that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.errors import FolderError
from transfer_cli.inference.imagenet_classes import ImageNetClasses

CLASSES = ImageNetClasses(
    ("n01440764", "n01484850", "n02012849", "n02113186", "n02963159", "n03126707", "n04522168", "n03590841"),
    ("tench", "great_white_shark", "crane", "Cardigan", "cardigan", "crane", "vase", "jack-o'-lantern"),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n01440764", ["tench"]),
        ("N01440764", ["tench"]),
        ("n01440764_tinca", ["tench"]),
        ("n01440764 - tench", ["tench"]),
        ("tench", ["tench"]),
        ("Great White-Shark ", ["great_white_shark"]),
        ("jack o lantern", ["jack-o'-lantern"]),
        ("Cardigan", ["Cardigan"]),
        ("cardigan", ["cardigan"]),
        ("CARDIGAN", ["Cardigan", "cardigan"]),
        ("crane", ["crane (n02012849)", "crane (n03126707)"]),
        ("crane (n03126707)", ["crane (n03126707)"]),
        ("n99999999", []),
        ("n014407641", []),
        ("shark", []),
    ],
)
def test_find_names_and_numbers(name: str, expected: list[str]) -> None:
    assert CLASSES.find(name) == expected


def test_names_of_each_folder() -> None:
    folders = ["n01440764", "vase", "crane (n02012849)"]
    assert CLASSES.names_of(folders, Path("photos")) == {
        "n01440764": "tench",
        "vase": "vase",
        "crane (n02012849)": "crane (n02012849)",
    }


def test_names_of_unknown_and_ambiguous_folders_are_all_listed() -> None:
    with pytest.raises(FolderError) as error:
        CLASSES.names_of(["crane", "tenhc", "vase", "n01440765", "zzz", "CARDIGAN"], Path("photos"))
    assert str(error.value) == (
        "photos has classes that are not among the 1000 ImageNet classes: tenhc (did you mean tench?), n01440765 (did "
        "you mean n01440764?), zzz; and a class name of two ImageNet classes: crane is n02012849 (the bird) or "
        "n03126707 (the machine); and a class name of two ImageNet classes: CARDIGAN is n02113186 (the dog) or "
        "n02963159 (the garment). Expected WordNet numbers, such as n01440764, or the names that keras.applications "
        "decodes, such as tench."
    )
    assert error.value.hint == (
        "Name the class of each folder in a table with the columns from,to (an empty `to` leaves it out), and add: "
        "--class-map FILE.csv"
    )
