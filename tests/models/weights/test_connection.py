"""Why a file cannot be downloaded, in plain words: real answers of a local server, and of none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from transfer_cli.models.weights import connection
from transfer_cli.models.weights.connection import failure_reason, unreachable


class Handler(BaseHTTPRequestHandler):
    """Answers with the status in the path."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.rpartition("/")[2]))
        self.end_headers()

    def log_message(self, format: str, *words: object) -> None:
        """Log nothing."""


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_failures", {})
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (403, "127.0.0.1 answered HTTP 403 Forbidden: access is refused, by it or by a proxy on the way"),
        (404, "127.0.0.1 answered HTTP 404 Not Found: the file is not at this address"),
        (418, "127.0.0.1 answered HTTP 418 I'm a Teapot"),
        (503, "127.0.0.1 answered HTTP 503 Service Unavailable: it has a fault; try again later"),
        (405, None),
        (200, None),
    ],
)
def test_http_status(code: int, reason: str | None, server: str) -> None:
    assert unreachable(f"{server}/{code}") == reason
    # A file that is missing says nothing of the next one.
    assert unreachable(f"{server}/200") is None


def test_no_listener_is_refused_and_remembered(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{closed_port}"
    assert unreachable(f"{address}/a") == "the connection to 127.0.0.1 was refused"
    monkeypatch.setattr(connection, "_ask", lambda url: pytest.fail("asked again"))
    assert unreachable(f"{address}/b") == "the connection to 127.0.0.1 was refused"


def test_proxy_is_named_without_its_password(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{closed_port}")
    reason = unreachable("http://weights.example/file.h5")
    assert reason == f"the connection to weights.example (through the proxy 127.0.0.1:{closed_port}) was refused"


def test_proxy_that_wants_a_login(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError("Tunnel connection failed: 407 Proxy Authentication Required")
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert failure_reason(error, "https://weights.example/file.h5", 8) == (
        "weights.example (through the proxy proxy.example:3128) answered HTTP 407 Proxy Authentication Required: "
        "the proxy wants a login"
    )


def test_no_name_server() -> None:
    error = OSError(socket.gaierror(-2, "Name or service not known"))
    assert failure_reason(error, "https://weights.example/file.h5", 8) == (
        "there is no internet connection (cannot find the server weights.example: [Errno -2] Name or service not known)"
    )


def test_silence() -> None:
    said = failure_reason(TimeoutError(), "https://weights.example/file.h5", 8)
    assert said == "there was no answer within 8 seconds from weights.example"
