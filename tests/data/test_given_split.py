"""Splits that a table gives: `--split FILE`, and split.csv in the image folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from transfer_cli.data import given_split
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import InputError, SplitError


@pytest.fixture
def folder(colours: Path, tmp_path: Path) -> ImageFolder:
    """Return a copy of the folder of colours in tmp_path/photos."""
    shutil.copytree(colours, tmp_path / "photos")
    return ImageFolder.scan(tmp_path / "photos")


def listed(path: Path, folder: ImageFolder, header: str, row: str) -> Path:
    delimiter = next(char for char in ",;" if char in header)
    rows = [row.format(path=file.path, part=("Test" if n % 3 == 0 else "train")) for n, file in enumerate(folder.files)]
    path.write_text("\n".join([header, *rows, delimiter]), "utf-8")
    return path


def parts(split: Split) -> dict[str, str]:
    return {row.path: row.part for row in split.rows}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,split", "{path},{part}"),
        ("Filename;Subset", "{path};{part}"),
        ("image,class,partition", "photos/{path},x,{part}"),
        ("path,label,set", "./{path},x,{part}"),
    ],
)
def test_read_table_of_another_program_gives_the_parts(
    folder: ImageFolder, tmp_path: Path, header: str, row: str
) -> None:
    split = given_split.read(listed(tmp_path / "parts.csv", folder, header, row), folder)
    assert parts(split) == {file.path: "train" if n % 3 else "test" for n, file in enumerate(folder.files)}
    made = Split.make(folder.files, [f"{n:064x}" for n in range(36)], test=0.5, val=0, existing=split)
    assert parts(made) == parts(split)


def test_read_split_of_a_run_gives_paths_and_digests(folder: ImageFolder, tmp_path: Path) -> None:
    rows = tuple(SplitRow(file.path, f"{n:064x}", file.labels, "train") for n, file in enumerate(folder.files))
    Split(rows, 0, "digest").write(tmp_path / "split.csv")
    read = given_split.read(tmp_path / "split.csv", folder)
    assert [(row.path, row.sha256, row.part) for row in read.rows] == [(row.path, row.sha256, row.part) for row in rows]


def test_read_empty_cell_leaves_the_part_to_the_program(folder: ImageFolder, tmp_path: Path) -> None:
    first, second, *_ = (file.path for file in folder.files)
    (tmp_path / "s.csv").write_text(f"path,split\n{first},test\n{second},\n")
    assert parts(given_split.read(tmp_path / "s.csv", folder)) == {first: "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,fold\nblue/x.png,1\n", "expected the columns path and split. Received: path, fold"),
        ("path,split\nblue/blue 00.png,exam\n", "line 2: expected train, val, test .* Received: 'exam'"),
        ("path,split\nother/1.png,test\n", "lists 1 image, and none of them is among the 36 images"),
        ("path,split\nblue/blue 00.png,test\nblue/blue 00.png,train\n", "line 3: .* is already listed in line 2"),
        ("path,split,set\nblue/blue 00.png,test,a\n", "expected one column for train, val and test"),
    ],
)
def test_read_unusable_table_names_the_error(folder: ImageFolder, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        given_split.read(tmp_path / "s.csv", folder)


@pytest.mark.parametrize("text", ["image,fold\na,1\n", "file;subset\na;train\n", ""])
def test_of_folder_foreign_split_csv_is_left_out_with_a_note(folder: ImageFolder, text: str) -> None:
    (folder.root / "split.csv").write_text(text)
    notes: list[str] = []
    assert given_split.of_folder(folder, notes.append) is None
    assert [note.startswith("left out: ") and "split.csv" in note for note in notes] == [True]


def test_of_folder_own_split_csv_is_followed(folder: ImageFolder) -> None:
    listed(folder.root / "split.csv", folder, "path,label,split", "{path},x,{part}")
    notes: list[str] = []
    split = given_split.of_folder(folder, notes.append)
    assert split is not None
    assert len(split.rows) == 36
    assert not notes


@pytest.mark.parametrize("text", ["path,split\nblue/blue 00.png,exam\n", "path,split\nother.png,test\n"])
def test_of_folder_unusable_split_csv_says_rename_it(folder: ImageFolder, text: str) -> None:
    (folder.root / "split.csv").write_text(text)
    with pytest.raises(SplitError) as error:
        given_split.of_folder(folder, print)
    assert "rename it" in (error.value.hint or "")


def test_of_folder_table_that_is_the_source_is_no_other_split(folder: ImageFolder) -> None:
    table = folder.root / "split.csv"
    rows = [f"{file.path},{file.labels[0]},{'train' if n % 2 else 'test'}" for n, file in enumerate(folder.files)]
    table.write_text("\n".join(["path,label,split", *rows]))
    assert given_split.of_folder(ImageFolder.scan(table), print) is None
    shutil.copy(table, folder.root / "mine.csv")
    notes: list[str] = []
    assert given_split.of_folder(ImageFolder.scan(folder.root / "mine.csv"), notes.append) is None
    assert "mine.csv has a column for train, val and test" in notes[0]


def test_of_folder_parts_of_labels_csv_win_over_split_csv(folder: ImageFolder) -> None:
    listed(folder.root / "split.csv", folder, "path,label,split", "{path},x,train")
    listed(folder.root / "labels.csv", folder, "path,label,split", "{path},{path},{part}")
    notes: list[str] = []
    assert given_split.of_folder(ImageFolder.scan(folder.root, for_training=False), notes.append) is None
    assert "labels.csv has a column for train, val and test" in notes[0]
