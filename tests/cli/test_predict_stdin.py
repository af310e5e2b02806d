"""``transfer-cli predict -``: a client that asks and waits, lists of other programs, and a terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Outcome

COMMAND = [sys.executable, "-m", "transfer_cli", "--quiet", "predict"]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_client_gets_each_answer_before_it_asks_again(trained: Path, colours: Path, format: str) -> None:
    command = [*COMMAND, str(trained), "-", "--format", format]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    paths = [f"{colours}/red/red 01.png", "missing.png", f"{colours}/blue/blue 02.png"]
    answers = []
    for number, path in enumerate(paths):
        process.stdin.write(os.fsencode(f"{path}\n"))
        process.stdin.flush()
        if format == "csv" and not number:
            assert process.stdout.readline() == b"path,label,confidence,p_blue,p_green,p_red\n"
        answers.append(process.stdout.readline().decode())
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, b"")
    assert err.decode() == "warning: skipped missing.png: No such file or directory\n"
    if format == "csv":
        assert [answer.split(",")[:2] for answer in answers] == [[paths[0], "red"], [paths[1], ""], [paths[2], "blue"]]
    else:
        rows = [json.loads(answer) for answer in answers]
        assert [row["path"] for row in rows] == paths
        assert rows[1] == {"path": "missing.png", "error": "No such file or directory"}


def test_list_of_windows_is_read(trained: Path, colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    names = [f"{colours}/red/red 01.png", f"{colours}/blue/blue 02.png"]
    data = "\r\n".join([*names, ""]).encode("utf-16")
    done = transfer_cli("predict", trained, "-", "--top-k", "1", input=data)
    assert done.code == 0, done.err
    assert [line.split(",")[:2] for line in done.out.splitlines()[1:]] == [[names[0], "red"], [names[1], "blue"]]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8_are_valid_json(
    trained: Path, colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    names = [os.fsencode(tmp_path) + b"/caf\xe9.png", b"caf\xe9.jpg"]
    shutil.copy(colours / "red/red 01.png", os.fsdecode(names[0]))
    done = transfer_cli("--json", "predict", trained, "-", input=b"\n".join(names))
    assert done.code == 5, done.err
    # `done.out` has lone bytes for what is not UTF-8.
    rows = [json.loads(line.encode("utf-8").decode("utf-8")) for line in done.out.splitlines()]
    assert [os.fsencode(row["path"]) for row in rows] == names
    assert rows[1]["error"] == "No such file or directory"
    written = transfer_cli("--json", "predict", trained, "-", "-o", tmp_path / "out.jsonl", input=b"\n".join(names))
    skipped = json.loads(written.out.encode("utf-8"))["skipped"]
    assert os.fsencode(skipped[0]["path"]) == names[1]
    assert os.fsencode(json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["path"]) == names[0]


def test_no_question_is_no_error(trained: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for data in (b"", b"\n"):
        done = transfer_cli("predict", trained, "-", input=data)
        assert (done.code, done.out) == (0, "")
        assert "0 images predicted, 0 skipped" in done.err
    written = transfer_cli("predict", trained, "-", "-o", "out.csv", input=b"\n")
    assert (written.code, written.out) == (3, "")
    assert "No images found." in written.err


def test_questions_about_unreadable_files_only_are_answered(
    trained: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    done = transfer_cli("--json", "predict", trained, "-", input=b"nothere\n\n")
    assert (done.code, done.json) == (5, {"path": "nothere", "error": "No such file or directory"})
    assert "0 images predicted, 1 skipped" in done.err
    written = transfer_cli("predict", trained, "-", "-o", "out.csv", input=b"nothere\n")
    assert (written.code, written.out) == (3, "")
    assert "Nothing was predicted: no image could be read." in written.err


def test_folder_on_stdin_gets_a_row_per_image_and_nul_ends_a_line(
    trained: Path, colours: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    data = os.fsencode(f"{colours}/red\0\0{colours}/blue/blue 02.png\0")
    done = transfer_cli("predict", trained, "-", "--top-k", "1", input=data)
    assert done.code == 0, done.err
    assert [line.split(",")[1] for line in done.out.splitlines()[1:]] == [*["red"] * 12, "blue"]


def test_closed_stdout_ends_a_client(trained: Path, colours: Path) -> None:
    process = subprocess.Popen([*COMMAND, str(trained), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    line = os.fsencode(f"{colours}/red/red 01.png\n")
    process.stdin.write(line)
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(line)
    process.stdin.flush()
    # Its stdin is still open: it ends all the same.
    assert process.wait(timeout=60) == 141
    process.stdin.close()


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of POSIX")
def test_terminal_shows_a_table(trained: Path, colours: Path) -> None:
    import pty

    parent, child = pty.openpty()
    image = f"{colours}/red/red 01.png"
    wide = {**os.environ, "COLUMNS": "300"}  # a narrow terminal cuts the path
    process = subprocess.Popen([*COMMAND, str(trained), image], stdout=child, stderr=subprocess.PIPE, env=wide)
    os.close(child)
    shown = b""
    try:
        while data := os.read(parent, 1024):
            shown += data
    except OSError:  # the other end was closed
        pass
    os.close(parent)
    process.communicate(timeout=60)
    assert process.returncode == 0
    path, label, share, *others = shown.decode().replace(image, "IMAGE").split()
    assert (path, label, share[-1], len(others)) == ("IMAGE", "red", "%", 4)


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of POSIX")
@pytest.mark.parametrize("stdout", ["pipe", "file"])
def test_bar_is_not_drawn_where_a_pipe_may_show_the_rows(
    trained: Path, colours: Path, tmp_path: Path, stdout: str
) -> None:
    import pty

    parent, child = pty.openpty()
    with (tmp_path / "rows.csv").open("wb") as file:
        target = subprocess.PIPE if stdout == "pipe" else file
        words = [word for word in COMMAND if word != "--quiet"]
        process = subprocess.Popen([*words, str(trained), str(colours)], stdout=target, stderr=child)
    os.close(child)
    shown = b""
    with suppress(OSError):  # at its end
        while data := os.read(parent, 4096):
            shown += data
    os.close(parent)
    rows = process.communicate(timeout=60)[0] if stdout == "pipe" else (tmp_path / "rows.csv").read_bytes()
    assert process.wait(timeout=60) == 0
    assert len(rows.splitlines()) == 37
    assert b"loading the model" in shown
    assert (b"predicting" in shown) == (stdout == "file")
