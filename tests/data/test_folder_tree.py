from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.folder_trees import parts_of, paths, touch
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import FolderError

CLASSES = ["fox", "hare"]


@pytest.mark.parametrize("level", [2, "last"])
def test_class_level_of_folders_in_stations_gives_their_names(tmp_path: Path, level: int | str) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["ST01", "ST02"], CLASSES))
    folder = ImageFolder.scan(tmp_path, class_level=level)
    assert folder.class_names == ("fox", "hare")
    assert [file.path for file in folder.files] == paths("{}/{}/1.jpg", ["ST01", "ST02"], CLASSES)
    assert folder.warnings() == []


def test_class_level_last_with_an_image_beside_the_classes_is_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["ST01", "ST02"], CLASSES), "ST01/map.png")
    (warning,) = ImageFolder.scan(tmp_path, class_level="last").warnings()
    assert warning.startswith("class names look like stations (ST01)")


def test_class_level_above_other_folders_merges_them_with_a_note(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/{}/1.jpg", ["ST01", "ST02"], CLASSES, ["2024-05-01", "2024-05-02"]), "ST01/map.png")
    folder = ImageFolder.scan(tmp_path, class_level=2)
    assert parts_of(folder) == {name: {None} for name in CLASSES}
    assert folder.left_out == {"images above the class level": 1}
    assert folder.notes()[-1] == (
        "8 deeper folders were merged into the class folder above, such as ST01/fox/2024-05-01 (--class-level last "
        "makes each folder a class)"
    )


@pytest.mark.parametrize(
    ("form", "tops", "level"),
    [
        ("{}/{}/1.jpg", ["train", "test"], 2),
        ("{}/{}/1.jpg", ["training_set", "test_set"], 2),
        ("ST01/{}/{}/1.jpg", ["train", "test"], 3),
        ("{}/{}/1.jpg", ["train", "test"], "last"),
    ],
)
def test_class_level_in_part_folders_keeps_the_parts(
    tmp_path: Path, form: str, tops: list[str], level: int | str
) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths(form, tops, CLASSES)), class_level=level)
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}


def test_class_level_in_part_folders_leaves_out_folders_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["train", "test", "more"], CLASSES))
    folder = ImageFolder.scan(tmp_path, class_level=2)
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}
    assert folder.left_out == {"images beside train (more)": 2}


@pytest.mark.parametrize("names", [["trainval", "test"], ["fold1", "fold2", "test"]])
def test_class_level_below_a_part_that_is_not_used_as_one_is_a_warning(tmp_path: Path, names: list[str]) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", names, CLASSES)), class_level=2)
    (warning,) = folder.warnings()
    assert warning.startswith("the images in test are split like all others")


@pytest.mark.parametrize("level", [2, "last"])
@pytest.mark.parametrize("names", [["Training", "PublicTest"], ["training", "validation", "evaluation"]])
def test_class_level_below_parts_reads_the_parts_as_without_it(
    tmp_path: Path, names: list[str], level: int | str
) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", names, CLASSES))
    assert ImageFolder.scan(tmp_path, class_level=level).files == ImageFolder.scan(tmp_path).files


def test_class_level_last_of_classes_called_train_and_test_keeps_all(tmp_path: Path) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/1.jpg", ["bus", "train", "test"])), class_level="last")
    assert parts_of(folder) == {name: {None} for name in ("bus", "train", "test")}


def test_class_level_deeper_than_the_folders_names_the_deepest(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/1.jpg", CLASSES))
    with pytest.raises(FolderError, match="no image in a folder at class level 4") as caught:
        ImageFolder.scan(tmp_path, class_level=4)
    assert "--class-level 1" in str(caught.value.hint)


def test_class_level_of_one_class_names_the_level_below(tmp_path: Path) -> None:
    touch(tmp_path, *paths("train/animals/{}/1.jpg", CLASSES))
    with pytest.raises(FolderError, match="only one class") as caught:
        ImageFolder.scan(tmp_path)
    assert caught.value.hint == "If the classes are its sub-folders (fox, hare): --class-level 3"
    assert ImageFolder.scan(tmp_path, class_level=3).class_names == ("fox", "hare")


def test_class_level_with_a_table_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/1.jpg", CLASSES))
    (tmp_path / "labels.csv").write_text("path,label\nfox/1.jpg,fox\nhare/1.jpg,hare\n")
    with pytest.raises(FolderError, match="says the class of each image"):
        ImageFolder.scan(tmp_path, class_level=1)
