"""The TOML text of a recipe: line numbers of settings, overrides, error messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from transfer_cli.errors import RecipeError, did_you_mean
from transfer_cli.io.untrusted.toml_text import parse_toml, read_toml
from transfer_cli.recipe.unknown_settings import Vocabulary
from transfer_cli.text import counted

_MAX_SECTIONS = 10
"""Depth of a setting; a recipe has two levels, or three with a list."""


class Places:
    """Locations of the settings of a recipe.

    Parameters
    ----------
    path : Path or None
        The TOML file.
    text : str
        Its text.
    overridden : collection of str
        Settings given on the command line; list items count from 1, as in ``stage.1.epochs``.
    """

    def __init__(self, path: Path | None, text: str, overridden: Collection[str]) -> None:
        self._path = path
        self._lines = _lines_of_settings(text)
        self._overridden = overridden

    def line(self, word: str) -> int:
        """Return the line of a setting, else of its section, else 0."""
        steps = word.split(".")
        sections = (".".join(steps[:count]) for count in range(len(steps), 0, -1))
        return next((self._lines[section] for section in sections if section in self._lines), 0)

    def is_in_file(self, word: str) -> bool:
        """Return whether a setting is from the file, not from the command line."""
        is_given = any(f"{each}.".startswith(f"{word}.") for each in self._overridden)
        is_inside = any(f"{word}.".startswith(f"{each}.") for each in self._overridden)
        return self._path is not None and not is_inside and (word in self._lines or not is_given)

    def of(self, word: str) -> str:
        """Return file, line and name of a setting, such as ``mine.toml:3: seed``."""
        if not self.is_in_file(word):
            return word
        line = self.line(word)
        return f"{self._path}:{line}: {word}" if line else f"{self._path}: {word}".removesuffix(": ")


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and the data of a TOML file; raise RecipeError if it cannot be read."""
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        raise RecipeError(f"Cannot read {path} as TOML: {error}.") from None


def head_of(text: str) -> dict[str, str]:
    """Return the parts of the comment at the top of a recipe.

    Returns
    -------
    dict of str to str
        ``summary``, and ``command``, ``cost`` and ``score`` if present.
    """
    head: dict[str, str] = {}
    part = "summary"
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.removeprefix("#").split()
        if words[:1] == ["transfer-cli"]:
            part = "command"
        elif words and words[0] in ("Cost", "Score"):
            part = words.pop(0).lower()
        head[part] = " ".join([head.get(part, ""), *words]).strip()
    return head


def parse_override(override: str) -> tuple[str, Any]:
    """Split ``key=value`` into key and parsed value."""
    word, equals, value = override.partition("=")
    if not equals or not word.strip():
        raise RecipeError(f"Expected --set SECTION.KEY=VALUE, such as --set stage.1.epochs=5. Received: {override!r}.")
    return word.strip(), _value(value.strip())


def override(data: dict[str, Any], word: str, value: Any) -> None:
    """Set a value in the data of a recipe, in place."""
    *sections, last = [step.strip() for step in word.split(".")]
    if len(sections) > _MAX_SECTIONS:
        raise RecipeError(f"{word[:80]}...: expected SECTION.KEY. Received {len(sections):,} dots.")
    inside: Any = data
    name = ""
    for section in sections:
        if isinstance(inside, list):
            total, inside = counted(len(inside), name), {str(n): item for n, item in enumerate(inside, start=1)}
            if section not in inside:
                raise RecipeError(f"{word}: there is no {name} {section}. The recipe has {total}, numbered from 1.")
        inside = inside.setdefault(section, {})
        name = f"{name}.{section}" if name else section
        if not isinstance(inside, dict | list):
            raise RecipeError(f"{word}: {name} is a setting, not a section.")
    if isinstance(inside, list):
        raise RecipeError(f"{word}: expected {name}.N.KEY with N from 1 to {len(inside)}.")
    inside[last] = value


def error_message(error: ValidationError, vocabulary: Vocabulary, places: Places, what: str) -> str:
    """Return all validation errors of `what`, a recipe or settings alone, as one message, each with its location."""
    errors = sorted(error.errors(), key=lambda fault: places.line(_key(fault["loc"])))
    lines = []
    for key, faults in groupby(errors, key=lambda fault: _key(fault["loc"])):
        # A union reports one error per type.
        *others, fault = sorted(faults, key=lambda each: each["type"] == "literal_error")
        also = [_EXPECTED.get(each["type"]) or each["msg"].replace("Input should be", "a number") for each in others]
        in_file = places.is_in_file(key)
        message = _explain(fault, vocabulary, in_file=in_file, also="".join(f" or {each}" for each in also))
        lines.append(f"{places.of(key)}: {message}")
    return f"Invalid {what} ({counted(len(lines), 'error')}):\n" + "\n".join(f"  {line}" for line in lines)


def _key(location: tuple[int | str, ...]) -> str:
    # A step that is not the name of a setting is what pydantic calls a type of a union.
    def is_setting(step: int | str) -> bool:
        return isinstance(step, int) or (step.isidentifier() and step not in ("int", "float"))

    steps = takewhile(is_setting, location)
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in steps)


def _lines_of_settings(text: str) -> dict[str, int]:
    section = ""
    lines: dict[str, int] = {}
    count: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split("#", 1)[0].strip()
        if bare.startswith("["):
            name = bare.strip("[] ")
            if bare.startswith("[["):
                lines.setdefault(name, number)
                count[name] += 1
                name += f".{count[name]}"
            lines[name] = number
            section = f"{name}."
        elif "=" in bare:
            lines[section + bare.split("=", 1)[0].strip()] = number
    return lines


def _value(text: str) -> Any:
    try:
        data = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return data["value"] if len(data) == 1 else text


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "model_type": "a section",
    "dict_type": "a section",
    "tuple_type": "a list",
}


def _explain(fault: ErrorDetails, vocabulary: Vocabulary, *, in_file: bool, also: str = "") -> str:
    received = fault["input"]
    if fault["type"] == "extra_forbidden":
        return vocabulary.explain(fault["loc"], received, in_file=in_file)
    expected = _EXPECTED.get(fault["type"])
    if fault["loc"] == ("stage",) and fault["type"] in ("missing", "tuple_type"):
        expected = "at least one [[stage]]"
    if fault["type"] == "missing":
        return f"expected {expected}." if expected else "this setting is required."
    if expected:
        if expected == "a section" and not isinstance(received, dict | list):
            first = vocabulary.first_setting(fault["loc"])
            return f"expected a section. Received: {received!r}." + (f" Did you mean {first}?" if first else "")
        name = ".".join(map(str, fault["loc"]))
        is_table = name in ("stage", "network.block") and isinstance(received, dict)
        brackets = f" Write [[{name}]] with two brackets." if is_table else ""
        return f"expected {expected}. Received: {received!r}.{brackets}"
    if fault["loc"] == ("method",) and received not in ("extract", "finetune"):
        return f"expected extract or finetune. Received: {received!r}."
    if fault["type"] == "literal_error":
        expected = fault["ctx"]["expected"]
        words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
        return f"expected {', '.join(words)}{also}. Received: {received!r}.{did_you_mean(str(received), words)}"
    message = fault["msg"].removeprefix("Value error, ")
    return message if fault["type"] == "value_error" else f"{message}. Received: {received!r}."
