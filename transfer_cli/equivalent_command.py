"""The command that does the same as a function call: it is kept in the run, and advice is built from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.text import format_duration

_FLAGS_TO_DENY = ("tune",)
"""Options with a form ``--no-...``."""


def equivalent_command(
    method: str, arguments: Sequence[StrPath | ImageFolder], keywords: Mapping[str, Any]
) -> list[str]:
    """Return the words of the command `method` with the options that are the keyword arguments of a call."""
    paths = (each.source if isinstance(each, ImageFolder) else each for each in arguments)
    words = ["transfer-cli", method, *(as_text(path, "each path") for path in paths)]
    for name, value in keywords.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "set":
            words += [word for pair in _pairs(value) for word in (flag, pair)]
        elif isinstance(value, bool):
            words += [flag] if value else [f"--no-{name}"] if name in _FLAGS_TO_DENY else []
        elif name == "time_budget" and isinstance(value, int | float):
            words += [flag, format_duration(value)]
        elif value is not None:
            words += [flag, ",".join(value) if isinstance(value, list | tuple) else str(value)]
    return words


def _pairs(settings: Mapping[str, object] | Sequence[str] | str | None) -> Sequence[str]:
    """Return settings of a recipe as KEY=VALUE, where a value is TOML."""
    if isinstance(settings, Mapping):
        return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()]
    return [settings] if isinstance(settings, str) else settings or ()
