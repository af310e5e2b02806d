"""Exit codes and environment variables are in docs/environment.md, and the usual ones in the help of the program."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import REPOSITORY
from transfer_cli import errors
from transfer_cli.cli import _error_output, main
from transfer_cli.quiet_imports import _KERAS_SETTINGS

PAGE = (REPOSITORY / "docs/environment.md").read_text("utf-8")
MODULES = sorted((REPOSITORY / "transfer_cli").rglob("*.py"))


def keys_of(source: str) -> Iterator[ast.expr]:
    """Yield what a module asks the environment for: in ``os.environ``, ``os.getenv`` and ``envvar=`` of an option."""
    for node in ast.walk(ast.parse(source)):
        of = node.value if isinstance(node, ast.Subscript) else getattr(getattr(node, "func", None), "value", None)
        if getattr(of, "attr", None) == "environ":
            yield from [node.slice] if isinstance(node, ast.Subscript) else node.args[:1]  # type: ignore[attr-defined]
        elif isinstance(node, ast.Call):
            yield from node.args[:1] if getattr(node.func, "attr", None) == "getenv" else ()
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "envvar")


def variables_of(source: str, module: object = None) -> set[str]:
    """Return the names of these variables; a constant is looked up in the imported module."""
    names = (
        key.value if isinstance(key, ast.Constant) else getattr(module, key.id, None)
        for key in keys_of(source)
        if isinstance(key, ast.Constant | ast.Name)
    )
    return {name for name in names if isinstance(name, str)}


def variables_of_program() -> set[str]:
    found = {*_KERAS_SETTINGS}
    for path in MODULES:
        source = path.read_text("utf-8")
        if "environ" in source or "envvar" in source or "getenv" in source:
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            found |= variables_of(source, importlib.import_module(name))
    return found


def test_variables_are_found_however_they_are_read() -> None:
    source = 'os.environ["A"]; os.environ.get(B); os.getenv("C"); option(envvar="D"); other["E"]; os.environ.pop("F")'
    module = type("Module", (), {"B": "VALUE_OF_B"})
    assert variables_of(source, module) == {"A", "VALUE_OF_B", "C", "D", "F"}


def test_every_variable_is_in_the_document() -> None:
    found = variables_of_program()
    assert {"KERAS_HOME", "TRANSFER_CLI_CACHE", "TRANSFER_CLI_OFFLINE", "TRANSFER_CLI_MAX_IMAGE_MEMORY"} <= found
    assert {name for name in found if f"`{name}`" not in PAGE} == set()


def test_variables_of_this_program_are_in_the_help_and_exist() -> None:
    own = {name for name in variables_of_program() if name.startswith("TRANSFER_CLI_")}
    text = main.main.get_help(click.Context(main.main, info_name="transfer-cli"))
    for page in (text, PAGE):
        assert {*re.findall(r"TRANSFER_CLI_[A-Z_]+", page)} == own


def codes_of_program() -> set[int]:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.TransferError)}
    stopped = {128 + getattr(main.signal, name) for name in main._SIGNALS}
    return codes | stopped | {errors.DONE, errors.DONE_WITH_SKIPPED, _error_output._BROKEN_PIPE}


def test_exit_codes_are_in_the_document() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == codes_of_program() | {2}


@pytest.mark.parametrize("code", ["0 done", "2 usage", "3 input", "4 model", "5 done", "6 a required", "130"])
def test_exit_codes_are_in_the_help(code: str) -> None:
    text = main.main.get_help(click.Context(main.main, info_name="transfer-cli"))
    assert code in " ".join(text.split())


def test_document_is_linked_from_the_readme() -> None:
    text = Path(REPOSITORY / "README.md").read_text("utf-8")
    assert "docs/environment.md" in text
    assert "docs/json.md" in text
