from __future__ import annotations

import os
from pathlib import Path

import pytest

from transfer_cli.data.image_folder import ImageFolder, describe_left_out, sort_class_names
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import expand_paths


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_scan_class_folders_gives_sorted_files(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.JPG", "dog/a.png", "cat/z.webp", "cat/deeper/y.tif")
    folder = ImageFolder.scan(tmp_path)
    assert [file.path for file in folder.files] == ["cat/deeper/y.tif", "cat/z.webp", "dog/a.png", "dog/b.JPG"]
    assert folder.class_names == ("cat", "dog")
    assert [file.labels for file in folder.files] == [("cat",), ("cat",), ("dog",), ("dog",)]
    assert {file.part for file in folder.files} == {None}
    assert folder.left_out == {}


def test_scan_numeric_classes_are_sorted_by_value(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}/a.jpg" for number in range(12)))
    assert ImageFolder.scan(tmp_path).class_names == tuple(str(number) for number in range(12))
    assert sort_class_names(["b", "10", "a", "2", "02"]) == ("02", "2", "10", "a", "b")


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_scan_part_folders_give_parts(tmp_path: Path, val: str) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", f"{val}/a/2.jpg", "test/b/3.jpg")
    parts = {file.path: file.part for file in ImageFolder.scan(tmp_path).files}
    assert parts == {
        "train/a/1.jpg": "train",
        "train/b/1.jpg": "train",
        f"{val}/a/2.jpg": "val",
        "test/b/3.jpg": "test",
    }


def test_scan_class_called_train_is_a_class_with_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "car/1.jpg", "test/1.jpg")
    folder = ImageFolder.scan(tmp_path)
    assert folder.class_names == ("car", "test", "train")
    assert folder.warnings() == [
        "test, train is used as a class name; for a train/test split, put one sub-folder per class into each of the "
        "folders train and test"
    ]
    assert folder.summary() == "3 images, 3 classes: car 1, test 1, train 1"


def test_scan_folder_beside_train_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "extra/c/1.jpg")
    folder = ImageFolder.scan(tmp_path)
    assert folder.class_names == ("a", "b")
    assert folder.left_out == {"folder beside train (extra)": 1}


def test_scan_foreign_and_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "a/Thumbs.db", "a/._1.jpg", ".git/x.jpg", "__MACOSX/a/1.jpg", "loose.jpg")
    touch(tmp_path, "notes.txt")
    (tmp_path / "empty").mkdir()
    folder = ImageFolder.scan(tmp_path)
    assert [file.path for file in folder.files] == ["a/1.jpg", "b/1.jpg"]
    assert folder.class_names == ("a", "b")
    assert describe_left_out(folder.left_out) == (
        "left out: 1 .db file, 1 .txt file, 1 folder without images (empty), 3 hidden, 1 image outside a class folder"
    )


def test_scan_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "folder/a/1.jpg")
    (tmp_path / "folder/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder/a/loop").symlink_to(tmp_path / "folder/a")
    (tmp_path / "folder/a/itself").symlink_to(tmp_path / "folder/a/itself")
    paths = [file.path for file in ImageFolder.scan(tmp_path / "folder").files]
    assert paths == ["a/1.jpg", "b/1.jpg"]


def test_scan_accented_class_is_one_class_in_both_spellings(tmp_path: Path) -> None:
    touch(tmp_path, "train/caf\u00e9/1.jpg", "train/tea/1.jpg", "test/cafe\u0301/2.jpg")
    assert ImageFolder.scan(tmp_path).class_names == ("caf\u00e9", "tea")


def check_message(root: Path, *parts: str) -> None:
    with pytest.raises(FolderError) as caught:
        ImageFolder.scan(root)
    message = f"{caught.value} {caught.value.hint}"
    for part in parts:
        assert part in message
    assert caught.value.exit_code == 3


def test_scan_unusable_folder_names_the_error(tmp_path: Path) -> None:
    check_message(tmp_path / "missing", "There is no folder")
    (tmp_path / "photos").mkdir()
    check_message(tmp_path / "photo", "Did you mean", "photos")
    check_message(tmp_path / "photos", "has no image", "Expected FOLDER/CLASS/image.jpg")
    touch(tmp_path, "photos/1.jpg", "photos/2.jpg")
    check_message(tmp_path / "photos", "2 images directly in it and no class folder")
    layout = str(tmp_path / "photos" / "CLASS" / "image.jpg")
    check_message(tmp_path / "photos", layout, f"transfer-cli predict RUN {tmp_path / 'photos'}")
    check_message(tmp_path / "photos/1.jpg", "is a file", "transfer-cli predict")
    touch(tmp_path, "nested/clothing/a/1.jpg", "nested/clothing/b/1.jpg")
    check_message(tmp_path / "nested", "only one class (clothing)", "Did you mean", "It has 2 sub-folders")
    touch(tmp_path, "parts/train/a/1.jpg", "parts/train/b/1.jpg", "parts/test/c/1.jpg")
    check_message(tmp_path / "parts", "without training images: c", "train: a, b")
    touch(tmp_path, "untrained/val/a/1.jpg", "untrained/test/a/1.jpg")
    check_message(tmp_path / "untrained", "has test, val but no train folder")


def test_expand_paths_keeps_input_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/1.jpg", "b/notes.txt", "a.png", "odd.txt")
    given = [f"{tmp_path}/odd.txt", f"{tmp_path}/b", f"{tmp_path}/a.png", f"{tmp_path}/missing.jpg"]
    assert list(expand_paths(["x" * 300, "nul\0"])) == ["x" * 300, "nul\0"]
    names = [os.path.relpath(path, tmp_path) for path in expand_paths(given)]
    assert names == ["odd.txt", "b/1.jpg", "b/2.jpg", "a.png", "missing.jpg"]
