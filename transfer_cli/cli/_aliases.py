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
    "learning-curve": "learning-curves",
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
    "info show describe": "A run: transfer-cli runs show RUN\nIts model: transfer-cli bundle show RUN\n"
    "The layers of the model: transfer-cli inspect RUN\n"
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
    "rm remove delete del": "Runs: transfer-cli runs rm RUN\nThe cache: transfer-cli cache clear",
    "detect track segment pose obb": "transfer-cli tells which class a whole image shows; it does not find objects in "
    "an image.\nTo classify images: transfer-cli predict RUN IMAGES",
    "serve deploy": "To use a model in other programs: transfer-cli export RUN",
}
_BELOW = {
    "rm": "remove delete del",
    "clear": "remove delete del rm empty purge prune",
    "list": "ls",
    "show": "info describe view cat details print",
    "fetch": "download get pull install",
    "check": "validate verify",
    "verify": "check validate",
    "copy": "cp",
    "split": "divide",
}
"""Sub-commands, and what they are called elsewhere."""
_LISTED = ("runs", "recipes", "backbones", "weights", "cache")
ALIASES: Mapping[str, tuple[str, ...]] = {
    word: tuple(target.split()) for target, words in _RUN.items() for word in words.split()
}
"""What a word runs: a command, a sub-command, or an option of the group."""
ANSWERS: Mapping[str, str] = {word: answer for words, answer in _DESCRIBED.items() for word in words.split()}
"""What to type for a word that may mean several commands."""


def fold(word: str) -> str:
    """Return the word as commands are written: in small letters, with hyphens."""
    return word.casefold().replace("_", "-")


def answer_to(word: str, arguments: Sequence[str], settings: str = "") -> str | None:
    """Return which commands to type for a word of `ANSWERS`; None for any other.

    Parameters
    ----------
    word : str
        What was typed for the command, folded.
    arguments : sequence of str
        What was typed after it; the first that exists is used in the answer, as FOLDER.
    settings : str
        Options of finetune that were typed after it, such as ``--epochs 3``.
    """
    answer = ANSWERS.get(word)
    if answer is None:
        return None
    if settings:
        answer = _with_settings(answer, settings)
    paths = (argument.removeprefix("data=").removeprefix("--data=") for argument in arguments)
    folder = next((path for path in paths if Path(path).exists()), None)
    return answer.format(folder="FOLDER" if folder is None else shell_command(folder))


def answer_to_sub_command(error: click.UsageError, words: Sequence[str]) -> str | None:
    """Return the command to type for a sub-command that another program has, such as ``runs delete``; else None."""
    group = error.ctx.command if error.ctx else None
    if not isinstance(group, click.Group) or not error.message.startswith("No such command"):
        return None
    _, *rest = words_after(group, words) or [""]
    typed = fold(next(iter(words_after(group, words)), ""))
    name = next((name for name, others in _BELOW.items() if name in group.commands and typed in others.split()), None)
    return f"Did you mean: {shell_command('transfer-cli', str(group.name), name, *rest)}" if name else None


def words_after(command: click.Command, words: Sequence[str]) -> Sequence[str]:
    """Return what was typed after the name of a command, or after an alias of it."""
    for index, word in enumerate(words):
        if str(command.name) in (fold(word), ALIASES.get(fold(word), ("",))[-1]):
            return words[index + 1 :]
    return ()


def listed_group(words: Sequence[str]) -> Sequence[str]:
    """Return the words of ``list backbones`` as ``backbones list``; other words as they are."""
    if len(words) < 2 or fold(words[0]) not in ("list", "ls"):
        return words
    second = fold(words[1])
    if second in _LISTED:
        return [second, "list", *words[2:]]
    return words[1:] if second in ANSWERS or ALIASES.get(second, ("",))[-1] == "list" else words


def _with_settings(answer: str, settings: str) -> str:
    """Return the answer with options of finetune."""
    settings = settings.replace("{", "{{").replace("}", "}}")
    answer = answer.replace("extract {folder} ", f"extract {{folder}} {' ' * (len(settings) + 1)}")
    return answer.replace("finetune {folder} ", f"finetune {{folder}} {settings} ")
