"""Folders and tables of images that are read with a class map and a list of omitted images."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tests.data.folder_trees import paths, touch
from transfer_cli.data import given_split
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.data.split import Split
from transfer_cli.errors import FolderError

CLASSES = ["dog", "empty", "fox", "wolf"]


def selection(folder: Path, class_map: str = "", omit: str = "") -> ImageSelection:
    """Return the selection of two tables that are written beside the images; empty: no table."""
    tables = {"map.csv": class_map, "omit.csv": omit}
    for name, text in tables.items():
        (folder / name).write_text(text)
    return ImageSelection.read(*(folder / name if text else None for name, text in tables.items()))


def counts(folder: ImageFolder) -> dict[str, int]:
    return dict(Counter(label for file in folder.files for label in file.labels))


def test_scan_merges_renames_and_leaves_out(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", CLASSES, ["1", "2", "3"]))
    chosen = selection(tmp_path, "from,to\nwolf,dog\nempty,\nfox,Vulpes\n", "path\ndog/1.png\nempty/1.png\ndog/9.png\n")
    folder = ImageFolder.scan(photos, selection=chosen)
    assert folder.class_names == ("Vulpes", "dog")
    assert counts(folder) == {"dog": 5, "Vulpes": 3}
    assert folder.left_out == {"images listed in omit.csv": 2, "images of classes that the class map leaves out": 2}
    assert folder.notes() == [
        "8 images, 2 classes: Vulpes 3, dog 5",
        "left out: 2 images listed in omit.csv, 2 images of classes that the class map leaves out",
        f"class map {tmp_path / 'map.csv'}: wolf → dog; fox → Vulpes; empty left out",
    ]
    assert folder.warnings() == [f"{tmp_path / 'omit.csv'}: 1 row matches no image of {photos}: dog/9.png (line 4)"]


def test_scan_without_tables_is_the_same_folder(tmp_path: Path) -> None:
    photos = touch(tmp_path, *paths("{}/{}.png", CLASSES, ["1", "2"]))
    assert ImageFolder.scan(photos, selection=ImageSelection()) == ImageFolder.scan(photos)


def test_scan_part_folders_class_of_test_can_become_one_of_train(tmp_path: Path) -> None:
    train = paths("train/{}/{}.png", ["dog", "fox"], ["1", "2"])
    photos = touch(tmp_path / "photos", *train, *paths("test/{}/{}.png", ["dog", "fox", "wolf"], ["1"]))
    with pytest.raises(FolderError, match="classes without training images: wolf"):
        ImageFolder.scan(photos)
    folder = ImageFolder.scan(photos, selection=selection(tmp_path, "wolf,dog\n"))
    assert Counter((file.part, file.labels) for file in folder.files) == {
        ("train", ("dog",)): 2,
        ("train", ("fox",)): 2,
        ("test", ("dog",)): 2,
        ("test", ("fox",)): 1,
    }


def test_scan_table_with_several_labels_drops_the_label_and_keeps_the_image(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "animals.csv").write_text("path,labels\n0.png,dog;wolf\n1.png,fox;empty\n2.png,empty\n3.png,\n")
    folder = ImageFolder.scan(tmp_path / "animals.csv", selection=selection(tmp_path, "wolf,dog\nempty,\n"))
    assert [file.labels for file in folder.files] == [("dog",), ("fox",), (), ()]
    assert (folder.task, folder.class_names, folder.left_out) == ("multi-label", ("dog", "fox"), {})
    one = ImageFolder.scan(tmp_path / "animals.csv", selection=selection(tmp_path, "wolf,dog\nempty,\nfox,\n"))
    assert (one.class_names, len(one.files)) == (("dog",), 4)


def test_scan_table_of_one_label_leaves_the_images_out(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "animals.csv").write_text("path,label\n0.png,dog\n1.png,fox\n2.png,empty\n3.png,wolf\n")
    chosen = selection(tmp_path, "wolf,dog\nempty,\n", "3.png\n")
    folder = ImageFolder.scan(tmp_path / "animals.csv", selection=chosen)
    assert counts(folder) == {"dog": 1, "fox": 1}


@pytest.mark.parametrize(
    ("class_map", "omit", "message"),
    [
        ("wolf,dog\nfox,dog\nempty,\n", "", "{map} leaves one class (dog) of the 4 classes of {photos}."),
        ("wolf,\nfox,\nempty,\ndog,\n", "", "{map} leaves no class of the 4 classes of {photos}."),
        (
            "wolf,dog\nempty,\n",
            "fox/1.png\nfox/2.png\n",
            "{map} with {omit} leaves one class (dog) of the 4 classes of {photos}.",
        ),
        (
            "",
            "".join(f"{name}/{number}.png\n" for name in CLASSES[1:] for number in "12"),
            "{omit} leaves one class (dog) of the 4 classes of {photos}.",
        ),
    ],
)
@pytest.mark.parametrize("for_training", [True, False])
def test_scan_fewer_than_two_classes_are_refused(
    tmp_path: Path, class_map: str, omit: str, message: str, for_training: bool
) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", CLASSES, ["1", "2"]))
    chosen = selection(tmp_path, class_map, omit)
    with pytest.raises(FolderError) as error:
        ImageFolder.scan(photos, selection=chosen, for_training=for_training)
    places = {"map": tmp_path / "map.csv", "omit": tmp_path / "omit.csv", "photos": photos}
    assert str(error.value) == f"{message.format(**places)} Expected at least two classes."


def test_scan_class_of_which_all_images_are_omitted_is_said(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", CLASSES, ["1", "2"]))
    folder = ImageFolder.scan(photos, selection=selection(tmp_path, "", "fox/1.png\nfox/2.png\n"))
    assert folder.class_names == ("dog", "empty", "wolf")
    assert folder.warnings() == [f"no image of fox is left: {tmp_path / 'omit.csv'} leaves out all of them"]


def split_of(folder: ImageFolder, existing: Split | None = None) -> dict[str, str]:
    """Return the part of each image, by digests of the paths."""
    digests = [hashlib.sha256(file.path.encode()).hexdigest() for file in folder.files]
    split = Split.make(folder.files, digests, test=0.3, val=0.2, existing=existing)
    return {row.path: row.part for row in split.rows}


def test_split_of_the_other_images_stays_the_same(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", CLASSES, [str(number) for number in range(30)]))
    whole = split_of(ImageFolder.scan(photos))
    chosen = selection(tmp_path, "wolf,dog\nempty,\n", "dog/3.png\nfox/4.png\nfox/5.png\n")
    rest = split_of(ImageFolder.scan(photos, selection=chosen))
    assert len(rest) == 87
    assert rest == {path: part for path, part in whole.items() if path in rest}


def test_given_split_is_followed_for_the_images_that_are_left(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", CLASSES, ["1", "2", "3"]))
    parts = dict(zip(paths("{}/{}.png", CLASSES, ["1", "2", "3"]), ["train", "test", "val"] * 4, strict=True))
    table = tmp_path / "split.csv"
    table.write_text("path,split\n" + "".join(f"{path},{part}\n" for path, part in parts.items()))
    folder = ImageFolder.scan(photos, selection=selection(tmp_path, "wolf,dog\nempty,\n", "dog/1.png\n"))
    rest = split_of(folder, given_split.read(table, folder))
    assert rest == {path: part for path, part in parts.items() if path in rest}
    assert len(rest) == 8
