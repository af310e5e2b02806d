"""A run, bundle or export that is not there gives exit code 4 and one form of message in every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main

IMAGE = "{colours}/red/red 00.png"
COMMANDS = {
    "bundle show {x}": "run or bundle",
    "bundle verify {x}": "run or bundle",
    "bundle pack {x} -o a.zip": "run or bundle",
    "bundle unpack {x}.zip -o a": "packed bundle",
    "predict {x}|" + IMAGE: "run or bundle",
    "predict {x}.onnx|" + IMAGE: "exported model",
    "evaluate {x} {colours}": "run or bundle",
    "explain {x}|" + IMAGE: "run or bundle",
    "inspect {x}": "run or bundle",
    "export {x}": "run or bundle",
    "similar {x}|" + IMAGE: "run",
    "report {x}": "run",
    "leaks {x}": "run",
    "map {x}": "run",
    "compare {trained} {x}": "run",
    "ensemble {trained} {x} -o a": "run",
    "extract {colours} --split {x}": "run",
    "finetune {colours} --split {x}": "run",
    "auto {colours} --split {x}": "run",
    "rank {colours} --split {x}": "run",
    "lr-find {colours} --split {x}": "run",
    "learning-curve {colours} --split {x}": "run",
}


def invoke(command: str, **places: Path | str) -> tuple[int, str, str]:
    """Run a command; blanks separate its words, or | where a path has blanks."""
    parts = [[part] if part == IMAGE else part.split() for part in command.split("|")]
    words = [word.format(**places) for part in parts for word in part]
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_run_is_exit_code_4(
    command: str, trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/birds").mkdir(parents=True)
    for name in ("birds.zip", "birds.onnx"):
        Path("runs", name).touch()
    code, out, err = invoke(command, x="runs/brids", trained=trained, colours=colours)
    suffix = next((suffix for suffix in (".zip", ".onnx") if f"{{x}}{suffix}" in command), "")
    message = f"There is no {COMMANDS[command]} at runs/brids{suffix}. Did you mean runs/birds{suffix}?"
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, lines) == (4, "", [f"error: {message}"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("command", [each for each in COMMANDS if ".onnx" not in each and ".zip" not in each])
def test_folder_that_is_no_run_is_exit_code_4(
    command: str, trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    code, out, err = invoke(command, x="photos", trained=trained, colours=colours)
    assert (code, out) == (4, ""), err
    assert "photos is " in err


def test_split_is_taken_from_a_run_or_its_file(trained: Path, tmp_path: Path) -> None:
    from transfer_cli.errors import MissingModelError
    from transfer_cli.runs.split_table import split_table

    table = trained / "split.csv"
    assert split_table(trained) == split_table(table) == table
    assert split_table(tmp_path / "mine.csv") == tmp_path / "mine.csv"
    with pytest.raises(MissingModelError, match="There is no run at"):
        split_table(tmp_path / "nothing" / "split.csv")
    with pytest.raises(MissingModelError, match="is not a run with a split"):
        split_table(tmp_path)
