from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from transfer_cli.data.class_map import ClassMap
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.data.table_columns import TableOptions
from transfer_cli.data.unlabelled_folder import scan_labels_optional
from transfer_cli.errors import FolderError


@pytest.fixture
def loose(colours: Path, tmp_path: Path) -> Path:
    """Return a folder with two images directly in it, and one in a folder of its own."""
    folder = tmp_path / "loose"
    (folder / "more").mkdir(parents=True)
    for source, target in (("red/red 00", "b"), ("blue/blue 00", "a"), ("green/green 00", "more/c")):
        shutil.copy(colours / f"{source}.png", folder / f"{target}.png")
    (folder / "notes.txt").write_text("none")
    return folder


def test_images_without_class_folders_are_read_with_the_reason(loose: Path) -> None:
    folder = scan_labels_optional(loose)
    assert [(file.path, file.labels, file.part) for file in folder.files] == [
        ("a.png", (), None),
        ("b.png", (), None),
        ("more/c.png", (), None),
    ]
    assert (folder.class_names, folder.is_labelled, dict(folder.left_out)) == ((), False, {".txt files": 1})
    assert folder.notes() == [
        f"3 images without labels. No classes, since {loose} has only one class (more)",
        "left out: 1 .txt file",
    ]


def test_folder_with_classes_keeps_them(colours: Path) -> None:
    assert scan_labels_optional(colours) == ImageFolder.scan(colours)
    assert ImageFolder.scan(colours).is_labelled


def test_omitted_images_are_left_out_of_a_folder_without_labels(loose: Path, tmp_path: Path) -> None:
    table = tmp_path / "omit.csv"
    table.write_text("path\nb.png\n")
    folder = scan_labels_optional(loose, selection=ImageSelection.read(None, table))
    assert [file.path for file in folder.files] == ["a.png", "more/c.png"]
    assert folder.left_out["images listed in omit.csv"] == 1


def test_labels_that_were_asked_for_and_missing_images_are_errors(loose: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "map.csv").write_text("from,to\nmore,less\n")
    class_map = ImageSelection(ClassMap.read(tmp_path / "map.csv"))
    for source, keywords, message in (
        (tmp_path / "empty", {}, "has no image"),
        (tmp_path / "lose", {}, r"There is no folder .*lose\. Did you mean .*loose\?"),
        (loose, {"class_level": 3}, "class level 3"),
        (loose, {"table": TableOptions(label="kind")}, "label-column"),
        (loose, {"selection": class_map}, "one class"),
    ):
        with pytest.raises(FolderError, match=message):
            scan_labels_optional(source, **keywords)


def test_table_without_a_column_of_labels_is_an_error(loose: Path) -> None:
    (loose / "labels.csv").write_text("path\na.png\n")
    with pytest.raises(FolderError, match="label"):
        scan_labels_optional(loose)
