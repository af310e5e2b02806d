"""Words that people type for a command, from other programs: some run the command, some are answered with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from transfer_cli.text import shell_command

_RUN = {
    "predict": "classify infer inference pred predict-proba recognise recognize",
    "evaluate": "val valid validate validation test eval score",
    "finetune": "fine-tune finetuning fine-tuning",
    "lr-find": "lrfind lr-finder find-lr",
    "compare": "leaderboard",
    "explain": "grad-cam gradcam saliency heatmap interpret",
    "inspect": "summary layers",
    "similar": "neighbours neighbors",
    "map": "tsne t-sne",
    "export": "convert",
    "demo": "quickstart",
    "runs list": "list ls",
    "backbones list": "list-models networks architectures",
    "data split": "split",
    "--version": "version",
}
_DESCRIBED = {
    "train fit learn training": "Two commands train a classifier:\n"
    "  transfer-cli extract {folder}    fast, start here: a classifier on a fixed pretrained network\n"
    "  transfer-cli finetune {folder}   trains the network itself: slower, usually more accurate",
    "tune hpo": "To train the network itself: transfer-cli finetune {folder}\n"
    "To tune the classifier on a fixed network: transfer-cli extract {folder} --tune",
    "embed features transform": "To write the features of a pretrained network:\n"
    "  transfer-cli extract {folder} --classifier none",
    "models model": "Pretrained networks: transfer-cli backbones list\nYour trained models: transfer-cli runs list",
    "info show describe": "A trained model: transfer-cli bundle show RUN\nIts layers: transfer-cli inspect RUN\n"
    "A pretrained network: transfer-cli backbones show NAME\nA recipe: transfer-cli recipes show NAME",
    "check verify": "Images: transfer-cli data check {folder}\nA trained model: transfer-cli bundle verify RUN\n"
    "A recipe: transfer-cli recipes check FILE\nPretrained weights: transfer-cli weights verify",
    "augment augmentation": "Augmentation is a section of the recipe: transfer-cli recipes list\n"
    "To see its images: transfer-cli preview {folder}",
    "settings config cfg": "Training settings are recipes: transfer-cli recipes list",
    "download fetch": "Pretrained weights: transfer-cli weights fetch NAME",
    "confusion confusion-matrix top-losses plot results": "The confusions, mistakes and curves of a run are in its "
    "report:\n  transfer-cli report RUN --open",
    "resume continue": "Run the same command again: it continues after the last finished step.",
    "rm remove delete": "Runs: transfer-cli runs rm RUN\nThe cache: transfer-cli cache clear",
    "detect track segment pose obb": "transfer-cli tells which class a whole image shows; it does not find objects in "
    "an image.\nTo classify images: transfer-cli predict RUN IMAGES",
    "serve deploy": "To use a model in other programs: transfer-cli export RUN",
}
ALIASES: Mapping[str, tuple[str, ...]] = {
    word: tuple(target.split()) for target, words in _RUN.items() for word in words.split()
}
"""What a word runs: a command, a sub-command, or an option of the group."""
ANSWERS: Mapping[str, str] = {word: answer for words, answer in _DESCRIBED.items() for word in words.split()}
"""What to type for a word that may mean several commands."""
_OPTION_OF = {
    "batch_size": "--batch-size",
    "seed": "--seed",
    "split.group_by": "--group-by",
    "stage.last.epochs": "--epochs",
    "stage.last.learning_rate": "--lr",
    "hardware.precision": "--precision",
    "inference.runtime": "--runtime",
    "classifier.name": "--classifier",
    "classifier.tune": "--tune",
    **{f"backbone.{name}": f"--{name}" for name in ("weights", "pooling", "layer")},
    "backbone.name": "--backbone",
}
"""Option of a setting, in the commands that have it."""


def fold(word: str) -> str:
    """Return the word as commands are written: in small letters, with hyphens."""
    return word.casefold().replace("_", "-")


def answer_to(word: str, arguments: Sequence[str]) -> str | None:
    """Return which commands to type for a word of `ANSWERS`; None for any other.

    Parameters
    ----------
    word : str
        What was typed for the command, folded.
    arguments : sequence of str
        What was typed after it; the first that exists is used in the answer, as FOLDER.
    """
    answer = ANSWERS.get(word)
    if answer is None:
        return None
    paths = (argument.removeprefix("data=").removeprefix("--data=") for argument in arguments)
    folder = next((path for path in paths if Path(path).exists()), None)
    return answer.format(folder="FOLDER" if folder is None else shell_command(folder))


def answer_to_option(error: click.NoSuchOption) -> str | None:
    """Return how to set what an unknown option of a training command means in other programs, or None."""
    command = error.ctx.command if error.ctx else None
    options = [option for parameter in command.params for option in parameter.opts] if command else []
    if command is None or "--set" not in options:
        return None
    from transfer_cli.recipe.other_names import name_of
    from transfer_cli.recipe.recipes import METHODS

    word = error.option_name.lstrip("-")
    option = _OPTION_OF.get(name_of(word) or "")
    if option in options:
        return f"Did you mean {option}?"
    return METHODS.get(str(command.name), METHODS["finetune"]).vocabulary().option_for(word)
