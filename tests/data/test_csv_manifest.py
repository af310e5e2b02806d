"""CSV manifests: accepted content and messages about errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.errors import FolderError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with eight images, two of them in a sub-folder."""
    for number in range(8):
        path = tmp_path / "images" / ("deep" if number > 5 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 30, 0, 0)).save(path)
    return tmp_path / "images"


def listed(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_scan_csv_with_label_column_is_single_label(images: Path) -> None:
    table = listed(images, "path,label,split\n1.png,dog,Training\n./0.png, cat ,\ndeep/7.png,dog,test\n2.png,,\n")
    for source in (table, images):
        folder = ImageFolder.scan(source)
        assert folder.task == SINGLE_LABEL
        assert [(file.path, file.labels, file.part) for file in folder.files] == [
            ("0.png", ("cat",), None),
            ("1.png", ("dog",), "train"),
            ("deep/7.png", ("dog",), "test"),
        ]
        assert folder.root == images
    assert folder.left_out == {"images that labels.csv does not list": 5, "without a label": 1}
    assert folder.name == "images"
    assert ImageFolder.scan(table).name == "labels"
    assert ImageFolder.scan(table).left_out == {"without a label": 1}


def test_scan_csv_with_labels_column_is_multi_label(images: Path) -> None:
    listed(images, "path,labels\n0.png,b; a;b\n1.png,\n2.png,10\ndeep\\6.png,2;a\n")
    folder = ImageFolder.scan(images)
    assert folder.task == MULTI_LABEL
    assert folder.class_names == ("2", "10", "a", "b")
    assert [file.labels for file in folder.files] == [("b", "a"), (), ("10",), ("2", "a")]
    assert folder.files[3].path == "deep/6.png"
    assert folder.summary() == "4 images, 4 labels (any number per image): 2 1, 10 1, a 2, b 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,labels\n0.png,a,b\n", "expected the columns path,label .or path,labels .* Received: path, label,"),
        ("file,label\n0.png,a\n", "Received: file, label"),
        ("path;label\n0.png;a\n", "Separate the columns by commas"),
        ("", "Received: an empty file"),
        ("path,label\n", "lists 0 images"),
        ("path,label,label\n0.png,a,b\n", "each once. Received: path, label, label"),
        ("path,label\ndeep/6.png,a\ndeep//6.png,b\n", "line 3: deep/6.png is already listed"),
        ("path,label\ndeep/6.png,a\nother/../deep/6.png,b\n", "line 3: deep/6.png is already listed"),
        ("path,label\n0.png,a\n0.png,b\n", "line 3: 0.png is already listed in line 2"),
        (
            "path,label,split\n0.png,a,exam\n",
            "line 2: expected train, val, test or an empty cell in the column split.* 'exam'",
        ),
        ("path,label\n ,a\n", "line 2: expected the path of an image"),
        (
            "path,label\nno/0.png,a\nno/1.png,b\n",
            "none of them exists. Expected .* Received: no/0.png",
        ),
        ("path,label\n0.png,a\n1.png,a\n", "has 1 class. Expected at least two classes"),
        ("path,label,split\n0.png,a,train\n1.png,b,test\n", "classes without training images: b"),
    ],
)
def test_scan_invalid_csv_names_the_error(images: Path, text: str, message: str) -> None:
    with pytest.raises(FolderError, match=message):
        ImageFolder.scan(listed(images, text))


def test_scan_image_file_is_refused(images: Path) -> None:
    with pytest.raises(FolderError, match=r"is a file\. .* Or a CSV file with the columns path,label"):
        ImageFolder.scan(images / "0.png")


