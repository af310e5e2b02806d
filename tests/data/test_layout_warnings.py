from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.folder_trees import paths, touch
from transfer_cli.data.image_folder import ImageFolder


@pytest.mark.parametrize(
    ("names", "kind"),
    [(["2024-05-01", "2024-05-02"], "dates"), (["Site 1", "Site 2"], "stations"), (["Cam-N", "Cam-S"], "cameras")],
)
def test_warnings_unlike_classes_over_species_name_the_level(tmp_path: Path, names: list[str], kind: str) -> None:
    (warning,) = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", names, ["fox", "hare"]))).warnings()
    assert warning.startswith(f"class names look like {kind} ({', '.join(names)})")
    assert "If the classes are the sub-folders (fox, hare): --class-level 2" in warning


def test_warnings_dates_over_images_name_the_table(tmp_path: Path) -> None:
    (warning,) = ImageFolder.scan(touch(tmp_path, "2024-05-01/1.jpg", "2024-05-02/1.jpg")).warnings()
    assert "list the images with their classes in a CSV file with the columns path,label" in warning


def test_warnings_same_sub_folders_under_every_class_name_the_level(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["north ridge", "creek"], ["fox", "hare"]), "creek/owl/1.jpg")
    assert ImageFolder.scan(tmp_path).warnings() == [
        "the classes creek, north ridge hold the same sub-folders (fox, hare), whose images are merged. If the "
        "sub-folders are the classes: --class-level 2"
    ]
    assert ImageFolder.scan(tmp_path, class_level=1).warnings() == []


def test_warnings_same_sub_folders_below_images_name_the_level(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/images/{}/1.jpg", ["webcam", "scanner"], ["bike", "mug"]))
    (warning,) = ImageFolder.scan(tmp_path).warnings()
    assert "hold the same sub-folders (bike, mug)" in warning
    assert "--class-level 3" in warning
    assert ImageFolder.scan(tmp_path, class_level=3).class_names == ("bike", "mug")


def test_warnings_same_dates_under_every_class_ask_for_the_places(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["north ridge", "creek"], ["2024-05-01", "2024-05-02"]))
    (warning,) = ImageFolder.scan(tmp_path).warnings()
    assert "are creek, north ridge stations or cameras instead of classes?" in warning


def test_warnings_copy_of_the_classes_in_a_folder_of_its_own_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/1.jpg", ["fox", "hare"]), *paths("all/{}/1.jpg", ["fox", "hare"]), "fox/fox/2.jpg")
    (warning,) = ImageFolder.scan(tmp_path).warnings()
    assert warning.startswith("the class all holds folders called like other classes (fox, hare)")
    assert ImageFolder.scan(tmp_path, class_level=1).warnings() == []


def test_warnings_ordinary_folder_is_empty(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/1.jpg", ["fox", "hare"]), "fox/2024-05-01/1.jpg", "hare/2024-05-02/1.jpg")
    folder = ImageFolder.scan(tmp_path)
    assert folder.warnings() == []
    assert folder.notes()[-1].startswith("2 deeper folders were merged")


@pytest.mark.parametrize("other", ["Fox", "fox ", "fox\u200b"])
def test_warnings_names_that_look_alike_are_named(tmp_path: Path, other: str) -> None:
    (warning,) = ImageFolder.scan(touch(tmp_path, "fox/1.jpg", "hare/1.jpg", f"{other}/1.jpg")).warnings()
    assert warning.startswith("class names that look alike: ")
    assert f"'{other}'" in warning


def test_warnings_labels_of_a_table_that_look_alike_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "list.csv"
    table.write_text("path,label\n1.jpg,hare\n2.jpg,red fox\n3.jpg,Red\u00a0fox\n", encoding="utf-8")
    assert any("look alike" in line for line in ImageFolder.scan(table).warnings())
