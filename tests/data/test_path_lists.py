"""Files that list images: text, tables, JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from transfer_cli.data.path_lists import PathList, is_list
from transfer_cli.errors import InputError

NAMES = ("a.png", "sub/ä b.png", "sub/c,d.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three images."""
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


def read(folder: Path, name: str, content: str | bytes) -> list[str]:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    found = PathList.read(folder / name)
    return [os.path.relpath(path, folder) for path in found.images]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "\n".join(NAMES)),
        ("list.TXT", "\r\n".join(NAMES) + "\r\n\r\n"),
        ("list.txt", b"\xef\xbb\xbf" + "\n".join(NAMES).encode()),
        ("list.txt", "\n".join(NAMES).encode("utf-16")),
        ("list.csv", 'path,label\na.png,x\n"sub/ä b.png",y\n"sub/c,d.png",z\n'),
        ("list.csv", 'Label;File Name\nx;a.png\ny;sub\\ä b.png\nz;"sub/c,d.png"\n'),
        ("list.csv", 'a.png\nsub/ä b.png\n"sub/c,d.png"\n'),
        ("list.csv", 'a.png,x\nsub/ä b.png,y\n"sub/c,d.png",z\n'),
        ("list.tsv", "image\tlabel\na.png\tx\nsub/ä b.png\ty\nsub/c,d.png\tz\n"),
        ("list.txt", 'path;label\na.png;x\nsub/ä b.png;y\n"sub/c,d.png";z\n'),
        ("list.json", json.dumps(NAMES)),
        ("list.json", json.dumps([{"path": name, "label": "x"} for name in NAMES])),
        ("list.json", json.dumps({"info": {}, "images": [{"id": 1, "file_name": name} for name in NAMES]})),
        ("list.json", json.dumps(NAMES).encode("utf-16")),
        ("list.jsonl", "\n".join(json.dumps({"path": name}) for name in NAMES)),
    ],
)
def test_path_list_is_read(folder: Path, name: str, content: str | bytes) -> None:
    assert is_list(str(folder / name))
    assert read(folder, name, content) == list(NAMES)


def test_path_list_absolute_paths_and_missing_files_stay(folder: Path) -> None:
    (folder / "list.txt").write_text(f"{folder}/a.png\nmissing.png\n")
    found = PathList.read(folder / "list.txt")
    assert found.images == (f"{folder}/a.png", f"{folder}/missing.png")
    assert found.summary() == f"{folder}/list.txt: 2 paths, relative to the folder of the list"


def test_path_list_relative_to_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the list comes first; what was used is said."""
    monkeypatch.chdir(folder.parent)
    (folder / "list.txt").write_text("a.png\nphotos/a.png\n")
    found = PathList.read(Path("photos/list.txt"))
    assert found.images == ("photos/a.png", "photos/a.png")
    assert found.summary() == (
        "photos/list.txt: 2 paths, relative to the folder of the list, 1 of them to the current folder"
    )
    (folder / "list.txt").write_text("photos/a.png\n")
    assert PathList.read(Path("photos/list.txt")).summary() == (
        "photos/list.txt: 1 path, relative to the current folder"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", "", "lists no images. Expected one path per line, a column path, or JSON."),
        ("list.txt", "x.png\ny.png\n", "none of the 2 paths in it exists, such as x.png."),
        ("list.txt", "http://a.b/1.jpg\nhttp://a.b/2.jpg\n", "lists addresses, such as http://a.b/1.jpg."),
        ("list.csv", "name,label\na.png,x\n", "expected the columns path,label"),
        ("list.json", "{broken", "is not JSON"),
        ("list.json", '[{"id": 1}]', "item 1 has no path."),
        ("list.json", "[" * 100_000, "is not JSON"),
        ("list.json", "[1]", "item 1 has no path."),
        ("list.xlsx", b"PK\x03\x04", "is an Excel workbook"),
    ],
)
def test_path_list_faults_are_told(folder: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, name, content)
    assert message in str(caught.value)


def test_path_list_addresses_stay_what_they_are(folder: Path) -> None:
    (folder / "list.txt").write_text("a.png\ns3://trap/1.jpg\n")
    assert PathList.read(folder / "list.txt").images == (f"{folder}/a.png", "s3://trap/1.jpg")


def test_path_list_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"list.csv could not be read: No such file or directory."):
        PathList.read(tmp_path / "list.csv")


@pytest.mark.parametrize("name", ["a.png", "photos", "a.zip", "-", "list.csv.png"])
def test_is_list_other_names(name: str) -> None:
    assert not is_list(name)


def test_is_list_folder_with_such_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    assert not is_list(str(tmp_path / "a.csv"))
