"""A command that got images and no model, or a run and no images, says which of the two is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.manage.planted_runs import finished_run
from transfer_cli.cli.main import main


def error_of(*words: str) -> str:
    """Return the last line of what a command prints that is misused."""
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, "")
    return str(result.stderr.splitlines()[-1])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["predict", "classify", "evaluate", "explain", "similar"])
def test_images_without_a_model_the_model_is_missing(command: str) -> None:
    name = "predict" if command == "classify" else command
    expected = (
        f"new is a folder, not a trained model. The model comes first: transfer-cli {name} RUN new (RUN: the folder"
    )
    assert expected in error_of(command, "new")


def test_images_without_a_model_a_run_is_named(tmp_path: Path) -> None:
    finished_run(tmp_path / "runs", "first")
    assert error_of("predict", "new").endswith("The model comes first: transfer-cli predict runs/first new")


def test_evaluate_without_images_names_the_score_of_the_run(tmp_path: Path) -> None:
    finished_run(tmp_path / "runs", "first")
    line = error_of("val", "runs/first")
    assert line.startswith("Error: Missing argument 'FOLDER|CSV'. evaluate needs a folder of other labelled images")
    assert line.endswith("on its own test images: transfer-cli runs show runs/first")


def test_predict_without_images_says_what_is_expected(tmp_path: Path) -> None:
    finished_run(tmp_path / "runs", "first")
    assert error_of("predict", "runs/first").endswith("Expected images, folders, lists of images, or - for stdin.")
    assert error_of("predict", "runs/frist").endswith("Expected images, folders, lists of images, or - for stdin.")
