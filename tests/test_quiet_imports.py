"""Modules that are imported in the background are complete when the block ends."""

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
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.classifiers import fit as classify
from transfer_cli.quiet_imports import import_in_background
from transfer_cli.training import extract as extracting
from transfer_cli.training.extract import extract

CIRCLE = {
    "__init__": "from circle.classes import CLASSES",
    "classes": "import time; time.sleep(0.4)\nfrom circle.base import BASE\nCLASSES = BASE",
    "base": "from circle import lowest\nBASE = 1",
    "lowest": "",
}
"""Modules that import each other, as in sklearn.svm."""


@pytest.fixture(autouse=True)
def circle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Create a package whose modules import each other."""
    (tmp_path / "circle").mkdir()
    for name, text in CIRCLE.items():
        (tmp_path / "circle" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "circle"]:
        del sys.modules[name]


def test_import_in_background_is_complete_when_the_block_ends() -> None:
    with import_in_background("circle.base", "there_is_no_such_module", "circle"):
        pass
    assert sys.modules["circle"].CLASSES == 1
    assert importlib.import_module("circle.base").BASE == 1


def test_circular_imports_in_two_threads_fail() -> None:
    """Planted fault: the thread is not joined before the second import."""

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


def test_extract_fits_after_the_background_import(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = []
    fit = classify.fit

    def fitted(*arguments: Any, **options: Any) -> Any:
        complete.append("circle.classes" in sys.modules and hasattr(sys.modules["circle.classes"], "CLASSES"))
        return fit(*arguments, **options)

    monkeypatch.setattr(classify, "fit", fitted)
    monkeypatch.setattr(extracting, "_FOR_CLASSIFIER", ("time", "circle"))
    extract(
        TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run")), ExtractRecipe.load(settings=WORDS)
    )
    assert complete == [True]
