"""``--backbone FILE.keras`` and ``--preprocess`` on the command line: what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from transfer_cli.catalog.backbones import PREPROCESSING
from transfer_cli.cli.main import main

COMMANDS = (["extract"], ["finetune"], ["lr-find"], ["preview"], ["data", "check"], ["data", "split", "-o", "x"])


def fails(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_file_needs_its_preprocessing(command: list[str], tmp_path: Path) -> None:
    code, text = fails(*command, tmp_path, "--backbone", "own.keras")
    assert code == 2
    assert "own.keras needs --preprocess" in text
    assert all(f"{name:8}{meaning}" in text for name, meaning in PREPROCESSING.items())
    # Control: with it, the file is looked for, or the folder.
    assert fails(*command, tmp_path, "--backbone", "own.keras", "--preprocess", "tf")[0] in (3, 4)


@pytest.mark.parametrize("backbone", [[], ["--backbone", "mobilenet@0.25"]], ids=["default", "named"])
def test_a_network_of_the_catalog_takes_no_preprocessing(backbone: list[str], tmp_path: Path) -> None:
    code, text = fails("extract", tmp_path, *backbone, "--preprocess", "-1-1")
    assert code == 2
    assert (
        f"--preprocess is only for a .keras file: preprocessing is part of {(backbone or ['mobilenet_v2'])[-1]}" in text
    )


@pytest.mark.parametrize("weights", ["imagenet", "none", "embedded"])
def test_a_file_takes_no_other_weights(weights: str, tmp_path: Path) -> None:
    words = ("--backbone", "own.keras", "--preprocess", "tf", "--weights", weights)
    assert fails("extract", tmp_path, *words)[0] == 2
    assert (
        f"own.keras has weights of its own. Expected no --weights, or an earlier run. Received: {weights}."
        in " ".join(fails("finetune", tmp_path, *words)[1].split("\n"))
    )


def test_a_recipe_with_a_file_needs_its_preprocessing_too(colours: Path) -> None:
    code, text = fails("extract", colours, "--set", "backbone.name=own.keras")
    assert code == 3
    assert "own.keras needs --preprocess (backbone.preprocess)" in text
    words = ("--set", "backbone.name=own.keras", "--set", "backbone.preprocess=tf")
    assert fails("extract", colours, *words)[0] == 4


@pytest.mark.parametrize("command", ["rank", "auto"])
def test_rankings_take_no_files(command: str, colours: Path, tmp_path: Path) -> None:
    code, text = fails(command, colours, "--among", "own.keras,embedded", "-o", tmp_path / "out")
    assert code == 2
    assert "Only networks of the catalog are compared" in text
    assert "Received: own.keras." in text
    assert "transfer-cli extract FOLDER --backbone own.keras --preprocess" in text


def test_a_missing_file_and_a_missing_run_are_errors_of_the_model(colours: Path) -> None:
    code, text = fails("extract", colours, "--backbone", "gone.keras", "--preprocess", "tf")
    assert (code, "There is no network file gone.keras." in text) == (4, True)
    code, text = fails("extract", colours, "--weights", "runs/gone")
    assert (code, "There is no weights file or run runs/gone." in text) == (4, True)
