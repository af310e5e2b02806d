"""Messages for Python users: the options of the command line that a text names, written as keyword arguments."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from transfer_cli.errors import TransferError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

FLAGS = ("download", "offline", "overwrite", "perturb", "plan", "progress", "strict", "tensorboard", "tune", "unknown")
"""Keywords of the public functions that are True or False."""

KEYWORDS = (
    *("among", "backbone", "bags", "batch_size", "bit_depth", "cache_limit", "class_level", "class_map"),
    *("classes", "classifier", "coverage", "epochs", "exclude", "format", "group_by", "images"),
    *("label_column", "layer", "lr", "max_drop", "max_models", "max_ms", "method", "min_accuracy", "omit"),
    *("only", "output", "part", "path_column", "pooling", "precision", "preprocess", "recipe", "repeats"),
    *("runtime", "seed", "set", "sheet", "split", "threshold", "time_budget", "tta", "unlabelled", "weights"),
    *("write_boxes",),
)
"""The other keywords."""

_PROSE = (
    *("again", "also", "and", "are", "as", "at", "by", "can", "cannot", "does", "for", "from", "has", "have"),
    *("if", "in", "is", "must", "needs", "of", "on", "only", "or", "takes", "that", "the", "then", "to", "was"),
    *("which", "with"),
)
"""Words after an option that are not its value: "--bags is 3 there"."""

_COMMAND = r"transfer-cli (?:'[^'\n]*'|(?!\. )[^\n;)`'])*"
_WORD = r"'[^'\n]*'|\"[^\"\n]*\"|(?:[^\s()'\"`]|'[^'\n]*')+"
_OPTION = rf"(?:--[a-z][a-z-]*|-o\b)(?:[ =](?!-)(?:{_WORD}))?"
_TEXT = re.compile(rf"{_COMMAND}|(?<![\w-]){_OPTION}(?: {_OPTION})*")
_PARTS = re.compile(rf"(--[a-z][a-z-]*|-o)\b(?:[ =](?!-)({_WORD}))?")


def in_python(text: str) -> str:
    """Return a message with keyword arguments in place of options; commands for a terminal are left as they are.

    Examples
    --------
    >>> in_python("Choose another place with -o RUN, or add --overwrite to replace it.")
    'Choose another place with output=RUN, or add overwrite=True to replace it.'
    >>> in_python("--set stage.1.epochs is 2 there and 3 here. Use --set stage.1.epochs=2 --seed 3.")
    'set={"stage.1.epochs": ...} is 2 there and 3 here. Use set={"stage.1.epochs": 2}, seed=3.'
    >>> in_python("Train it: transfer-cli finetune FOLDER --epochs 3")
    'Train it: transfer-cli finetune FOLDER --epochs 3'
    """
    if "-" not in text:
        return text
    return _TEXT.sub(lambda match: match[0] if match[0].startswith("transfer-cli") else _keywords_of(match[0]), text)


def speaks_python(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Return a function whose errors name keyword arguments, not options; also those of the iterator it returns."""

    @functools.wraps(function)
    def speaking(*arguments: _Parameters.args, **keywords: _Parameters.kwargs) -> _Result:
        with python_errors():
            result = function(*arguments, **keywords)
        return _checked(result) if inspect.isgenerator(result) else result  # type: ignore[return-value]

    return speaking


@contextmanager
def python_errors() -> Iterator[None]:
    """Let the errors that leave the block name keyword arguments, not options."""
    try:
        yield
    except TransferError as error:
        error.args = tuple(map(_translated, error.args))
        for name, value in vars(error).items():
            setattr(error, name, _translated(value))
        raise


def _checked(items: Iterator[Any]) -> Iterator[Any]:
    with python_errors():
        yield from items


def _translated(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_translated, value))
    return in_python(value) if isinstance(value, str) else value


def _keywords_of(options: str) -> str:
    """Return options that follow each other as keyword arguments, such as ``backbone="own.keras", seed=3``."""
    written: list[str] = []
    settings: list[str] = []
    for match in _PARTS.finditer(options):
        name, word = _name_of(match[1]), match[2] or ""
        value, after = _split(name, word)
        if name == "set" and value:
            settings.append(_setting(value))
            written = [each for each in written if not each.startswith("set={")]
            written.append(f"set={{{', '.join(settings)}}}")
        else:
            written.append(_keyword(name, value) if name else match[0])
        if name and after:
            # What follows is prose, and other options in it are no part of this list.
            return ", ".join(written) + after + in_python(options[match.end() :])
    return ", ".join(written)


def _name_of(option: str) -> str:
    """Return the keyword of an option, or its negation such as ``no_tune``; empty if no function has it."""
    name = "output" if option == "-o" else option.removeprefix("--").replace("-", "_")
    return name if name.removeprefix("no_") in (*FLAGS, *KEYWORDS) else ""


def _keyword(name: str, value: str) -> str:
    positive = name.removeprefix("no_")
    return f"{positive}={name == positive}" if positive in FLAGS else f"{name}={_literal(value)}"


def _split(name: str, word: str) -> tuple[str, str]:
    """Return the value of an option, and what follows it: punctuation, or the word if it is prose."""
    if word and (name.removeprefix("no_") in FLAGS or word.rstrip(".,;:") in _PROSE):
        return "", f" {word}"
    value = word if word.endswith("...") else word.rstrip(".,;:")
    return value, word[len(value) :]


def _setting(text: str) -> str:
    key, _, value = text.strip("'\"").partition("=")
    return f'"{key}": {_literal(value) or "..."}'


def _literal(value: str) -> str:
    """Return a value of the command line as Python writes it; placeholders such as RUN as they are."""
    if not value or value == "..." or re.fullmatch(r"[A-Z]+|-?\d+(\.\d*)?(e-?\d+)?", value):
        return value
    if value in ("true", "false"):
        return value.capitalize()
    text = value.strip("'\"")
    return f'r"{text}"' if "\\" in text else f'"{text}"'
