from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.folder_trees import parts_of, paths, touch
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import FolderError

CLASSES = ["cat", "dog"]


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("{}/{}/1.jpg", ["training_set", "test_set"]),
        ("{}/{}/1.jpg", ["Train_Images", "Test_Images"]),
        ("{}/{}/1.jpg", ["flowers-train", "flowers-test"]),
        ("{}/{}/1.jpg", ["trn", "holdout"]),
        ("{}/{}/1.jpg", ["TRAIN ", "TEST"]),
        ("{0}/{0}/{1}/1.jpg", ["seg_train", "seg_test"]),
        ("{}/images/{}/1.jpg", ["train", "test"]),
        ("{}/{}/1.jpg", ["Training", "PublicTest", "PrivateTest"]),
        ("{}/{}/1.jpg", ["learn", "teste"]),
    ],
)
def test_scan_parts_by_other_names_gives_parts(tmp_path: Path, form: str, names: list[str]) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths(form, names, CLASSES)))
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}
    assert folder.warnings() == []


@pytest.mark.parametrize(
    ("names", "part"), [(["training", "validation", "evaluation"], "test"), (["train", "evaluation"], "val")]
)
def test_scan_evaluation_beside_validation_is_the_test_part(tmp_path: Path, names: list[str], part: str) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", names, CLASSES)))
    assert {file.part for file in folder.files if file.path.startswith("evaluation")} == {part}


@pytest.mark.parametrize(
    "names", [["trainval", "test"], ["train_v1", "train_v2"], ["fold1", "fold2", "test"], ["rps", "rps-test-set"]]
)
def test_scan_parts_of_unclear_names_with_the_same_classes_are_refused(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", names, CLASSES))
    with pytest.raises(FolderError, match=r"hold the same sub-folders \(cat, dog\).* means a part") as caught:
        ImageFolder.scan(tmp_path)
    assert "--class-level 2" in str(caught.value.hint)
    assert ImageFolder.scan(tmp_path, class_level=1).class_names == tuple(sorted(names))


@pytest.mark.parametrize(
    "files",
    [
        [*paths("archive/{}/{}/1.jpg", ["train", "test"], CLASSES), "docs/logo.png"],
        [*paths("a/b/{}/{}/1.jpg", ["training_set", "test_set"], CLASSES), "docs/logo.png"],
        paths("{}/{}/1.jpg", CLASSES, ["train", "test", "other"]),
        [*paths("cat/{}/1.jpg", ["train", "test"]), "dog/1.jpg"],
    ],
)
def test_scan_parts_in_one_of_several_class_folders_are_refused(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(FolderError, match="called like the parts of a split, beside"):
        ImageFolder.scan(touch(tmp_path, *files))
    assert len(ImageFolder.scan(tmp_path, class_level=1).class_names) == 2


def test_scan_classes_with_part_words_stay_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train_station/1.jpg", "test_tube/1.jpg", "strainer/old/1.jpg")
    assert ImageFolder.scan(tmp_path).class_names == ("strainer", "test_tube", "train_station")


def test_scan_parts_in_each_class_gives_parts(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", CLASSES, ["Train", "valid"]), "cat/stray.jpg")
    folder = ImageFolder.scan(tmp_path)
    assert parts_of(folder) == {name: {"train", "val"} for name in CLASSES}
    assert folder.left_out == {"images beside the folders train and test of their class": 1}


def test_scan_parts_by_other_names_in_each_class_gives_parts(tmp_path: Path) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", CLASSES, ["training_set", "test_set"])))
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}


def test_scan_folds_in_parts_name_the_level_below(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/{}/1.jpg", ["train", "test"], ["fold1", "fold2"], CLASSES))
    with pytest.raises(FolderError, match="called like folds") as caught:
        ImageFolder.scan(tmp_path)
    assert "If cat, dog are the classes: --class-level 3" in str(caught.value.hint)
    assert parts_of(ImageFolder.scan(tmp_path, class_level=3)) == {name: {"train", "test"} for name in CLASSES}


@pytest.mark.parametrize("names", [["fold1", "fold2", "fold3"], ["set_a", "set_b"], ["CV-0", "CV-1"]])
def test_scan_folds_are_refused_with_two_ways_out(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", names, CLASSES))
    with pytest.raises(FolderError, match="called like folds of one data set") as caught:
        ImageFolder.scan(tmp_path)
    assert "If cat, dog are the classes: --class-level 2" in str(caught.value.hint)
    assert ImageFolder.scan(tmp_path, class_level=2).class_names == ("cat", "dog")
    assert ImageFolder.scan(tmp_path, class_level=1).class_names == tuple(sorted(names))


def test_scan_folds_without_shared_folders_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "part1/1.jpg", "part2/1.jpg")
    assert ImageFolder.scan(tmp_path).class_names == ("part1", "part2")


@pytest.mark.parametrize("stray", ["train/preview.jpg", "test/contact sheet.png"])
def test_scan_stray_image_in_a_part_is_left_out(tmp_path: Path, stray: str) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", ["train", "test"], CLASSES), stray))
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}
    assert folder.left_out == {"images outside a class folder": 1}


def test_scan_stray_image_around_a_wrapped_part_is_left_out(tmp_path: Path) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{0}/{0}/{1}/1.jpg", ["train", "test"], CLASSES), "train/x.jpg"))
    assert parts_of(folder) == {name: {"train", "test"} for name in CLASSES}
    assert folder.left_out == {"images outside a class folder": 1}


def test_scan_part_with_most_images_outside_its_classes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, *paths("train/{}/1.jpg", ["masks", "edges"]), *paths("train/{}.jpg", ["1", "2", "3"]))
    with pytest.raises(FolderError, match="has 3 images directly in it and 2 in its sub-folders"):
        ImageFolder.scan(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ["train/1.jpg", "test/1.jpg"],
        ["Training_Images/1.jpg", "Test_Images/1.jpg"],
        ["val/1.jpg", "test/1.jpg"],
        ["train/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg"],
    ],
)
def test_scan_parts_without_class_folders_are_refused(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(FolderError, match="and not in class folders: their classes are unknown") as caught:
        ImageFolder.scan(touch(tmp_path, *files))
    assert "--class-level 1" in str(caught.value.hint)


@pytest.mark.parametrize("inside", ["", "test/", "unknown/", "images/", "unlabelled/"])
def test_scan_test_images_without_a_class_are_left_out_with_a_warning(tmp_path: Path, inside: str) -> None:
    touch(tmp_path, *paths("train/{}/1.jpg", CLASSES), f"test/{inside}1.jpg", f"test/{inside}2.jpg")
    folder = ImageFolder.scan(tmp_path)
    assert parts_of(folder) == {name: {"train"} for name in CLASSES}
    (warning,) = folder.warnings()
    assert "has 2 images without a class: they are not used" in warning
    assert f"transfer-cli predict RUN {tmp_path / 'test' / inside}".rstrip("/") in warning


def test_scan_test_class_called_unknown_is_used_if_it_is_trained(tmp_path: Path) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("{}/{}/1.jpg", ["train", "test"], ["cat", "unknown"])))
    assert parts_of(folder) == {name: {"train", "test"} for name in ("cat", "unknown")}


