"""With --json an error is one object on stderr, and nothing is on stdout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.conftest import run_command
from transfer_cli.cli._console import Console
from transfer_cli.cli.main import main
from transfer_cli.errors import GateError, InputError

START = "import sys; sys.argv[0] = 'transfer-cli'; from transfer_cli.cli.main import main; main()"
HOLD = """
import sys, time
import click
import transfer_cli.cli.main as program

@click.command("demo")
def demo():
    print("ready", flush=True)
    time.sleep(30)

program.Group.get_command = lambda self, ctx, name: program.add_general_options(demo)
program.main(["demo", "--json"])
"""


def error_of(*words: str) -> dict[str, object]:
    """Run a command that fails, and return the only thing that it printed."""
    result = CliRunner().invoke(main, words)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    printed = json.loads(result.stderr)
    assert list(printed) == ["error"]
    assert list(printed["error"]) == ["code", "type", "message", "hint"]
    assert printed["error"]["code"] == result.exit_code
    return dict(printed["error"])


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        ("--json", 2, "UsageError"),
        ("--json bundle", 2, "UsageError"),
        ("bundle --json", 2, "UsageError"),
        ("--json --nonsense", 2, "UsageError"),
        ("predct --json", 2, "UsageError"),
        ("predict --json", 2, "UsageError"),
        ("predict --nonsense --json", 2, "UsageError"),
        ("cache clear nonsense --json", 2, "UsageError"),
        ("extract . --seed x --json", 2, "UsageError"),
        ("recipes show nonsense --json", 2, "UnknownNameError"),
        ("recipes check nonsense.toml --json", 3, "RecipeError"),
        ("extract nowhere --json", 3, "FolderError"),
        ("bundle verify nowhere --json", 4, "MissingModelError"),
    ],
)
def test_error_is_one_object(words: str, code: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = error_of(*words.split())
    assert (error["code"], error["type"]) == (code, kind)
    assert isinstance(error["message"], str)


def test_error_whole_object() -> None:
    assert error_of("recipes", "show", "defualt", "--json") == {
        "code": 2,
        "type": "UnknownNameError",
        "message": "There is no recipe called 'defualt'. Did you mean default?",
        "hint": "List all: transfer-cli recipes list",
    }


def test_json_after_two_dashes_is_no_option(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["cache", "info", "--", "--json"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def fail_after_result(error: BaseException) -> click.Command:
    """Return a command that prints its result and then fails."""

    @click.command("demo")
    @click.pass_obj
    def demo(console: Console) -> None:
        console.warn("an image is too small", "an image is too small")
        console.note("a note")
        console.result("result", {"rows": 3})
        raise error

    return demo


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (GateError("The accuracy is too low.", hint="More images."), 6, "GateError"),
        (InputError("late"), 3, "InputError"),
        (MemoryError(), 3, "ShortageError"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ZeroDivisionError("division by zero"), 1, "Bug"),
        (FileNotFoundError(2, "x", "a.txt"), 3, "InputError"),
    ],
)
def test_result_of_a_command_that_fails_is_not_printed(
    error: BaseException, code: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "get_command", lambda ctx, name: fail_after_result(error))
    monkeypatch.setattr("transfer_cli.cli._error_output._discard_output", lambda: None)
    result = CliRunner().invoke(main, ["--json", "demo"])
    assert (result.exit_code, result.stdout) == (code, "")
    printed = json.loads(result.stderr)["error"]
    assert (printed["code"], printed["type"]) == (code, kind)


def test_notes_and_warnings_of_a_command_that_succeeds_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "get_command", lambda ctx, name: fail_after_result(click.exceptions.Exit(0)))
    result = CliRunner().invoke(main, ["--json", "demo"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"rows": 3})
    assert result.stderr == "warning: an image is too small\na note\n"


def test_result_without_json_is_printed_before_a_gate_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    error = GateError("The accuracy is too low.", hint="More images.")
    monkeypatch.setattr(main, "get_command", lambda ctx, name: fail_after_result(error))
    result = CliRunner().invoke(main, ["demo"])
    assert (result.exit_code, result.stdout) == (6, "result\n")
    assert result.stderr == ("warning: an image is too small\na note\nerror: The accuracy is too low.\nMore images.\n")


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_terminated_command_prints_one_object() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    hint = "No partial files were left; run the same command again."
    expected = {"code": 143, "type": "Interrupted", "message": "Interrupted.", "hint": hint}
    assert (process.returncode, out, json.loads(err)) == (143, "", {"error": expected})


def test_gate_of_a_real_command(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copytree(colours / "red", tmp_path / "wrong" / "blue")
    done = run_command("evaluate", copy_of_trained, tmp_path / "wrong", "--min-accuracy", "0.9", "--json")
    assert (done.code, done.out, json.loads(done.err)["error"]["type"]) == (6, "", "GateError")
