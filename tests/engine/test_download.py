"""Downloads from a real server on this machine: whole, refused, cut short and stalled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.engine import download
from transfer_cli.errors import WeightsError
from transfer_cli.progress import SILENT
from transfer_cli.weights import cache_folder

CONTENT = bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    """Answers by the name of what is asked for."""

    ending = threading.Event()

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if not body:
            return
        half = len(CONTENT) // 2
        self.wfile.write(CONTENT if "whole" in self.path else CONTENT[:half])
        self.wfile.flush()
        if "stalled" in self.path:
            self.ending.wait(30)

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""


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


def test_a_file_is_brought_once(server: str) -> None:
    file = WeightsFile("whole.h5", f"{server}/whole.h5")
    download.bring([file], offline=False, progress=SILENT)
    assert (cache_folder() / "whole.h5").read_bytes() == CONTENT
    gone = WeightsFile("whole.h5", "http://127.0.0.1:9/whole.h5")
    download.bring([gone], offline=False, progress=SILENT)


@pytest.mark.parametrize("name", ["missing", "cut", "stalled"])
def test_a_download_that_fails_leaves_nothing(name: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 1.0)
    begun = time.monotonic()
    with pytest.raises(WeightsError, match=f"The weights {name}.h5 are not on this machine"):
        download.bring([WeightsFile(f"{name}.h5", f"{server}/{name}.h5")], offline=False, progress=SILENT)
    assert time.monotonic() - begun < 8
    left: list[Path] = list(cache_folder().glob("*")) if cache_folder().is_dir() else []
    assert left == []