def test_scan_unknown_test_class_names_the_way_out(tmp_path: Path) -> None:
    touch(tmp_path, *paths("train/{}/1.jpg", CLASSES), "test/horse/1.jpg")
    with pytest.raises(FolderError, match="without training images: horse") as caught:
        ImageFolder.scan(tmp_path)
    assert "move them out of the folder and predict them" in str(caught.value.hint)


def test_scan_test_class_of_another_case_names_the_two_names(tmp_path: Path) -> None:
    touch(tmp_path, *paths("train/{}/1.jpg", ["Cat", "dog"]), *paths("test/{}/1.jpg", CLASSES))
    with pytest.raises(FolderError, match="without training images: cat") as caught:
        ImageFolder.scan(tmp_path)
    assert caught.value.hint == "Give one class the same name everywhere: 'Cat' and 'cat' look alike."


@pytest.mark.parametrize("others", [["bus/old/1.jpg", "car/red/1.jpg"], ["bus/1.jpg"], ["plane/1.jpg", "ship/a/1.jpg"]])
def test_scan_train_beside_classes_is_refused(tmp_path: Path, others: list[str]) -> None:
    touch(tmp_path, *paths("train/{}/1.jpg", ["diesel", "steam"]), *others)
    with pytest.raises(FolderError, match="train with the sub-folders diesel, steam, beside") as caught:
        ImageFolder.scan(tmp_path)
    assert str(tmp_path / "train") in str(caught.value.hint)
    assert "train" in ImageFolder.scan(tmp_path, class_level=1).class_names


def test_scan_train_beside_unlabelled_images_is_a_part(tmp_path: Path) -> None:
    folder = ImageFolder.scan(touch(tmp_path, *paths("train/{}/1.jpg", CLASSES), "unlabelled/1.jpg", "docs/a.txt"))
    assert parts_of(folder) == {name: {"train"} for name in CLASSES}
    assert folder.warnings() == []


def test_scan_folder_with_images_beside_train_and_test_is_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["train", "test"], CLASSES), "horse/1.jpg")
    (warning,) = ImageFolder.scan(tmp_path).warnings()
    assert warning.startswith("the images in horse are not used")


def test_scan_second_test_folder_with_classes_is_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/{}/1.jpg", ["TRAIN", "TEST", "TEST_SIMPLE"], CLASSES))
    (warning,) = ImageFolder.scan(tmp_path).warnings()
    assert warning.startswith("the images in TEST_SIMPLE are not used: the parts of the data are TEST, TRAIN")


def test_scan_test_folder_alone_names_a_folder_to_train_on(tmp_path: Path) -> None:
    touch(tmp_path, *paths("test/{}/1.jpg", CLASSES))
    with pytest.raises(FolderError, match="has test but no train folder") as caught:
        ImageFolder.scan(tmp_path)
    assert str(tmp_path / "test") in str(caught.value.hint)


def test_scan_link_to_the_folder_around_it_ends(tmp_path: Path) -> None:
    touch(tmp_path, *paths("{}/1.jpg", CLASSES))
    (tmp_path / "train").mkdir()
    (tmp_path / "train/train").symlink_to(tmp_path / "train")
    with pytest.raises(FolderError, match="train with the sub-folders train"):
        ImageFolder.scan(tmp_path)
