"""Imports go one way, and nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import transfer_cli
from tests.conftest import run_command
from transfer_cli.cli.main import _COMMANDS

PACKAGE = Path(transfer_cli.__file__).parent
HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "skops", "cv2", "matplotlib", "ai_edge_litert", "h5py", "pyarrow")
COMMANDS = (
    [],
    ["rank"],
    ["auto"],
    ["extract"],
    ["finetune"],
    ["lr-find"],
    ["ensemble"],
    ["predict"],
    ["evaluate"],
    ["compare"],
    ["similar"],
    ["map"],
    ["explain"],
    ["export"],
    ["leaks"],
    ["data"],
    ["data", "check"],
    ["data", "split"],
    ["preview"],
    ["report"],
    ["export"],
    ["bundle"],
    ["bundle", "show"],
    ["bundle", "verify"],
    ["bundle", "pack"],
    ["bundle", "unpack"],
    ["recipes"],
    ["recipes", "list"],
    ["recipes", "show"],
    ["recipes", "copy"],
    ["recipes", "check"],
    ["backbones"],
    ["cache"],
    ["cache", "info"],
    ["cache", "clear"],
    ["backbones", "list"],
    ["backbones", "show"],
    ["weights"],
    ["weights", "list"],
    ["weights", "fetch"],
    ["weights", "pack"],
    ["weights", "install"],
    ["weights", "verify"],
    ["sample-data"],
)


def test_every_public_name_is_there() -> None:
    assert {"evaluate", "report", "leaks", "similar", "explain_images"} <= set(transfer_cli.__all__)
    assert all(callable(getattr(transfer_cli, name)) for name in transfer_cli.__all__)


def test_every_command_is_among_these() -> None:
    assert {words[0] for words in COMMANDS if words} == set(_COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from transfer_cli.cli import main\n"
        f"main({[*words, '--help']!r}, standalone_mode=False)\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"
    groups = (["backbones"], ["bundle"], ["cache"], ["data"], ["recipes"], ["weights"])
    assert "Example:" in done.stdout or words in groups


def test_the_list_of_backbones_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from transfer_cli.cli import main\n"
        "main(['backbones', 'list'], standalone_mode=False)\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize(
    "module", ["images", "model", "predict", "startup", "training", "extract", "finetune", "runtimes", "onnx_files"]
)
def test_the_way_of_a_picture_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, transfer_cli.engine.{module}\nprint([n for n in {HEAVY[:8]!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def layer(module: str) -> int:
    """Return how high in the house a module is: a module imports its own layer and those below."""
    parts = module.split(".")
    if len(parts) < 2 or parts[1] in ("errors", "progress"):
        return 0
    return {"catalog": 1, "engine": 3, "cli": 4, "__main__": 5}.get(parts[1], 2)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    inner = path.relative_to(PACKAGE.parent).with_suffix("").parts
    own = layer(".".join(inner))
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module.startswith("transfer_cli"):
                full = [f"{module}.{alias.name}" for alias in getattr(node, "names", [])] + [module]
                assert max(map(layer, full)) <= own, f"{path.name} imports {module}"


def test_an_import_against_the_grain_is_found_out() -> None:
    assert (
        layer("transfer_cli.data.decoding")
        > layer("transfer_cli.data.image_folder")
        > layer("transfer_cli.catalog.heads")
    )
    assert layer("transfer_cli.catalog.heads") > layer("transfer_cli.errors") == layer("transfer_cli.progress")


def test_the_module_is_the_command() -> None:
    assert run_command("--version").out.startswith("python -m transfer_cli, version")