def test_split_multi_label_is_read_as_written(tmp_path: Path, images: Path) -> None:
    rows = "".join(f"{'deep/' if n > 5 else ''}{n}.png,{'a;' * (n % 2)}{'b' if n % 3 else ''}\n" for n in range(8))
    listed(images, f"path,labels\n{rows}")
    folder = ImageFolder.scan(images)
    digests = [f"{number:064x}" for number in range(8)]
    split = Split.make(folder.files, digests, test=0.3, val=0.0, task=folder.task)
    split.write(tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().startswith("path,sha256,labels,split\n0.png,")
    again = Split.read(tmp_path / "split.csv")
    assert (again.rows, again.task) == (split.rows, MULTI_LABEL)
    assert again.truth().tolist() == [[n % 2, int(n % 3 > 0)] for n in range(8)]
    assert split.training_counts() == {
        name: sum(name in row.labels for row in split.rows if row.part == "train") for name in ("a", "b")
    }


def test_split_multi_label_has_every_label_in_every_part() -> None:
    from transfer_cli.data.image_folder import ImageFile

    # Only two images have the rare label, and one of them has the common label, too.
    labels = [("common",)] * 18 + [("common", "rare"), ("rare",)]
    files = [ImageFile(f"{number}.png", each) for number, each in enumerate(labels)]
    digests = [f"{number:064x}" for number in range(20)]
    for seed in range(20):
        split = Split.make(files, digests, test=0.2, val=0.0, seed=seed, task=MULTI_LABEL)
        for part in ("train", "test"):
            held = {label for row in split.rows if row.part == part for label in row.labels}
            assert held == {"common", "rare"}, (seed, part)


def test_scan_csv_absolute_paths_are_read(images: Path, tmp_path: Path) -> None:
    from transfer_cli.data.image_batches import batches

    table = listed(tmp_path, f"path,label\n{images / '0.png'},a\nimages/1.png,b\n", "elsewhere.csv")
    folder = ImageFolder.scan(table)
    paths = [file.path for file in folder.files]
    read = next(batches(paths, size=32, resize="squash", batch_size=4, root=folder.root))
    assert read.paths == tuple(paths)
    assert not read.skipped


def test_scan_csv_absolute_paths_inside_the_folder_become_relative(images: Path) -> None:
    listed(images, f"path,label\n{images / 'deep/6.png'},a\n0.png,b\n")
    assert [file.path for file in ImageFolder.scan(images).files] == ["0.png", "deep/6.png"]


def test_scan_labels_csv_of_another_program_is_left_out(colours: Path, tmp_path: Path) -> None:
    import shutil

    mine = tmp_path / "mine"
    shutil.copytree(colours, mine)
    (mine / "labels.csv").write_text("id,breed\n1,dog\n")
    folder = ImageFolder.scan(mine)
    assert folder.class_names == ("blue", "green", "red")
    (reason,) = [reason for reason in folder.left_out if reason.startswith("labels.csv")]
    assert "has other columns than path,label" in reason


def test_split_given_train_parts_are_kept_when_others_are_open() -> None:
    from transfer_cli.data.image_folder import ImageFile

    files = [ImageFile(f"{n}.png", ("ab"[n % 2],), "train" if n < 50 else None) for n in range(100)]
    digests = [f"{n:064x}" for n in range(100)]
    for parts in (files, [*files[:-2], ImageFile("98.png", ("a",), "test"), ImageFile("99.png", ("b",), "test")]):
        split = Split.make(parts, digests, test=0.3, val=0.2)
        assert {row.part for row in split.rows[:50]} == {"train"}
        assert {row.part for row in split.rows[50:]} == {"train", "val", "test"}


def test_split_filling_train_keeps_the_test_image_of_another_label() -> None:
    from transfer_cli.data.image_folder import ImageFile

    # One image with both labels falls into test, five images with the first label alone into train.
    from transfer_cli.data.split_assignment import part_of

    digests = [f"{n:064x}" for n in range(200)]
    tested = next(each for each in digests if part_of(each, test=0.3, val=0) == "test")
    trained = [each for each in digests if part_of(each, test=0.3, val=0) == "train"][:5]
    files = [ImageFile("both.png", ("a", "b")), *(ImageFile(f"{n}.png", ("a",)) for n in range(5))]
    split = Split.make(files, [tested, *trained], test=0.3, val=0.0, task=MULTI_LABEL)
    assert split.counts() == {"train": 5, "test": 1}
    assert split.training_counts() == {"a": 5, "b": 1}


def test_read_column_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path,label,part\na.jpg,cat,test\n")
    with pytest.raises(FolderError, match="the column for train, val and test is called split"):
        ImageFolder.scan(tmp_path / "images.csv")
