"""``transfer-cli sample-data``, its downloads from a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.datasets import made_files
from tests.datasets.made_files import spec_of
from transfer_cli import write_sample_data
from transfer_cli.catalog import datasets
from transfer_cli.cli.main import main
from transfer_cli.data.sample_data import sample_folder
from transfer_cli.datasets.archive import archive_path
from transfer_cli.errors import InputError, OptionError, UnknownNameError
from transfer_cli.models.weights import connection

FILES = {"mnist": made_files.mnist(), "cifar10": made_files.cifar10(), "cifar100": made_files.cifar100()}


class Handler(BaseHTTPRequestHandler):
    """Sends the file of a data set, or in a folder of that name not all of it, another one, too much or nothing."""

    requested: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.requested.append(self.path)
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name = next((name for name in FILES if datasets.find(name).file in self.path), None)
        if name is None or "missing" in self.path:
            self.send_error(404)
            return
        content = b"<html>Sign in</html>" if "portal" in self.path else FILES[name]
        content = bytes(datasets.find(name).bytes * 2) if "huge" in self.path else content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2 if "cut" in self.path else None])

    def log_message(self, format: str, *words: object) -> None:
        """Log nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """Return a server, which the variable of a mirror names; the catalog has the digests of the small files."""
    Handler.requested = []
    made = {name: spec_of(name, content) for name, content in FILES.items()}
    monkeypatch.setattr(datasets, "_BY_NAME", made)
    monkeypatch.setattr(connection, "_failures", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TRANSFER_CLI_DATASETS", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_without_data_set_the_sample_images_are_copied(tmp_path: Path) -> None:
    done = invoke("sample-data", tmp_path / "patterns")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/patterns\n")
    assert files_in(tmp_path / "patterns") == files_in(sample_folder())
    assert "--backbone embedded" in done.stderr
    again = invoke("sample-data", tmp_path / "patterns")
    assert (again.exit_code, "already exists" in again.stderr) == (3, True)


def test_mnist_becomes_folders_of_numbered_images(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "digits"
    words = ("sample-data", target, "--dataset", "mnist", "--images-per-class", "1")
    done = invoke("--json", *words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": str(target)}
    assert (
        f"next: transfer-cli extract {target}\n"
        in invoke("sample-data", target, "--dataset", "mnist", "--images-per-class", "1").stderr
    )
    assert files_in(target) == sorted(
        f"{part}/{digit}/{digit:02}.png" for part in ("test", "train") for digit in range(10)
    )
    with Image.open(target / "train/7/07.png") as image, np.load(archive_path(datasets.find("mnist"))) as arrays:
        np.testing.assert_array_equal(np.asarray(image), arrays["x_train"][7])


@pytest.mark.parametrize(("name", "count"), [("cifar10", 120), ("cifar100", 8)])
def test_cifar_becomes_folders_by_class_name(
    name: str, count: int, server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    done = invoke("sample-data", tmp_path / "images", "--dataset", name)
    assert done.exit_code == 0, done.stderr
    found = files_in(tmp_path / "images")
    assert len(found) == count
    assert ("train/fine_99/1.png" if name == "cifar100" else "train/kind3/23.png") in found


def test_second_call_downloads_and_writes_nothing(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    words = ("sample-data", tmp_path / "digits", "--dataset", "mnist")
    assert invoke(*words).exit_code == 0
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = invoke(*words)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/digits\n")
    assert "holds these 60 images already; nothing to do" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert len(Handler.requested) == 1
    other = invoke(*words, "--images-per-class", "2")
    assert (other.exit_code, "holds other files" in other.stderr) == (3, True)
    assert invoke("--offline", "sample-data", tmp_path / "more", "--dataset", "mnist").exit_code == 0


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("missing", "HTTP 404 Not Found: the file is not at this address"),
        ("cut", "broke off after"),
        ("portal", "expected SHA-256"),
        ("huge", "so that it is another file"),
    ],
)
def test_failed_download_leaves_nothing(
    folder: str, message: str, server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sample-data", tmp_path / "digits", "--dataset", "mnist")
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TRANSFER_CLI_DATASETS", f"{address}/{folder}/")
    done = invoke(*words)
    assert done.exit_code == 4
    assert message in done.stderr
    assert done.stdout == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "digits").exists()
    monkeypatch.setenv("TRANSFER_CLI_DATASETS", address)
    assert invoke(*words).exit_code == 0


def test_without_internet_the_ways_out_are_said(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive_path(datasets.find("cifar10"))
    offline = invoke("--offline", "sample-data", tmp_path / "images", "--dataset", "cifar10")
    assert offline.exit_code == 4
    assert offline.stderr == (
        "error: cifar10 needs a one-time download of 171.0 MB, but --offline was given.\n"
        "1. With internet, leave out --offline.\n"
        "2. Without: download https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz on another computer, and copy "
        f"it to {path}\n"
        "3. From a mirror: set TRANSFER_CLI_DATASETS to the address of the folder that has cifar-10-python.tar.gz\n"
        "4. Now, without a download: transfer-cli sample-data TARGET (without --dataset)\n"
    )
    assert Handler.requested == []
    monkeypatch.setenv("TRANSFER_CLI_DATASETS", "http://127.0.0.1:9")
    refused = invoke("sample-data", tmp_path / "images", "--dataset", "cifar10")
    assert (refused.exit_code, "the connection to 127.0.0.1 was refused" in refused.stderr) == (4, True)
    # Copied from another computer.
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES["cifar10"])
    assert invoke("sample-data", tmp_path / "images", "--dataset", "cifar10").exit_code == 0


def test_damaged_file_is_not_opened_and_downloaded_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    path = archive_path(datasets.find("mnist"))
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES["mnist"][:-1])
    words = ("sample-data", tmp_path / "digits", "--dataset", "mnist")
    assert invoke("--offline", *words).exit_code == 4
    done = invoke(*words)
    assert done.exit_code == 0
    assert "downloading it again" in done.stderr
    assert path.read_bytes() == FILES["mnist"]


def test_folder_with_other_files_is_refused_before_a_download(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    for place in (tmp_path / "mine", tmp_path / "file"):
        done = invoke("sample-data", place, "--dataset", "mnist")
        assert (done.exit_code, "already exists and holds other files" in done.stderr) == (3, True)
    assert Handler.requested == []


def test_wrong_options_are_errors(tmp_path: Path) -> None:
    assert "'cifar' is not one of" in invoke("sample-data", tmp_path / "x", "--dataset", "cifar").stderr
    done = invoke("sample-data", tmp_path / "x", "--images-per-class", "3")
    assert (done.exit_code, "Add --dataset mnist|cifar10|cifar100" in done.stderr) == (2, True)
    assert invoke("sample-data", tmp_path / "x", "--dataset", "mnist", "--images-per-class", "0").exit_code == 2
    with pytest.raises(UnknownNameError, match=r"Did you mean cifar10"):
        write_sample_data(tmp_path / "x", dataset="cifar1")
    with pytest.raises(OptionError):
        write_sample_data(tmp_path / "x", images_per_class=2)
    with pytest.raises(InputError, match="1 or more"):
        write_sample_data(tmp_path / "x", dataset="mnist", images_per_class=0)


def test_catalog_has_the_addresses_and_digests_of_keras() -> None:
    found = find_spec("keras")
    assert found is not None
    assert found.origin is not None
    for name in datasets.names():
        source = (Path(found.origin).parent / f"src/datasets/{name}.py").read_text("utf-8")
        spec = datasets.find(name)
        assert spec.sha256 in source
        assert spec.file in source
        assert spec.url.removesuffix(spec.file) in source
