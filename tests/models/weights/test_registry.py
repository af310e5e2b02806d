from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Outcome
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import WeightsError
from transfer_cli.models.weights.registry import cache_folder, imagenet_files, is_installed, require_available

FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Return the address of a server that takes connections and never answers, as a network that drops packets."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in kept:
        connection.close()


@pytest.fixture
def closed_port() -> str:
    """Return the address of a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def check_refusal(done: Outcome, seconds: float, folder: Path, reason: str) -> None:
    assert done.code == 4
    assert seconds < 20
    assert done.out == ""
    assert FILE in done.err
    assert reason in done.err
    assert f"Expected: {folder}/keras/models/{FILE}" in done.err.replace("\n", "")
    assert f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/{FILE}" in done.err
    assert "Traceback" not in done.err


@pytest.mark.integration
@pytest.mark.parametrize("network", ["silent_server", "closed_port"])
def test_extract_without_connection_fails_soon_and_names_the_file(
    network: str,
    colours: Path,
    tmp_path: Path,
    transfer_cli: Callable[..., Outcome],
    request: pytest.FixtureRequest,
) -> None:
    proxy = request.getfixturevalue(network)
    begun = time.monotonic()
    done = transfer_cli("extract", colours, env={"https_proxy": proxy, "HTTPS_PROXY": proxy, "no_proxy": ""})
    reason = "no answer within 8 seconds" if network == "silent_server" else "refused"
    check_refusal(done, time.monotonic() - begun, tmp_path, reason)
    assert not (tmp_path / "runs").exists()


def test_extract_offline_opens_no_connection(
    colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    for words, env in ((["--offline"], {}), ([], {"TRANSFER_CLI_OFFLINE": "1"})):
        begun = time.monotonic()
        done = transfer_cli(*words, "extract", colours, env=env)
        check_refusal(done, time.monotonic() - begun, tmp_path, "--offline was given")


def test_require_available_uses_the_file_in_the_cache(tmp_path: Path) -> None:
    (file,) = imagenet_files(find("mobilenet@0.25"), top=False, size=224)
    assert not is_installed(file)
    with pytest.raises(WeightsError):
        require_available([file], offline=True)
    cache_folder().mkdir(parents=True)
    (cache_folder() / file.name).touch()
    assert is_installed(file)
    assert require_available([file], offline=True) == []


@pytest.mark.integration
def test_extract_damaged_weights_are_named(colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    damaged = tmp_path / "keras/models/mobilenet_2_5_224_tf_no_top.h5"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not weights at all")
    done = transfer_cli("extract", colours, "--backbone", "mobilenet@0.25")
    assert done.code == 4
    assert f"The weights in {damaged} are damaged: it cannot be read as HDF5" in done.err.replace("\n", "")
    assert "transfer-cli weights fetch mobilenet@0.25\n" in done.err
    assert "transfer-cli weights install weights.tar --overwrite" in done.err


def test_extract_missing_weights_file_is_named(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    done = transfer_cli("extract", colours, "--weights", "mine.h5")
    assert done.code == 4
    assert "There is no weights file or run mine.h5" in done.err
