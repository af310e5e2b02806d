"""Options, and arguments such as ``epochs=3``, as other programs have them: what to type for them here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from transfer_cli.cli._aliases import words_after
from transfer_cli.text import shell_command

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
_OF_FINETUNE = ("--epochs", "--lr", "--precision")
"""Options that finetune has and extract does not, because it trains no network."""
_THRESHOLD = (
    "conf confidence min_confidence min_conf confidence_threshold conf_thres conf_threshold score_threshold cutoff"
)
_OWN = {
    "predict": {
        "--threshold": _THRESHOLD,
        "--top-k": "k top topk n top_n",
        "--batch-size": "batch bs",
        "--only": "classes",
        "--tta": "augment",
        "--output": "out out_file output_file save_to save csv",
    },
    "export": {
        "--format litert-int8": "int8 quantize quantise quantized quantised quantization",
        "--format onnx": "onnx",
        "--format openvino": "openvino",
        "--format litert": "tflite litert",
        "--output": "out output_dir save_dir",
    },
    "evaluate": {"--part": "split subset", "--tta": "augment", "--output": "out output_dir save_dir"},
}
"""Options of commands without a recipe: what is typed here, and what it is called elsewhere."""
_ARGUMENT = {
    "model": "model run weights checkpoint bundle",
    "run": "run model weights checkpoint",
    "folder": "data dataset data_dir folder dir directory path root train_dir source",
    "paths": "source data images image input path paths file files folder img",
    "images": "source data images image input path paths file files folder img",
}
"""Arguments of commands, and what they are called in ``key=value``."""
_FALSE = ("false", "no", "off", "0", "none")
_VALUE = "VALUE"


def option_words(command: click.Command, key: str, value: str | None) -> list[str] | None:
    """Return the words to type for an option or a setting of another program; None if it is unknown.

    Parameters
    ----------
    command : Command
        The command that it is typed for.
    key : str
        Its name, such as ``imgsz``.
    value : str or None
        Its value, if one was typed.
    """
    options = _options(command)
    own = _own_option(str(command.name), key) or _option_of_setting(key)
    name, *rest = (f"--{_folded(key)}" if f"--{_folded(key)}" in options else own or "").split() or [""]
    if name in options:
        return [name, *(rest or _value_of(options[name], value))] if _is_wanted(options[name], value) else []
    setting = _setting(command, key, value) if "--set" in options else None
    return ["--set", setting] if setting else None


def answer_to_option(error: click.NoSuchOption, words: Sequence[str]) -> str | None:
    """Return what to type for an unknown option, or why there is none; None if it is unknown to other programs, too.

    Parameters
    ----------
    error : NoSuchOption
    words : sequence of str
        The command line.
    """
    command = error.ctx.command if error.ctx else None
    if command is None:
        return None
    key = error.option_name.lstrip("-")
    value = _typed_value(error.option_name, words)
    name, *rest = option_words(command, key, value) or [""]
    if name == "--set":
        return f"Use: --set {' '.join(rest)}"
    if name:
        return f"Did you mean {shell_command(name, *_fixed(command, key, rest))}?"
    return _reason(command, key, value, words_after(command, words))


def answer_to_arguments(command: click.Command, words: Sequence[str]) -> str | None:
    """Return what to type in place of arguments such as ``epochs=3``; None if there is none, or one is unknown.

    Parameters
    ----------
    command : Command
    words : sequence of str
        What was typed after its name.
    """
    arguments = {parameter.name: list[str]() for parameter in command.params if isinstance(parameter, click.Argument)}
    kept, translated = list[str](), list[str]()
    named = False
    for word, is_value in _with_place(command, words):
        key, equals, value = word.partition("=")
        if is_value or word.startswith("-"):
            kept.append(word)
        elif not equals or not key.isidentifier() or Path(word).exists():
            _place(arguments, word)
        elif argument := _argument(command, key):
            arguments[argument].append(value)
            named = True
        elif (typed := option_words(command, key, value)) is not None:
            translated += typed
        elif reason := _reason(command, key, value, words):
            return f"{key}: {reason}"
        else:
            return None
    if named:
        given = [word for values in arguments.values() for word in values]
        return f"Did you mean: {shell_command('transfer-cli', str(command.name), *given, *kept, *translated)}"
    return f"Did you mean {shell_command(*translated)}?" if translated else None


def settings_after(command: click.Command, words: Sequence[str]) -> str:
    """Return the options of `command` that ``epochs=3`` and other words mean; empty if none is known."""
    typed: list[str] = []
    for index, word in enumerate(words):
        key, equals, value = word.lstrip("-").partition("=")
        if word.startswith("--") and not equals:
            value = _typed_value(word, words[index:]) or ""
        if value and not _argument(command, key) and not Path(word).exists():
            typed += option_words(command, key, value) or []
    return shell_command(*typed) if typed else ""


def _folded(key: str) -> str:
    return key.casefold().replace("_", "-")


def _options(command: click.Command) -> Mapping[str, click.Option]:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {name: option for option in options for name in option.opts}


def _own_option(command: str, key: str) -> str | None:
    rows = _OWN.get(command, {})
    return next((option for option, words in rows.items() if _folded(key).replace("-", "_") in words.split()), None)


def _option_of_setting(key: str) -> str | None:
    from transfer_cli.recipe.other_names import name_of

    return _OPTION_OF.get(name_of(key) or "")


def _is_wanted(option: click.Option, value: str | None) -> bool:
    return not (option.is_flag and value is not None and value.casefold() in _FALSE)


def _value_of(option: click.Option, value: str | None) -> list[str]:
    return [] if option.is_flag else [_VALUE if value is None else value]


def _fixed(command: click.Command, key: str, rest: Sequence[str]) -> Sequence[str]:
    """Return the value of an option if the word means this one, such as ``litert-int8`` for ``--int8``."""
    return rest if " " in (_own_option(str(command.name), key) or "") else ()


def _setting(command: click.Command, key: str, value: str | None) -> str | None:
    from transfer_cli.recipe.recipes import METHODS

    return METHODS.get(str(command.name), METHODS["finetune"]).setting_for(key, value)


def _reason(command: click.Command, key: str, value: str | None, words: Sequence[str]) -> str | None:
    """Return why a command has no such option, and what to do instead; None if the option is unknown."""
    from transfer_cli.recipe.other_names import CHOOSE_DEVICE, is_device

    if "--set" not in _options(command):
        return CHOOSE_DEVICE if is_device(key) else None
    option = _option_of_setting(key)
    if command.name == "extract" and option in _OF_FINETUNE:
        typed = shell_command(_folder(words), option, *([value] if value else []))
        return f"extract trains no network; finetune does: transfer-cli finetune {typed}"
    from transfer_cli.recipe.recipes import METHODS

    return METHODS.get(str(command.name), METHODS["finetune"]).vocabulary().reason_for(key)


def _folder(words: Sequence[str]) -> str:
    return next((word for word in words if Path(word).is_dir()), "FOLDER")


def _typed_value(option: str, words: Sequence[str]) -> str | None:
    """Return the value that was typed after an unknown option; None if the next word is an option or a path."""
    for index, word in enumerate(words):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option:
            value = next(iter(words[index + 1 : index + 2]), "-")
            return None if value.startswith("-") or Path(value).exists() else value
    return None


def _with_place(command: click.Command, words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it is the value of the option before it."""
    options, is_value = _options(command), False
    for word in words:
        yield word, is_value
        option = None if is_value else options.get(word)
        is_value = option is not None and not option.is_flag


def _argument(command: click.Command, key: str) -> str | None:
    """Return the argument of a command that `key` means; an option of the command has precedence."""
    names = [str(parameter.name) for parameter in command.params if isinstance(parameter, click.Argument)]
    if f"--{_folded(key)}" in _options(command):
        return None
    return next((name for name in names if key.casefold() in _ARGUMENT.get(name, "").split()), None)


def _place(arguments: Mapping[str, list[str]], word: str) -> None:
    """Add a word to the first argument that has none, else to the last one."""
    free = [values for values in arguments.values() if not values] or [*arguments.values()]
    if free:
        (free[0] if not free[0] else free[-1]).append(word)
