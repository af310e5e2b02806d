from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.image_batches import batches
from transfer_cli.errors import InputError, ModelError
from transfer_cli.inference.exported_model import exported_metadata
from transfer_cli.io.csv_tables import read_table
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.zip_file import list_members
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.models.weights.kit import install
from transfer_cli.progress import SILENT
from transfer_cli.recipe.toml_source import read
from transfer_cli.regular_file import NotRegularError, open_regular, read_regular, read_regular_text

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def link_to(target: str, path: Path) -> Path:
    path.symlink_to(target)
    return path


def test_read_regular_returns_the_content_also_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(link_to(str(tmp_path / "file"), tmp_path / "link"), most_bytes=7) == b"content"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (pipe, "it is a named pipe, expected a regular file"),
        (lambda path: link_to("/dev/zero", path), "it is a device, expected a regular file"),
        (lambda path: link_to("/proc/self/environ", path), "it is a file of the operating system"),
        (lambda path: link_to("/proc/self/mem", path), "it is a file of the operating system"),
        (lambda path: path.mkdir() or path, "it is a folder, expected a file"),
        (lambda path: path.write_bytes(bytes(101)) and path, "it has 101 bytes, expected 100 at most"),
    ],
)
def test_open_regular_other_files_are_refused(make: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotRegularError) as caught:
        open_regular(make(tmp_path / "file"), most_bytes=100)  # type: ignore[operator]
    assert str(caught.value).startswith(reason)


def test_open_regular_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError, match=r"socket|No such device"):
            open_regular(tmp_path / "socket")


@pytest.mark.parametrize("target", [None, "/proc/kmsg", "/proc/self/mem", "/dev/zero"])
def test_every_reader_of_a_named_file_refuses_pipes_and_system_files(target: str | None, tmp_path: Path) -> None:
    def file(name: str) -> Path:
        path = tmp_path / name
        return pipe(path) if target is None else link_to(target, path)

    with pytest.raises(InputError, match="could not be read"):
        read_table(file("split.csv"), ("path",))
    with pytest.raises(InputError, match="Cannot read"):
        read(file("recipe.toml"))
    for name in ("x.onnx", "x.xml", "x.tflite", "x.keras"):
        with pytest.raises(ModelError, match="cannot be read"):
            exported_metadata(file(name))
    with pytest.raises(ModelError, match="Cannot read"):
        install(file("kit.tar"), progress=SILENT)
    with pytest.raises(ModelError, match="could not be read"):
        list_members(file("bundle.zip"), is_expected=lambda name: True)
    with pytest.raises(InputError, match="not a readable confusion matrix"):
        Confusion.read(file("confusion.csv"))
    for read_file in (digest_of_file, read_regular_text):
        with pytest.raises(OSError, match=r"expected a regular file|Permission|not permitted"):
            read_file(file(f"{read_file.__name__}.txt"))


def test_batches_pipes_and_system_files_are_skipped(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "good.png")
    paths = [tmp_path / "good.png", pipe(tmp_path / "pipe.png"), link_to("/proc/kmsg", tmp_path / "system.png")]
    (batch,) = batches(map(str, paths), size=8, resize="squash", batch_size=4)
    assert batch.paths == (str(paths[0]),)
    reasons = [skipped.reason for skipped in batch.skipped]
    assert reasons[0] == "not a regular file"
    assert reasons[1].startswith("it is a file of the operating system")
