"""Words that people type for a command: each runs the command, or is answered with the commands to type."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from transfer_cli.cli._aliases import ALIASES, ANSWERS, fold
from transfer_cli.cli.main import _COMMANDS, main

TRAIN = """\
Usage: main [OPTIONS] COMMAND [ARGS]...
Try 'main --help' for help.

Error: No such command '{word}'. Two commands train a classifier:
  transfer-cli extract {folder}    fast, start here: a classifier on a fixed pretrained network
  transfer-cli finetune {folder}   trains the network itself: slower, usually more accurate
"""


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.mark.parametrize("word", ["train", "fit", "Train", "FIT", "learn"])
def test_train_names_the_two_commands_that_train(word: str) -> None:
    result = call(word)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == TRAIN.format(word=word, folder="FOLDER")


def test_train_names_the_folder_that_was_typed(colours: Path) -> None:
    result = call("train", colours)
    assert (result.exit_code, result.stderr) == (2, TRAIN.format(word="train", folder=colours))


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["data={}", "epochs=3", "imgsz=160"], "--epochs 3 --set images.size=160"),
        (["--epochs", "3", "{}"], "--epochs 3"),
        (["{}", "--epochs=3", "--zzzz", "4"], "--epochs 3"),
    ],
)
def test_train_keeps_the_settings_that_were_typed(words: list[str], settings: str, colours: Path) -> None:
    result = call("train", *(word.format(colours) for word in words))
    assert result.exit_code == 2
    assert f"  transfer-cli finetune {colours} {settings}   trains the network itself" in result.stderr


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("classify", "predict"),
        ("val", "evaluate"),
        ("test", "evaluate"),
        ("eval", "evaluate"),
        ("Predict", "predict"),
        ("lr_find", "lr-find"),
        ("fine-tune", "finetune"),
        ("fine_tune", "finetune"),
        ("list_models", "backbones list"),
        ("split", "data split"),
    ],
)
def test_alias_is_the_command(word: str, command: str) -> None:
    expected = call(*command.split(), "--help")
    assert expected.exit_code == 0
    assert expected.stdout.startswith(f"Usage: main {command} [OPTIONS]")
    for result in (call(word, "--help"), call("help", word), call("help", *command.split())):
        assert (result.exit_code, result.stdout, result.stderr) == (0, expected.stdout, "")


def test_alias_passes_arguments_and_exit_code_on(tmp_path: Path) -> None:
    words = (tmp_path / "no run", tmp_path)
    for alias, command in (("val", "evaluate"), ("classify", "predict")):
        expected = call(command, *words)
        assert expected.exit_code > 2
        result = call(alias, *words)
        assert (result.exit_code, result.output) == (expected.exit_code, expected.output)


def test_every_alias_leads_to_a_command_that_exists() -> None:
    context = click.Context(main, info_name="transfer-cli")
    assert ALIASES["list"] == ("runs", "list")
    for word, (name, *below) in ALIASES.items():
        if name == "--version" or (name == "runs" and name not in _COMMANDS):
            continue
        command = main.get_command(context, name)
        assert command is not None, word
        for sub in below:
            assert isinstance(command, click.Group), word
            assert command.get_command(context, sub) is not None, word


def test_no_word_has_two_meanings() -> None:
    words = [*_COMMANDS, "help", *ALIASES, *ANSWERS]
    assert len(words) == len(set(words))
    assert [word for word in words if word != fold(word)] == []


@pytest.mark.parametrize("word", ANSWERS)
def test_word_with_several_meanings_is_answered(word: str) -> None:
    for typed in ([word], ["help", word]):
        result = call(*typed)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"Error: No such command '{word}'. {ANSWERS[word].format(folder='FOLDER')}" in result.stderr


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("predit", "Did you mean predict?"),
        ("clasify", "Did you mean classify?"),
        ("trian", "Two commands train a classifier:"),
        ("qqqq", "See: transfer-cli --help"),
    ],
)
def test_mistyped_word_is_answered(typed: str, answer: str) -> None:
    for words in ([typed], ["help", typed]):
        result = call(*words)
        assert result.exit_code == 2
        assert f"Error: No such command '{typed}'. {answer}" in result.stderr


def test_help_alone_is_the_help_of_the_program() -> None:
    result = call("help")
    assert (result.exit_code, result.stdout) == (0, call("--help").stdout)


def test_help_unknown_sub_command_is_an_error() -> None:
    result = call("help", "bundle", "sho")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such command 'sho'" in result.stderr


def test_version_is_the_version() -> None:
    result = call("version")
    assert (result.exit_code, result.stdout) == (0, call("--version").stdout)


DEVICE = "The environment variable CUDA_VISIBLE_DEVICES chooses the device: -1 uses the CPU, 0 the first GPU;"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["extract", "--epochs", "3"],
            "'--epochs'. extract trains no network; finetune does: transfer-cli finetune FOLDER --epochs 3",
        ),
        (
            ["extract", "--optimizer", "adam"],
            "'--optimizer'. stage.1.optimizer is a setting of finetune; extract has none like it.",
        ),
        (["extract", "--image-size", "64"], "'--image-size'. Use: --set images.size=64"),
        (["extract", "--model", "resnet50"], "'--model'. Did you mean --backbone?"),
        (["finetune", "--epoch", "3"], "'--epoch'. Did you mean --epochs?"),
        (["finetune", "--patience", "3"], "'--patience'. Use: --set early_stopping.patience=3"),
        (["finetune", "--patience=3"], "'--patience'. Use: --set early_stopping.patience=3"),
        (["finetune", "--patience", "long"], "'--patience'. Use: --set early_stopping.patience=VALUE"),
        (["finetune", "--patience"], "'--patience'. Use: --set early_stopping.patience=VALUE"),
        (["finetune", "--optimizer", "adam"], "'--optimizer'. Use: --set stage.1.optimizer=adam"),
        (["finetune", "--size", "160"], "'--size'. Use: --set images.size=160"),
        (["finetune", "--workers", "3"], "'--workers'. Images are decoded on all CPU cores. Leave this setting out."),
        (["finetune", "--zzzz"], "'--zzzz'."),
        (["predict", "--epochs", "3"], "'--epochs'."),
        (["predict", "--conf", "0.5"], "'--conf'. Did you mean --threshold?"),
        (["predict", "--min-confidence", "0.5"], "'--min-confidence'. Did you mean --threshold?"),
        (["export", "--int8"], "'--int8'. Did you mean --format litert-int8?"),
        (
            ["predict", "--device", "cpu"],
            f"'--device'. {DEVICE} without it all GPUs are used, or the CPU if there is none.",
        ),
    ],
)
def test_option_of_another_program_is_answered(
    words: list[str], message: str, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colours.parent)
    result = call(words[0], "photos.csv", *words[1:])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Error: No such option {message}"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("finetune photos epochs=3", "(epochs=3). Did you mean --epochs 3?"),
        ("finetune photos epochs=3 imgsz=160", "(epochs=3 imgsz=160). Did you mean --epochs 3 --set images.size=160?"),
        ("finetune photos --lr 0.1 epochs=3", "(epochs=3). Did you mean --epochs 3?"),
        ("finetune data=photos epochs=3", "(epochs=3). Did you mean: transfer-cli finetune photos --epochs 3"),
        ("finetune photos plan=true epochs=3", "(plan=true epochs=3). Did you mean --plan --epochs 3?"),
        ("finetune photos device=cpu", f"(device=cpu). device: {DEVICE}"),
        ("extract photos epochs=3", "(epochs=3). epochs: extract trains no network; finetune does:"),
        ("export R format=onnx", "(format=onnx). Did you mean --format onnx?"),
        ("export model=R format=onnx", "(format=onnx). Did you mean: transfer-cli export R --format onnx"),
        ("finetune photos zzzz=3", "(zzzz=3)"),
        ("finetune photos more", "(more)"),
    ],
)
def test_argument_of_another_program_is_answered(words: str, answer: str) -> None:
    result = call(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].partition(" (")[2].startswith(answer[1:])


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("predict model=runs/x source=new", "predict runs/x new"),
        ("predict model=runs/x source=new --top-k 2", "predict runs/x new --top-k 2"),
        ("classify source=new model=runs/x", "predict runs/x new"),
        ("evaluate model=runs/x data=new", "evaluate runs/x new"),
        ("finetune data=photos", "finetune photos"),
    ],
)
def test_arguments_with_names_are_answered_with_the_command(words: str, command: str) -> None:
    result = call(*words.split())
    assert result.exit_code in (3, 4)
    assert result.stderr.splitlines()[-1] == f"Did you mean: transfer-cli {command}"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("runs delete x", "runs rm x"),
        ("runs remove x --yes", "runs rm x --yes"),
        ("cache delete", "cache clear"),
        ("weights download resnet50", "weights fetch resnet50"),
    ],
)
def test_sub_command_of_another_program_is_answered(words: str, command: str) -> None:
    result = call(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].endswith(f". Did you mean: transfer-cli {command}")


@pytest.mark.parametrize(
    ("words", "command"),
    [("list backbones", "backbones list"), ("ls recipes", "recipes list"), ("list networks", "backbones list")],
)
def test_list_of_a_kind_is_its_list(words: str, command: str) -> None:
    result = call(*words.split())
    assert (result.exit_code, result.stdout) == (0, call(*command.split()).stdout)


def test_list_of_a_folder_lists_its_runs(tmp_path: Path) -> None:
    assert f"there are no runs in {tmp_path}" in call("list", tmp_path).stderr
