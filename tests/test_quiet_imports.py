"""What is imported in the background is whole when it is needed."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.finetuning import WORDS
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, extract
from transfer_cli.classifiers import fit as classify
from transfer_cli.quiet_imports import import_ahead
from transfer_cli.training import extract as extracting

CIRCLE = {
    "__init__": "from circle.classes import CLASSES",
    "classes": "import time; time.sleep(0.4)\nfrom circle.base import BASE\nCLASSES = BASE",
    "base": "from circle import lowest\nBASE = 1",
    "lowest": "",
}
"""As sklearn.svm: what the package imports takes another module from the package."""


@pytest.fixture(autouse=True)
def circle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let there be a package of modules that import one another."""
    (tmp_path / "circle").mkdir()
    for name, text in CIRCLE.items():
        (tmp_path / "circle" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "circle"]:
        del sys.modules[name]


def test_what_is_imported_ahead_is_whole_when_the_block_ends() -> None:
    with import_ahead("circle.base", "there_is_no_such_module", "circle"):
        pass
    assert sys.modules["circle"].CLASSES == 1
    assert importlib.import_module("circle.base").BASE == 1


def test_two_threads_that_import_a_circle_are_given_half_a_module() -> None:
    """The twin: a thread that nobody waits for."""

    failures = []

    def load(name: str) -> None:
        try:
            importlib.import_module(name)
        except ImportError as error:
            failures.append(str(error))

    thread = threading.Thread(target=load, args=["circle"])
    thread.start()
    time.sleep(0.1)
    load("circle.base")
    thread.join()
    assert failures
    assert "partially initialized module 'circle" in failures[0]


def test_extract_learns_when_all_of_it_is_there(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = []
    fit = classify.fit

    def fitted(*words: Any, **more: Any) -> Any:
        there.append("circle.classes" in sys.modules and hasattr(sys.modules["circle.classes"], "CLASSES"))
        return fit(*words, **more)

    monkeypatch.setattr(classify, "fit", fitted)
    monkeypatch.setattr(extracting, "_NEEDED", ("time", "circle"))
    extract(ImageFolder.scan(colours), ExtractRecipe.load(words=WORDS), RunDirectory(tmp_path / "run"))
    assert there == [True]
