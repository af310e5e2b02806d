"""Progress: bars with percentage and time left on a terminal, one line per step elsewhere."""

from __future__ import annotations

import io
import os
import re
import sys

import pytest
from rich.console import Console as RichConsole

from transfer_cli.cli import _progress_display
from transfer_cli.cli._console import Console
from transfer_cli.cli._progress_display import ProgressBars, ProgressLines
from transfer_cli.progress import StepsOnly

ESCAPES = re.compile(r"\x1b\[\??[0-9;]*[a-zA-Z]")
CAPTURED = """
import time
from transfer_cli.cli._console import Console
from transfer_cli.quiet_imports import captured_native_stderr

with Console().track("starting TensorFlow", None), captured_native_stderr():
    time.sleep(1.3)
"""


def test_bars_show_total_percentage_and_time_left() -> None:
    screen = io.StringIO()
    console = RichConsole(file=screen, force_terminal=True, width=80, color_system=None)
    bars = ProgressBars(console)
    with bars.track("loading", None), bars.track("reading [red]images[/red]", 40) as advance:
        assert bars._bars is not None
        bars._bars.tasks[1].start_time -= 10  # type: ignore[operator]
        advance(10)
        bars._bars.refresh()
    text = ESCAPES.sub("", screen.getvalue())
    assert re.search(r"loading +\S+ +0s", text)
    assert re.search(r"reading \[red\]images\[/red\] +\S+ +10 of 40 \(25 %\), about 30s left", text)
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", text))
    assert bars._bars is None


def test_bars_end_when_a_step_fails() -> None:
    bars = ProgressBars(RichConsole(file=io.StringIO(), force_terminal=True, color_system=None))
    with pytest.raises(ValueError, match="broken"), bars.track("outer", None), bars.track("inner", 3):
        raise ValueError("broken")
    assert bars._bars is None


def test_lines_one_per_step_at_its_start() -> None:
    lines: list[str] = []
    progress = ProgressLines(lines.append, lambda: 0.0)
    with progress.track("converting", None):
        assert lines == ["converting"]
    with progress.track("reading images", 36) as advance:
        assert lines == ["converting", "reading images: 36"]
        advance(36)
    assert len(lines) == 2


def test_lines_of_long_steps_have_percentage_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    spoken: list[tuple[float, str]] = []
    monkeypatch.setattr(_progress_display.time, "monotonic", lambda: now[0])
    progress = ProgressLines(lambda line: spoken.append((now[0], line)), lambda: spoken[-1][0])
    with progress.track("reading images", 1000) as advance:
        for _ in range(10):
            now[0] += 6
            advance(100)
    with progress.track("predicting", None) as advance:
        now[0] += 11
        advance(5)
    assert [line for _, line in spoken] == [
        "reading images: 1000",
        "reading images: 200 of 1000 (20 %), about 48s left",
        "reading images: 400 of 1000 (40 %), about 36s left",
        "reading images: 600 of 1000 (60 %), about 24s left",
        "reading images: 800 of 1000 (80 %), about 12s left",
        "reading images: 1000 of 1000 (100 %), about 0s left",
        "reading images: done in 1m",
        "predicting",
        "predicting: 5, 11s",
        "predicting: done in 11s",
    ]


def test_console_without_a_terminal_prints_no_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().track("reading images", 3) as advance:
        advance(3)
    for console in (Console(quiet=True), Console(json=True)):
        with console.track("reading images", 3):
            pass
    assert capsys.readouterr() == ("", "reading images: 3\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_spinner_moves_while_native_messages_are_captured() -> None:
    import pty

    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", CAPTURED])
    shown = b""
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, shown
    frames = re.findall(r"(\S) starting TensorFlow", ESCAPES.sub("", shown.decode()))
    assert len({*frames}) >= 3
    assert "1s" in shown.decode()


def test_steps_of_a_longer_work_are_shown_without_their_notes(capsys: pytest.CaptureFixture[str]) -> None:
    steps = StepsOnly(Console())
    with steps.track("training", 3) as advance:
        steps.note("a note")
        steps.warn("a warning")
        advance(3)
    assert capsys.readouterr().err == "training: 3\n"
