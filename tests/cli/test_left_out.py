"""Commands that read folders of images say what they leave out, and exit with 5 where a folder cannot be read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import TINY_WORDS
from transfer_cli.cli.main import main
from transfer_cli.io import discovery

LEFT_OUT = (
    "left out: 1 .cr2 file (camera raw; convert them to JPEG), "
    "1 .heic file (to read them: pip install 'transfer-cli[heif]'), 1 hidden"
)


@pytest.fixture(autouse=True)
def _without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = tuple(suffix for suffix in discovery.SUFFIXES if suffix not in discovery.HEIF_SUFFIXES)
    monkeypatch.setattr(discovery, "SUFFIXES", suffixes)


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    """Return a folder with two images and three files that are not read."""
    folder = tmp_path / "photos"
    (folder / "locked").mkdir(parents=True)
    for name, source in (("1.png", "red/red 01.png"), ("chrome.jfif", "blue/blue 01.png")):
        shutil.copy(colours / source, folder / name)
    for name in ("IMG_1.CR2", "IMG_2.HEIC", ".hidden"):
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to read folders called locked; root could read them whatever their mode."""
    real = os.scandir

    def scandir(path: str | Path | int = ".") -> object:
        if not isinstance(path, int) and Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def run(command: str, model: Path, photos: Path, output: Path) -> Result:
    name = {"predict": "out.csv", "similar": "out.csv", "explain": "out"}[command]
    return CliRunner().invoke(main, [command, str(model), str(photos), "-o", str(output / name)])


@pytest.mark.parametrize("command", ["predict", "similar", "explain"])
def test_command_counts_what_it_leaves_out(command: str, trained: Path, photos: Path, tmp_path: Path) -> None:
    done = run(command, trained, photos, tmp_path)
    assert done.exit_code == 0, done.output
    assert LEFT_OUT in done.stderr.splitlines()


@pytest.mark.parametrize("command", ["predict", "similar", "explain"])
def test_command_folder_that_cannot_be_read_exits_with_5(
    command: str, trained: Path, photos: Path, tmp_path: Path, locked: None
) -> None:
    done = run(command, trained, photos, tmp_path)
    assert done.exit_code == 5, done.output
    assert f"skipped {photos / 'locked'}: a folder that cannot be read: Permission denied" in done.stderr


@pytest.mark.parametrize("command", ["predict", "similar", "explain"])
def test_command_no_image_says_what_is_there(command: str, trained: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("1.png", "chrome.jfif"):
        (photos / name).unlink()
    done = run(command, trained, photos, tmp_path)
    assert done.exit_code == 3
    expected = f"Expected image files, folders of images, or - for paths on stdin. Received: {LEFT_OUT}."
    assert f"No images found. {expected}" in " ".join(done.stderr.split())


def test_extract_without_any_image_says_what_is_there(tmp_path: Path) -> None:
    for name in ("deer/1.heic", "deer/2.HEIF", "fox/1.arw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    done = CliRunner().invoke(main, ["extract", str(tmp_path), "-o", str(tmp_path / "run")])
    text = " ".join(done.stderr.split())
    assert done.exit_code == 3
    for part in ("has no image", "1 .heic file (to read them: pip", "1 .heif file", "1 .arw file (camera raw"):
        assert part in text


@pytest.mark.parametrize("command", ["extract", "evaluate"])
def test_class_folder_with_a_locked_folder_exits_with_5(
    command: str, trained: Path, colours: Path, tmp_path: Path, locked: None
) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "colours"))
    (folder / "red" / "locked").mkdir()
    words = [folder, *TINY_WORDS] if command == "extract" else [trained, folder]
    done = CliRunner().invoke(main, ["--quiet", command, *map(str, words), "-o", str(tmp_path / "out")])
    assert done.exit_code == 5, done.output
    assert "warning: the images in folders that cannot be read are missing; left out: 1 folder" in done.stderr
