"""The options of a command as they were typed, in command.txt of a run or on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.regular_file import read_regular_text

_FLAGS = ("--download", "--tune", "--no-tune", "--strict", "--overwrite", "--tensorboard", "--json", "--quiet")
_WITHOUT_EFFECT = ("--overwrite", "--strict", "--json", "--quiet", "--offline")
"""Flags that do not change what a run holds."""


@dataclass(frozen=True)
class TypedOptions:
    """The words of a command; none if it was not typed, but called from Python.

    Examples
    --------
    >>> typed = TypedOptions(("transfer-cli", "extract", "photos", "--seed=3", "--set", "batch_size=8", "--download"))
    >>> typed.value("--seed"), typed.value("--backbone"), typed.value("--download"), typed.has("--set", "batch_size")
    ('3', None, None, True)
    """

    words: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path) -> TypedOptions:
        """Return the command in a command.txt; no words if there is none that can be read."""
        try:
            return cls(tuple(shlex.split(read_regular_text(path))))
        except (OSError, ValueError):
            return cls()

    def has(self, option: str, setting: str = "") -> bool:
        """Return whether an option was typed, of ``--set`` whether it was typed for this setting."""
        values = self._values(option)
        return any(value.startswith(f"{setting}=") for value in values) if setting else bool(values)

    def value(self, option: str) -> str | None:
        """Return the value of an option as it was typed, the last one counts; None for a flag, or if there is none."""
        values = self._values(option)
        return values[-1] if values and option not in _FLAGS else None

    def is_same(self, other: TypedOptions) -> bool:
        """Return whether two commands are the same but for options that do not change what a run holds."""
        return self._without_effect() == other._without_effect() != []

    def _values(self, option: str) -> list[str]:
        following = [*self.words[1:], ""]
        return [
            after if word == option else word.removeprefix(f"{option}=")
            for word, after in zip(self.words, following, strict=False)
            if word == option or word.startswith(f"{option}=")
        ]

    def _without_effect(self) -> list[str]:
        return [word for word in self.words[1:] if word not in _WITHOUT_EFFECT]
