"""Lists of omitted images: which columns and paths are read, and which images of pairs are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from transfer_cli.data.csv_manifest import ImageFile
from transfer_cli.data.omission import Omission
from transfer_cli.errors import FolderError

PATHS = ("cat/1.png", "cat/2.png", "cat/é.png", "dog/1.png", "dog/2.png")
PAIRS = "path_a,split_a,label_a,path_b,split_b,label_b,kind,score,mirrored"


def images(folder: Path) -> tuple[ImageFile, ...]:
    """Write a file per path; dog/2.png is a copy of dog/1.png."""
    for path in PATHS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path.replace("dog/2", "dog/1"))
    return tuple(ImageFile(path, (path.partition("/")[0],)) for path in PATHS)


def omitted(table: Path, text: str, root: Path, files: Sequence[ImageFile], encoding: str = "utf-8") -> set[str]:
    """Return what a table leaves out, if all of its rows match an image."""
    table.write_bytes(text.encode(encoding))
    found, unmatched = Omission.read(table).omitted(files, root)
    assert unmatched == []
    return found


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label,suggested_label,score,confident\ncat/2.png,cat,dog,0.1,yes\ncat/é.png,cat,dog,0.2,no\n", "utf-8"),
        ("nr;Filename\r\n1;cat\\2.png\r\n2;./cat/e\u0301.png\r\n", "utf-8-sig"),
        ("cat/2.png\ncat/é.png\n", "utf-16"),
        ("Bild\tBemerkung\ncat/2.png\tunscharf\ncat/é.png\t\n", "utf-8"),
    ],
)
def test_omitted_usual_tables_are_equal(tmp_path: Path, text: str, encoding: str) -> None:
    root = tmp_path / "photos"
    assert omitted(tmp_path / "list.csv", text, root, images(root), encoding) == {"cat/2.png", "cat/é.png"}


def test_omitted_paths_start_from_folder_table_current_folder_or_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "photos"
    files = images(root)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    rows = ["cat/1.png", "../photos/cat/2.png", "photos/dog/1.png", f"{root}/dog/2.png"]
    text = "\n".join(["path", *rows]) + "\n"
    assert omitted(tmp_path / "lists/list.csv", text, root, files) == {*PATHS} - {"cat/é.png"}


def test_omitted_digest_finds_moved_images_and_all_copies(tmp_path: Path) -> None:
    files = images(tmp_path / "photos")
    digest = hashlib.sha256(b"dog/1.png").hexdigest()
    for text in (f"path,sha256\nold/place.png,{digest}\n", f"sha256\n{digest.upper()}\n", f"{digest}\n"):
        assert omitted(tmp_path / "list.csv", text, tmp_path / "photos", files) == {"dog/1.png", "dog/2.png"}
    # A path that is there decides: a copy of the image stays.
    text = f"path,sha256\ndog/1.png,{digest}\n"
    assert omitted(tmp_path / "list.csv", text, tmp_path / "photos", files) == {"dog/1.png"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("dog/1.png,,dog,dog/2.png,,dog,exact,1.0,False", {"dog/2.png"}),
        ("dog/1.png,train,dog,dog/2.png,test,dog,exact,1.0,False", {"dog/1.png"}),
        ("dog/1.png,test,dog,dog/2.png,val,dog,near,0.9,False", {"dog/2.png"}),
        ("cat/1.png,train,cat,dog/2.png,test,dog,near,0.9,False", {"cat/1.png", "dog/2.png"}),
    ],
)
def test_omitted_pair_leaves_one_image_out_or_both_if_labels_differ(
    tmp_path: Path, row: str, expected: set[str]
) -> None:
    files = images(tmp_path)
    assert omitted(tmp_path / "leaks.csv", f"{PAIRS}\n{row}\n", tmp_path, files) == expected


def test_omitted_group_of_duplicates_keeps_one_image(tmp_path: Path) -> None:
    files = images(tmp_path)
    pairs = [("cat/1.png", "cat/2.png"), ("cat/1.png", "cat/é.png"), ("cat/2.png", "cat/é.png")]
    rows = "\n".join(f"{a},,cat,{b},,cat,near,0.9,False" for a, b in pairs)
    assert omitted(tmp_path / "duplicates.csv", f"{PAIRS}\n{rows}\n", tmp_path, files) == {"cat/2.png", "cat/é.png"}


def test_rows_without_an_image_are_said_and_all_of_them_are_an_error(tmp_path: Path) -> None:
    files = images(tmp_path)
    table = tmp_path / "list.csv"
    table.write_text("path\ncat/1.png\ncat/9.png\nCAT/2.png\n")
    omission = Omission.read(table)
    found, unmatched = omission.omitted(files, tmp_path)
    omission.check_matches(files, unmatched, tmp_path)
    assert found == {"cat/1.png"}
    assert omission.warnings(unmatched, Path("photos")) == [
        f"{table}: 2 rows match no image of photos: cat/9.png (line 3), CAT/2.png (line 4)"
    ]
    table.write_text("path\ncat/9.png\n")
    wrong = Omission.read(table)
    with pytest.raises(FolderError) as error:
        wrong.check_matches(files, wrong.omitted(files, tmp_path)[1], Path("photos"))
    assert str(error.value) == (
        f"{table} lists 1 row, and none of them is an image of photos. Expected paths such as cat/1.png, or SHA-256 "
        "digests. Received: cat/9.png."
    )


def test_warnings_list_of_suspects_is_to_be_looked_through(tmp_path: Path) -> None:
    table = tmp_path / "suspects.csv"
    table.write_text("path,label,suggested_label,score,confident\ncat/1.png,cat,dog,0.1,yes\n")
    (line,) = Omission.read(table).warnings([], tmp_path)
    assert line == (
        f"{table} lists labels that a classifier doubts: keep only the rows whose label is wrong. Leaving out correct "
        "images because they are difficult makes the score too optimistic"
    )
    table.write_text("path,label,suggested_label,score,confident\n")
    empty = Omission.read(table)
    assert (empty.rows, empty.warnings([], tmp_path)) == ((), [])
    empty.check_matches(images(tmp_path), [], tmp_path)


def test_omitted_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    files = images(tmp_path / "photos")
    (tmp_path / "photos/cat/1.png").unlink()
    (tmp_path / "list.csv").write_text(hashlib.sha256(b"cat/1.png").hexdigest() + "\n")
    found, unmatched = Omission.read(tmp_path / "list.csv").omitted(files, tmp_path / "photos")
    assert (found, [row.line for row in unmatched]) == (set(), [1])
