"""Signals end a command with its exit code, and leave no draft."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HOLD = """
import sys, time
from pathlib import Path
import click
import transfer_cli.cli.main as program
from transfer_cli.io.atomic import atomic_write
from transfer_cli.io.drafts import temporary_folder

@click.command("demo")
def demo():
    with temporary_folder(), atomic_write(Path("out")) as draft:
        draft.mkdir()
        for number in range(2000):
            (draft / f"{number}.txt").touch()
        print("ready", flush=True)
        time.sleep(30)

program.Group.get_command = lambda self, ctx, name: demo
program.main(["demo"])
"""


def heed_signals() -> None:
    """Undo what nohup, or a shell that started the tests in the background, passes on: ignored signals."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def started(tmp_path: Path, preexec: Callable[[], object] = heed_signals) -> subprocess.Popen[str]:
    """Start a command that writes a folder and waits."""
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=tmp_path / "work",
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def left(tmp_path: Path) -> list[str]:
    return [str(path) for name in ("work", "tmp") for path in (tmp_path / name).iterdir()]


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGHUP], 129),
        ([signal.SIGQUIT], 131),
        ([signal.SIGTERM, signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGINT, signal.SIGTERM], 130),
        ([signal.SIGHUP, signal.SIGTERM], 129),
    ],
)
def test_signals_leave_no_draft(numbers: list[signal.Signals], code: int, tmp_path: Path) -> None:
    process = started(tmp_path)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, left(tmp_path)) == (code, [])
    assert err == "Interrupted. No partial files were left; run the same command again.\n"


def test_hangup_that_was_ignored_at_the_start_is_ignored(tmp_path: Path) -> None:
    process = started(tmp_path, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143


def test_next_command_removes_what_a_killed_one_left_elsewhere(tmp_path: Path) -> None:
    process = started(tmp_path)
    process.kill()
    process.communicate()
    assert len(left(tmp_path)) == 2
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "transfer_cli", "recipes", "show", "default"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert left(tmp_path) == []


@pytest.mark.parametrize("words", ["--help", "--version", "recipes show default", "backbones list --json"])
def test_full_disk_for_standard_output_is_one_line(words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = "import sys; sys.argv[0] = 'transfer-cli'; from transfer_cli.cli.main import main; main()"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *words.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    message = "standard output: No space left on device."
    error = {"code": 3, "type": "InputError", "message": message, "hint": None}
    expected = json.dumps({"error": error}) if "--json" in words else f"error: {message}"
    assert (done.returncode, done.stderr) == (3, f"{expected}\n")
