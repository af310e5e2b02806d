"""Packages import lower ranks only, no modules import each other in a circle, and heavy packages are imported late."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import transfer_cli
from tests.conftest import REPOSITORY, run_command

PACKAGE = Path(transfer_cli.__file__).parent
RANKS = (
    ("errors", "progress", "text", "regular_file", "system", "quiet_imports"),
    ("python_wording",),
    ("catalog", "io", "io.untrusted", "arguments", "keywords", "html_table", "progress_bar"),
    ("data", "metrics", "models.weights"),
    ("classifiers", "datasets", "recipe", "rendering"),
    ("calibration", "models", "training.augmentation"),
    ("bundle",),
    ("runs", "inference.formats"),
    ("inference", "export.onnx"),
    ("evaluation", "explain", "features", "export.litert"),
    ("audit", "cluster", "export.openvino", "export.saved_model"),
    ("export", "training.setup"),
    ("ranking", "training.loop"),
    ("training.planning", "learning_curves"),
    ("training",),
    ("ensembling",),
    ("report", "serving", "image_classifier"),
    ("auto", "trained_run"),
    ("labelling", "manage", "equivalent_command", "training_options"),
    ("api",),
    ("cli",),
)
"""A package imports packages of lower ranks and itself, also inside functions and for types."""
RANK_OF = {f"transfer_cli.{name}": rank for rank, names in enumerate(RANKS, start=1) for name in names}
LIGHT = (
    "data.image_batches",
    "inference.load",
    "inference.predict",
    "training.extract",
    "training.finetune",
)
"""Modules that must be importable without any heavy package, whatever they import."""
LINT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
HEAVY = tuple(LINT["flake8-tidy-imports"]["banned-module-level-imports"])
MAY_IMPORT_HEAVY = [
    path.removesuffix(".py").replace("/", ".")
    for path, codes in LINT["per-file-ignores"].items()
    if path.startswith("transfer_cli/") and "TID253" in codes
]
EACH_MODULE = """
import importlib, json, sys

heavy, modules = json.load(sys.stdin)
for module in modules:
    importlib.import_module(module)
    if loaded := sorted(set(heavy) & set(sys.modules)):
        print(json.dumps([module, loaded]))
        break
"""
EACH_HELP = """
import contextlib, io, json, sys
import click
from transfer_cli.cli.main import main

heavy, report = json.load(sys.stdin), []

def show(command, words):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        main([*words, "--help"], standalone_mode=False)
    is_group = isinstance(command, click.Group)
    report.append([words, sorted(set(heavy) & set(sys.modules)), is_group or "Example:" in text.getvalue()])
    if is_group:
        context = click.Context(command)
        for name in command.list_commands(context):
            show(command.get_command(context, name), [*words, name])

show(main, [])
print(json.dumps(report))
"""

Imports = Mapping[str, Collection[str]]


def rank_of(module: str) -> tuple[str, int]:
    """Return the ranked package that a module belongs to, and its rank."""
    name = module
    while name not in RANK_OF:
        if "." not in name:
            return module, len(RANKS) + 1
        name = name.rpartition(".")[0]
    return name, RANK_OF[name]


def violations(imports: Imports) -> list[str]:
    """Return the imports of a package of the same or a higher rank."""
    result = []
    for module, imported in imports.items():
        package, rank = rank_of(module)
        for name in imported:
            other, other_rank = rank_of(name)
            if other != package and other_rank >= rank:
                result.append(f"{module} ({rank}) imports {name} ({other_rank})")
    return sorted(result)


def find_circle(imports: Imports) -> list[str]:
    """Return modules that import each other in a circle; empty if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"}
del MODULES["transfer_cli.__main__"]


def imported_modules(nodes: Iterator[ast.AST]) -> set[str]:
    """Return the modules of this package, and the other packages, that import statements name."""
    result: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            result |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            result |= (below & MODULES.keys()) or {node.module}
    return result


