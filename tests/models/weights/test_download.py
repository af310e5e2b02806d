"""Downloads from a local server: complete, refused, truncated, stalled, and of another file."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.weights_files import snapshot
from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.errors import OutputError, WeightsError
from transfer_cli.models.weights import download, transport
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.progress import SILENT


def hdf5() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["kernel"] = np.arange(200_000, dtype=np.float32)
    return content.getvalue()


CONTENT = hdf5()
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers as the name of the requested file says."""

    ending = threading.Event()

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        content = b"<html>Sign in to this network</html>" if "portal" in self.path else CONTENT
        self.send_response(200)
        if "unsaid" not in self.path:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        whole = any(word in self.path for word in ("whole", "portal", "slow"))
        half = len(content) // 2
        self.wfile.write(content[:half])
        self.wfile.flush()
        if "slow" in self.path:
            time.sleep(0.3)
        if whole:
            self.wfile.write(content[half:])
        if "stalled" in self.path:
            self.ending.wait(30)

    def log_message(self, format: str, *words: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ending.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.ending.set()
    server.shutdown()
    thread.join()
    server.server_close()


def left() -> list[Path]:
    return list(cache_folder().glob("*")) if cache_folder().is_dir() else []


@pytest.mark.parametrize("digest", [None, MD5, SHA256])
@pytest.mark.parametrize("name", ["whole", "whole-unsaid"])
def test_download_missing_downloads_once(name: str, digest: str | None, server: str) -> None:
    file = WeightsFile(f"{name}.h5", f"{server}/{name}.h5", digest)
    download.download_missing([file], offline=False, progress=SILENT)
    assert snapshot(cache_folder()) == {f"{name}.h5": CONTENT}
    gone = WeightsFile(f"{name}.h5", "http://127.0.0.1:9/whole.h5", digest)
    download.download_missing([gone], offline=False, progress=SILENT)
    assert download.fetch([gone], offline=True, progress=SILENT) == []


@pytest.mark.parametrize("name", ["missing", "cut", "stalled"])
def test_download_failure_leaves_nothing(name: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "STALL_SECONDS", 1.0)
    begun = time.monotonic()
    with pytest.raises(WeightsError, match=f"The weights {name}.h5 are not on this machine"):
        download.download_missing([WeightsFile(f"{name}.h5", f"{server}/{name}.h5")], offline=False, progress=SILENT)
    assert time.monotonic() - begun < 8
    assert left() == []


@pytest.mark.parametrize(
    ("name", "digest", "reason"),
    [
        ("whole", MD5[::-1], f"its MD5 is {MD5}; Keras publishes {MD5[::-1]}"),
        ("whole", SHA256[::-1], f"its SHA-256 is {SHA256}; Keras publishes {SHA256[::-1]}"),
        ("portal", None, "it cannot be read as HDF5"),
        ("cut-unsaid", None, "it cannot be read as HDF5"),
    ],
)
def test_download_of_another_file_is_deleted(name: str, digest: str | None, reason: str, server: str) -> None:
    with pytest.raises(WeightsError) as caught:
        download.fetch([WeightsFile("mine.h5", f"{server}/{name}.h5", digest)], offline=False, progress=SILENT)
    assert caught.value.exit_code == 4
    assert f"is not the file mine.h5: {reason}" in str(caught.value)
    assert left() == []


def test_fetch_damaged_file_is_replaced_after_download(server: str) -> None:
    cache_folder().mkdir(parents=True)
    (cache_folder() / "whole.h5").write_bytes(CONTENT[:-1])
    file = WeightsFile("whole.h5", f"{server}/whole.h5", MD5)
    with pytest.raises(WeightsError, match="are damaged: its MD5 is"):
        download.fetch([file], offline=True, progress=SILENT)
    with pytest.raises(WeightsError, match="are not on this machine"):
        download.fetch([WeightsFile("whole.h5", f"{server}/missing", MD5)], offline=False, progress=SILENT)
    assert snapshot(cache_folder()) == {"whole.h5": CONTENT[:-1]}
    assert download.fetch([file], offline=False, progress=SILENT) == [file]
    assert snapshot(cache_folder()) == {"whole.h5": CONTENT}


def download_one(url: str) -> None:
    download.download_missing([WeightsFile("slow.h5", url, MD5)], offline=False, progress=SILENT)


def test_download_two_processes_do_not_interfere(server: str) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=download_one, args=(f"{server}/slow.h5",)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert snapshot(cache_folder()) == {"slow.h5": CONTENT}


def test_download_deletes_old_drafts_of_killed_processes(server: str) -> None:
    cache_folder().mkdir(parents=True)
    old, new, own = (cache_folder() / name for name in (".whole.0123abcd.h5", ".whole.4567abcd.h5", ".whole.mine.h5"))
    for path in (old, new, own):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 2 * 24 * 3600,) * 2)
    os.utime(new)
    download.download_missing([WeightsFile("whole.h5", f"{server}/whole.h5")], offline=False, progress=SILENT)
    assert {*snapshot(cache_folder())} == {"whole.h5", new.name, own.name}


def test_download_unwritable_cache_raises(server: str, tmp_path: Path) -> None:
    cache_folder().parent.mkdir()
    cache_folder().write_text("a file in its place")
    with pytest.raises(OutputError, match="could not be written"):
        download.download_missing([WeightsFile("whole.h5", f"{server}/whole.h5")], offline=False, progress=SILENT)
    assert {*snapshot(tmp_path)} == {"keras/", "keras/models"}
