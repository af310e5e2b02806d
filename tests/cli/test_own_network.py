"""``--backbone FILE.keras`` and ``--preprocess`` on the command line: what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from transfer_cli.catalog.backbones import PREPROCESSING
from transfer_cli.cli.main import main

COMMANDS = (
    ["extract"],
    ["finetune"],
    ["lr-find"],
    ["preview"],
    ["rank", "--layers"],
    ["data", "check"],
    ["data", "split", "-o", "x"],
)


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


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the name of a network of the user's own in the current folder."""
    from tests.own_networks import nested, save

    monkeypatch.chdir(tmp_path)
    return save(nested(), tmp_path).relative_to(tmp_path)


def test_a_file_that_is_no_export_is_answered_with_what_it_is_good_for(own: Path) -> None:
    for command in (["predict", own, "x.png"], ["inspect", own], ["export", own]):
        code, text = fails(*command)
        assert code == 4
        assert f"transfer-cli extract FOLDER --backbone {own} --preprocess SCHEME\n" in text
        assert f"transfer-cli backbones show {own}\n" in text
        assert "is an exported model" not in text
        assert "transfer-cli predict" not in text
    Path("own.onnx").write_bytes(b"from elsewhere")
    code, text = fails("inspect", "own.onnx")
    assert (code, "was not written by transfer-cli export" in text, "--backbone" in text) == (4, True, False)


def test_backbones_show_a_file(own: Path) -> None:
    done = CliRunner().invoke(main, ["--json", "backbones", "show", str(own)])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["size"], shown["features"]) == ("own.keras", 32, None)
    assert "last_map" in {layer["name"] for layer in shown["layers"]}
    assert "RandomFlip" not in {layer["kind"] for layer in shown["layers"]}
    code, text = fails("backbones", "show", "missing.keras")
    assert (code, "There is no network file missing.keras." in text) == (4, True)
    Path("resnet5").mkdir()
    code, text = fails("backbones", "show", "resnet5")
    assert (code, "There is no backbone called 'resnet5'" in text) == (2, True)