def at_module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements that run when a module is imported, without those for types."""
    stack: list[ast.stmt] = list(tree.body)
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            stack += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            stack += [*node.body, *(each for handler in node.handlers for each in handler.body)]


@cache
def package_imports() -> Imports:
    """Return the modules of this package that each of its modules imports, anywhere in it."""
    return {
        name: {
            each for each in imported_modules(ast.walk(ast.parse(path.read_text("utf-8")))) if "transfer_cli" in each
        }
        for name, path in MODULES.items()
    }


@cache
def imports_when_loaded() -> Imports:
    return {
        name: imported_modules(at_module_level(ast.parse(path.read_text("utf-8")))) for name, path in MODULES.items()
    }


def may_load_heavy() -> set[str]:
    """Return the modules that may import a heavy package, and those that import such a module at module level."""
    result = set(MAY_IMPORT_HEAVY)
    while more := {name for name, imported in imports_when_loaded().items() if result & set(imported)} - result:
        result |= more
    return result


def run_program(program: str, data: object) -> str:
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps(data), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_import_lower_ranks_only() -> None:
    assert violations(package_imports()) == []


def test_modules_import_each_other_in_no_circle() -> None:
    assert find_circle(package_imports()) == []


def test_violations_planted_import_of_a_higher_rank_is_found() -> None:
    planted = {"transfer_cli.data.split": {"transfer_cli.errors", "transfer_cli.training.setup.split"}}
    assert violations(planted) == ["transfer_cli.data.split (4) imports transfer_cli.training.setup.split (12)"]
    assert violations({"transfer_cli.io.cache": {"transfer_cli.io.untrusted.names"}})
    assert violations({"transfer_cli.recipe.recipes": {"transfer_cli"}})


def test_find_circle_planted_circle_is_found() -> None:
    planted = {"one": {"two"}, "two": {"three"}, "three": {"one", "four"}}
    assert set(find_circle(planted)) == {"one", "two", "three"}


def test_imports_inside_functions_and_for_types_count() -> None:
    text = "if TYPE_CHECKING:\n    from transfer_cli.data import split\ndef f():\n    import transfer_cli.io.cache\n"
    tree = ast.parse(text)
    assert imported_modules(ast.walk(tree)) == {"transfer_cli.data.split", "transfer_cli.io.cache"}
    assert imported_modules(at_module_level(tree)) == set()


def test_every_package_belongs_to_a_rank() -> None:
    assert [name for name in MODULES if rank_of(name)[1] > len(RANKS)] == []


def test_init_files_hold_one_docstring_line_only() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            (node,) = ast.parse(path.read_text("utf-8")).body
            assert isinstance(node, ast.Expr), path
            assert isinstance(node.value, ast.Constant), path
            assert len(path.read_text("utf-8").splitlines()) == 1, path


def test_modules_exempt_from_the_lint_import_something_heavy() -> None:
    for name in MAY_IMPORT_HEAVY:
        assert {each.split(".")[0] for each in imports_when_loaded()[name]} & set(HEAVY), name


def test_light_modules_do_not_import_exempt_modules() -> None:
    assert may_load_heavy() & {f"transfer_cli.{name}" for name in LIGHT} == set()


def test_importing_a_module_loads_nothing_heavy() -> None:
    # One process for all: if they load nothing heavy together, each of them loads nothing heavy alone.
    light = sorted(MODULES.keys() - may_load_heavy())
    assert len(light) > len(MODULES) / 2
    assert run_program(EACH_MODULE, [HEAVY, light]) == ""


def test_importing_an_exempt_module_is_reported() -> None:
    """Planted fault for the test above."""
    output = run_program(EACH_MODULE, [HEAVY, ["transfer_cli.errors", "transfer_cli.data.resizing"]])
    assert json.loads(output) == ["transfer_cli.data.resizing", ["cv2"]]


def test_help_of_every_command_imports_nothing_heavy_and_has_an_example() -> None:
    report = json.loads(run_program(EACH_HELP, [*HEAVY, "pyarrow"]))
    commands = [words for words, _, _ in report]
    assert ["bundle", "verify"] in commands
    assert len(commands) > 40
    assert [(words, loaded) for words, loaded, _ in report if loaded] == []
    assert [words for words, _, has_example in report if not has_example] == []


def test_backbones_list_imports_nothing_heavy() -> None:
    program = (
        "import json, sys\n"
        "from transfer_cli.cli.main import main\n"
        "main(['--quiet', 'backbones', 'list'], standalone_mode=False)\n"
        "assert not set(json.load(sys.stdin)) & set(sys.modules)\n"
    )
    assert "mobilenet_v2" in run_program(program, [*HEAVY, "pyarrow"])


def test_public_names_are_importable() -> None:
    assert {"evaluate", "report", "leaks", "similar", "explain_images"} <= set(transfer_cli.__all__)
    assert all(callable(getattr(transfer_cli, name)) for name in transfer_cli.__all__)


@pytest.mark.parametrize("name", ["auto", "export", "report"])
def test_importing_a_subpackage_does_not_hide_the_public_function(name: str) -> None:
    assert isinstance(importlib.import_module(f"transfer_cli.{name}.{name}"), ModuleType)
    assert isinstance(importlib.import_module(f"transfer_cli.{name}"), ModuleType)
    function = getattr(transfer_cli, name)
    assert callable(function)
    assert not isinstance(function, ModuleType)


def test_python_m_runs_the_command() -> None:
    assert run_command("--version").out.startswith("python -m transfer_cli, version")
