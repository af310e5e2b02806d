"""The text of a recipe: where each word stands in it, what an override means, how a fault is said."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from transfer_cli.errors import RecipeError, nearest


class Places:
    """Where a word of the recipe was written.

    Parameters
    ----------
    path : Path or None
        The file.
    text : str
        What is in it.
    overridden : collection of str
        Words that were given on the command line; items of lists are counted from 1, as in ``stage.1.epochs``.
    """

    def __init__(self, path: Path | None, text: str, overridden: Collection[str]) -> None:
        self._path = path
        self._lines = _lines_of_words(text)
        self._overridden = overridden

    def line(self, word: str) -> int:
        """Return the line of a word, of its section where it has none, or 0."""
        steps = word.split(".")
        sections = (".".join(steps[:count]) for count in range(len(steps), 0, -1))
        return next((self._lines[section] for section in sections if section in self._lines), 0)

    def of(self, word: str) -> str:
        """Return the file, the line and the name of a word."""
        if word in self._overridden or self._path is None:
            return word
        line = self.line(word)
        return f"{self._path}:{line}: {word}" if line else f"{self._path}: {word}".removesuffix(": ")


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a TOML file and what it says; raise RecipeError when it cannot be read."""
    try:
        text = path.read_text("utf-8-sig")
        return text, tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not a TOML file that can be read: {error}.") from None


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what each word of a section means: the string below it in the source.

    Pydantic would read these at every start of the program (``use_attribute_docstrings``), which takes longer than all
    else that it does with a section.
    """
    # For documentation alone: a start of the program does not wait for these.
    import ast
    import inspect
    import textwrap

    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if parent is BaseModel or not issubclass(parent, BaseModel):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        assert isinstance(definition, ast.ClassDef)
        for word, below in zip(definition.body, [*definition.body[1:], None], strict=True):
            if isinstance(word, ast.AnnAssign) and isinstance(word.target, ast.Name):
                own = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
                found[word.target.id] = inspect.cleandoc(str(own or ""))
    return found


def head_of(text: str) -> dict[str, str]:
    """Return what the comment at the beginning of a recipe says.

    Returns
    -------
    dict of str to str
        ``summary``, and where the comment has them ``command``, ``cost`` and ``score``.
    """
    said: dict[str, str] = {}
    part = "summary"
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.removeprefix("#").split()
        if words[:1] == ["transfer-cli"]:
            part = "command"
        elif words and words[0] in ("Cost", "Score"):
            part = words.pop(0).lower()
        said[part] = " ".join([said.get(part, ""), *words]).strip()
    return said


def parse_override(override: str) -> tuple[str, Any]:
    """Return the word and the value of ``word=value``."""
    word, equals, value = override.partition("=")
    if not equals or not word.strip():
        raise RecipeError(f"Expected --set SECTION.WORD=VALUE. Received: {override!r}.")
    return word.strip(), _value(value.strip())


def override(data: dict[str, Any], word: str, value: Any) -> None:
    """Set a word in what a file says, in place."""
    *sections, last = [step.strip() for step in word.split(".")]
    inside: Any = data
    said = []
    for section in sections:
        said.append(section)
        if isinstance(inside, list):
            inside = _item(inside, section, ".".join(said[:-1]), word)
        else:
            inside = inside.setdefault(section, {})
        if not isinstance(inside, dict | list):
            raise RecipeError(f"{word}: {'.'.join(said)} is a value, not a section of words.")
    if isinstance(inside, list):
        raise RecipeError(f"{word}: expected {'.'.join(said)}.N.WORD with N from 1 to {len(inside)}.")
    inside[last] = value


def _item(items: list[Any], step: str, name: str, word: str) -> Any:
    numbers = {str(number): item for number, item in enumerate(items, start=1)}
    if step in numbers:
        return numbers[step]
    many = f"{len(items)} of them" if len(items) > 1 else "one"
    raise RecipeError(f"{word}: there is no {name} {step}. The recipe has {many}, counted from 1.")


def faults(error: ValidationError, model: type[BaseModel], places: Places) -> str:
    """Return every fault of a recipe, each with its place, as one message."""
    found = sorted(error.errors(), key=lambda fault: places.line(_word(fault["loc"])))
    # A union says the same of each of its kinds.
    said = list(dict.fromkeys(f"{places.of(_word(fault['loc']))}: {_explain(fault, model)}" for fault in found))
    count = "a fault" if len(said) == 1 else f"{len(said)} faults"
    return f"The recipe has {count}:\n" + "\n".join(f"  {fault}" for fault in said)


def _word(location: tuple[int | str, ...]) -> str:
    steps = []
    for step in location:
        if isinstance(step, int):
            steps.append(str(step + 1))
        elif not step.isidentifier():
            break  # the name pydantic gives to one kind of a union
        elif step in ("int", "float"):
            break
        else:
            steps.append(step)
    return ".".join(steps)


def _lines_of_words(text: str) -> dict[str, int]:
    section = ""
    lines: dict[str, int] = {}
    count: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split("#", 1)[0].strip()
        if bare.startswith("[["):
            name = bare.strip("[] ")
            count[name] = count.get(name, 0) + 1
            lines.setdefault(name, number)
            section = f"{name}.{count[name]}."
            lines[section[:-1]] = number
        elif bare.startswith("["):
            section = bare.strip("[] ") + "."
            lines[section[:-1]] = number
        elif "=" in bare:
            lines[section + bare.split("=", 1)[0].strip()] = number
    return lines


def _value(text: str) -> Any:
    try:
        data = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return data["value"] if len(data) == 1 else text


def _words_of(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the words of the section at `location`."""
    for step in location:
        model = model.model_fields[step].annotation if isinstance(step, str) else get_args(model)[0]
    return list(model.model_fields)


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "model_type": "a section of words",
    "dict_type": "a section of words",
}


def _explain(fault: ErrorDetails, model: type[BaseModel]) -> str:
    received = fault["input"]
    if fault["type"] == "extra_forbidden":
        *section, word = fault["loc"]
        words = _words_of(model, tuple(section))
        near = nearest(str(word), words)
        guess = f" Did you mean {near}?" if near else f" Expected one of {', '.join(words)}."
        return f"there is no such word.{guess}"
    expected = _EXPECTED.get(fault["type"])
    if fault["loc"] == ("stage",) and fault["type"] in ("missing", "tuple_type"):
        expected = "one [[stage]] or more"
    if fault["type"] == "missing":
        return f"expected {expected}." if expected else "this word is missing."
    if expected:
        brackets = " Two brackets make one." if fault["loc"] == ("stage",) and isinstance(received, dict) else ""
        return f"expected {expected}. Received: {received!r}.{brackets}"
    if fault["loc"] == ("method",) and received not in ("extract", "finetune"):
        return f"expected extract or finetune. Received: {received!r}."
    if fault["type"] == "literal_error":
        expected = fault["ctx"]["expected"]
        words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
        close = difflib.get_close_matches(str(received), words, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        return f"expected {', '.join(words)}. Received: {received!r}.{guess}"
    message = fault["msg"].removeprefix("Value error, ")
    return message if fault["type"] == "value_error" else f"{message}. Received: {received!r}."
