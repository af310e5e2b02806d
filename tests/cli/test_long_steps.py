"""Steps that can take long are named at their start, with a total where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main

STEPS = {
    "map {run} -o map.png": ("t-SNE of 36 images: 750", "reading images for the map: 36"),
    "leaks {run} -o leaks.csv": ("measuring the images: 36", "searching near-duplicates of "),
    "report {run} -o report.html": ("writing the report, sections: 10",),
    "similar {run} {colours} -o s.csv": ("loading the model", "searching similar images: 36"),
    "predict {run} {colours} -o p.csv": ("loading the model", "predicting: 36"),
    "predict {run} {colours}": ("loading the model", "predicting: 36"),
    "evaluate {run} {colours} -o e": ("loading the model", "predicting: 36"),
    "bundle pack {run} -o a.zip": ("packing a.zip, files: ",),
    "data split {colours} -o parts": ("copying images: 36",),
    "data split {colours} --link -o parts": ("linking images: 36",),
}
LONG = {
    "explain {run} {colours}/red -o why": ("loading the model", "drawing saliency maps: 12"),
    "export {run} --format keras,litert -o e": ("exporting, formats: 2", "exporting and checking litert"),
    "bundle unpack a.zip -o there": ("unpacking and checking a.zip",),
    "auto {colours} --among embedded --time-budget 20s -o auto": (
        "predicting test: ",
        "writing the report, sections: 10",
    ),
}


def lines_of(command: str, run: Path, colours: Path) -> list[str]:
    result = CliRunner().invoke(main, [word.format(run=run, colours=colours) for word in command.split()])
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stderr
    return list(result.stderr.splitlines())


def assert_named(command: str, steps: tuple[str, ...], run: Path, colours: Path) -> None:
    lines = lines_of(command, run, colours)
    found = [next((line for line in lines if line.startswith(step)), None) for step in steps]
    assert None not in found, lines
    assert found == sorted(found, key=lines.index)


@pytest.mark.parametrize("command", STEPS)
def test_long_steps_are_named(
    command: str, trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_named(command, STEPS[command], trained, colours)


@pytest.mark.integration
@pytest.mark.parametrize("command", LONG)
def test_long_steps_are_named_in_slow_commands(
    command: str, trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "a.zip" in command:
        lines_of("bundle pack {run} -o a.zip", trained, colours)
    assert_named(command, LONG[command], trained, colours)
