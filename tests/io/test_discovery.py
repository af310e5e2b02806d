"""Which files of a folder are images, and what is said about the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from transfer_cli.data import decoding
from transfer_cli.errors import FolderError
from transfer_cli.io import discovery
from transfer_cli.io.discovery import describe_left_out, expand_paths, file_type, require_paths, walk_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize("name", ["a.JFIF", "a.jpe", "a.jif", "a.avif", "a.apng", "a.JPG"])
def test_walk_images_all_suffixes_of_a_format_are_images(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name)
    left_out: Counter[str] = Counter()
    assert list(walk_images(tmp_path, left_out)) == [name]
    assert not left_out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.HEIC", ".heic files (to read them: pip install 'transfer-cli[heif]')"),
        ("a.heif", ".heif files (to read them: pip install 'transfer-cli[heif]')"),
        ("a.NEF", ".nef files (camera raw; convert them to JPEG)"),
        ("a.dng", ".dng files (camera raw; convert them to JPEG)"),
        ("a.jp2", ".jp2 files (JPEG 2000; convert them to JPEG)"),
        ("a.jxl", ".jxl files (convert them to JPEG or PNG)"),
        ("a.MOV", ".mov files (videos; save their frames as images)"),
        ("a.zip", ".zip files (archives; unpack them)"),
        ("a.txt", ".txt files"),
        ("a", "nameless files"),
    ],
)
def test_file_type_says_what_to_do(name: str, expected: str) -> None:
    assert file_type(name) == expected


def test_heic_files_are_images_only_with_their_package(tmp_path: Path) -> None:
    touch(tmp_path, "package/pillow_heif.py", "photos/a.heic", "photos/b.HIF", "photos/c.jpg")
    (tmp_path / "package/pillow_heif.py").write_text("")
    code = (
        "import sys; from pathlib import Path; from collections import Counter\n"
        "if sys.argv[1] == 'no': sys.modules['pillow_heif'] = None; sys.path.pop(0)\n"
        "import importlib.util as util\n"
        "if sys.argv[1] == 'no': util.find_spec = lambda name: None\n"
        "from transfer_cli.io.discovery import walk_images\n"
        "print(len(list(walk_images(Path('photos'), Counter()))))"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "package"), *sys.path])}
    for word, expected in (("yes", "3"), ("no", "1")):
        command = [sys.executable, "-c", code, word]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **paths})
        assert done.stdout.strip() == expected, done.stderr


def test_expand_paths_counts_what_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/b/2.cr2", "a/b/3.jxl", "a/4.db", "a/.hidden")
    left_out: Counter[str] = Counter()
    assert list(expand_paths([str(tmp_path / "a"), str(tmp_path / "missing.cr2")], left_out)) == [
        str(tmp_path / "a/1.jpg"),
        # A file that was named is not left out: the decoder says what it is.
        str(tmp_path / "missing.cr2"),
    ]
    text = describe_left_out(left_out)
    assert text is not None
    for part in ("1 .cr2 file (camera raw", "1 .jxl file", "1 .db file", "1 hidden"):
        assert part in text
    assert describe_left_out({}) is None


def test_expand_paths_folder_that_cannot_be_read_is_left_to_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.jpg", "a/locked/2.jpg", "z/3.jpg")
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name in ("locked", "z"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    paths = list(expand_paths([str(tmp_path / "a"), str(tmp_path / "z")]))
    assert paths == [str(tmp_path / name) for name in ("a/1.jpg", "a/locked", "z")]
    for path in paths[1:]:
        assert decoding.read_bytes(path) == "a folder that cannot be read: Permission denied"
    # A scan of class folders counts it.
    left_out: Counter[str] = Counter()
    assert list(walk_images(tmp_path / "a", left_out)) == ["1.jpg"]
    assert left_out == {"folder without permission to read (locked)": 1}
    assert discovery.has_unreadable_folders(left_out)
    assert not discovery.has_unreadable_folders({"hidden": 2})


def test_require_paths_none_says_what_was_there(tmp_path: Path) -> None:
    touch(tmp_path, "1.arw", "2.arw", "notes.txt")
    left_out: Counter[str] = Counter()
    with pytest.raises(FolderError) as caught:
        require_paths(expand_paths([str(tmp_path)], left_out), left_out)
    assert str(caught.value) == (
        "No images found. Expected image files, folders of images, or - for paths on stdin. "
        "Received: left out: 2 .arw files (camera raw; convert them to JPEG), 1 .txt file."
    )


def test_require_paths_videos_only_says_how(tmp_path: Path) -> None:
    (tmp_path / "a.MOV").touch()
    left_out: Counter[str] = Counter()
    with pytest.raises(FolderError) as caught:
        require_paths(expand_paths([str(tmp_path)], left_out), left_out)
    assert caught.value.hint == (
        "Save the frames of a video as images, one per second: ffmpeg -i VIDEO -vf fps=1 frame-%06d.jpg"
    )
