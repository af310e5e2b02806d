"""``--offline`` opens no socket: commands run where every attempt is written down and refused."""

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
    # The name of this machine is asked for without a socket.
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
    "data check": ["data", "check", "{colours}"],
    "predict": ["predict", "imagenet:resnet50", "{colours}/red"],
    "weights fetch": ["weights", "fetch", "mobilenet@0.5", "--size", "160"],
    "weights pack": ["weights", "pack", "resnet50", "-o", "kit.tar"],
}


@pytest.fixture
def guarded(tmp_path: Path, colours: Path) -> Callable[..., tuple[Outcome, str]]:
    """Return a function that runs a command under the guard, and returns what it did and what sockets it asked for."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    seen = tmp_path / "seen"

    def call(words: list[str], *flags: str, **environment: str) -> tuple[Outcome, str]:
        path = os.pathsep.join([str(tmp_path / "guard"), os.environ.get("PYTHONPATH", "")])
        done = run_command(
            *flags,
            *(word.format(colours=colours) for word in words),
            env={"PYTHONPATH": path, "SOCKETS_SEEN": str(seen), **environment},
            cwd=tmp_path,
        )
        return done, seen.read_text() if seen.exists() else ""

    return call


@pytest.mark.parametrize("command", WITH_WEIGHTS)
def test_no_socket_is_opened(command: str, guarded: Callable[..., tuple[Outcome, str]], shared: Path) -> None:
    done, sockets = guarded(WITH_WEIGHTS[command], "--offline", KERAS_HOME=str(shared / "keras_home"))
    assert done.code == 0, done.err
    assert done.out
    assert sockets == ""


@pytest.mark.parametrize("command", WITHOUT_WEIGHTS)
def test_no_socket_is_opened_for_weights_that_are_missing(
    command: str, guarded: Callable[..., tuple[Outcome, str]], tmp_path: Path
) -> None:
    done, sockets = guarded(WITHOUT_WEIGHTS[command], TRANSFER_CLI_OFFLINE="1")
    assert sockets == ""
    assert done.code == 4, done.err
    assert "--offline was given" in done.err
    assert "transfer-cli weights pack " in done.err
    assert "transfer-cli weights install weights.tar" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "keras").exists()
    assert not (tmp_path / "kit.tar").exists()


@pytest.mark.parametrize("command", ["extract", "weights fetch"])
def test_the_guard_sees_a_socket(command: str, guarded: Callable[..., tuple[Outcome, str]]) -> None:
    """The twin: without --offline the same commands ask for one."""
    done, sockets = guarded(WITHOUT_WEIGHTS[command], TRANSFER_CLI_OFFLINE="0")
    assert "socket.getaddrinfo ('storage.googleapis.com'" in sockets
    assert done.code == 4
    assert "a socket was asked for" in done.err


def test_the_hint_of_a_missing_file_names_that_file(guarded: Callable[..., tuple[Outcome, str]]) -> None:
    done, _ = guarded(WITHOUT_WEIGHTS["weights fetch"], "--offline")
    assert "transfer-cli weights pack mobilenet@0.5 --size 160 -o weights.tar" in done.err
    done, _ = guarded(WITHOUT_WEIGHTS["predict"], "--offline")
    assert "transfer-cli weights pack resnet50 --top -o weights.tar" in done.err
