"""``--offline`` opens no socket: a guard records and refuses every attempt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, run_command

GUARD = """
import os
import sys


def refuse(event, arguments):
    # gethostname opens no socket.
    if event.startswith("socket.") and event != "socket.gethostname":
        with open(os.environ["SOCKETS_SEEN"], "a") as seen:
            print(event, arguments, file=seen)
        raise RuntimeError(f"a socket was asked for: {event}")


sys.addaudithook(refuse)
"""
REAL = ["--backbone", "mobilenet@0.25", "--set", "images.size=32"]
WITH_WEIGHTS = {
    "extract": ["extract", "{colours}", *REAL, "-o", "run"],
    "finetune": ["finetune", "{colours}", *REAL, "--set", "stage.1.epochs=1", "--set", "refit.when=never", "-o", "run"],
    "predict": ["predict", "imagenet:mobilenet@0.25", "{colours}/red", "--format", "table"],
    "weights list": ["weights", "list", "--top"],
    "weights verify": ["weights", "verify"],
    "weights fetch": ["weights", "fetch", "mobilenet@0.25", "--top"],
    "weights pack": ["weights", "pack", "mobilenet@0.25", "-o", "kit.tar"],
    "backbones list": ["backbones", "list"],
}
WITHOUT_WEIGHTS = {
    "extract": ["extract", "{colours}"],
    "finetune": ["finetune", "{colours}"],
    "lr-find": ["lr-find", "{colours}"],
    "learning-curve": ["learning-curve", "{colours}"],
    "rank --layers": ["rank", "{colours}", "--layers"],
    "data check": ["data", "check", "{colours}"],
    "predict": ["predict", "imagenet:resnet50", "{colours}/red"],
    "weights fetch": ["weights", "fetch", "mobilenet@0.5", "--size", "160"],
    "weights pack": ["weights", "pack", "resnet50", "-o", "kit.tar"],
}


@pytest.fixture
def guarded(tmp_path: Path, colours: Path) -> Callable[..., tuple[Outcome, str]]:
    """Return a function that runs a command under the guard; it returns the outcome and the sockets that were tried."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    seen = tmp_path / "seen"

    def call(arguments: list[str], *flags: str, **environment: str) -> tuple[Outcome, str]:
        path = os.pathsep.join([str(tmp_path / "guard"), os.environ.get("PYTHONPATH", "")])
        result = run_command(
            *flags,
            *(word.format(colours=colours) for word in arguments),
            env={"PYTHONPATH": path, "SOCKETS_SEEN": str(seen), **environment},
            cwd=tmp_path,
        )
        return result, seen.read_text() if seen.exists() else ""

    return call


@pytest.mark.parametrize("command", WITH_WEIGHTS)
def test_offline_with_weights_opens_no_socket(
    command: str, guarded: Callable[..., tuple[Outcome, str]], shared: Path
) -> None:
    result, sockets = guarded(WITH_WEIGHTS[command], "--offline", KERAS_HOME=str(shared / "keras_home"))
    assert result.code == 0, result.err
    assert result.out
    assert sockets == ""


@pytest.mark.parametrize("command", WITHOUT_WEIGHTS)
def test_offline_missing_weights_opens_no_socket(
    command: str, guarded: Callable[..., tuple[Outcome, str]], tmp_path: Path
) -> None:
    result, sockets = guarded(WITHOUT_WEIGHTS[command], TRANSFER_CLI_OFFLINE="1")
    assert sockets == ""
    assert result.code == 4, result.err
    assert "--offline was given" in result.err
    assert "transfer-cli weights pack " in result.err
    assert "transfer-cli weights install weights.tar" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "keras").exists()
    assert not (tmp_path / "kit.tar").exists()


@pytest.mark.parametrize("command", ["extract", "weights fetch"])
def test_guard_without_offline_detects_socket(command: str, guarded: Callable[..., tuple[Outcome, str]]) -> None:
    """Planted fault: without --offline the same commands open a socket."""
    result, sockets = guarded(WITHOUT_WEIGHTS[command], TRANSFER_CLI_OFFLINE="0")
    assert "socket.getaddrinfo ('storage.googleapis.com'" in sockets
    assert result.code == 4
    assert "a socket was asked for" in result.err


def test_missing_weights_hint_names_pack_command(guarded: Callable[..., tuple[Outcome, str]]) -> None:
    result, _ = guarded(WITHOUT_WEIGHTS["weights fetch"], "--offline")
    assert "transfer-cli weights pack mobilenet@0.5 --size 160 -o weights.tar" in result.err
    result, _ = guarded(WITHOUT_WEIGHTS["predict"], "--offline")
    assert "transfer-cli weights pack resnet50 --top -o weights.tar" in result.err
