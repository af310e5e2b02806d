"""Paths are taken as text or path objects everywhere, and wrong types are refused with what is expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transfer_cli
from transfer_cli import (
    AugmentedModel,
    EnsembleRequest,
    EvaluationDirectory,
    ExtractRecipe,
    FinishedRun,
    ImageClassifier,
    ImageFolder,
    ModelBundle,
    RankingDirectory,
    RankOptions,
    RunDirectory,
    Split,
    TrainingRequest,
    TransferError,
)
from transfer_cli.arguments import as_path, as_text, check_type, type_of

READERS: dict[str, Callable[[Any], object]] = {
    "load": transfer_cli.load,
    "ImageClassifier.load": ImageClassifier.load,
    "ImageFolder.scan": ImageFolder.scan,
    "FinishedRun.read": FinishedRun.read,
    "FinishedRun.read images": lambda path: FinishedRun.read(".", path if path is not None else 0),  # type: ignore[arg-type]
    "ModelBundle.read": ModelBundle.read,
    "ModelBundle.open": ModelBundle.open,
    "Split.read": Split.read,
    "ExtractRecipe.load": lambda path: ExtractRecipe.load(path if path is not None else 0),  # type: ignore[arg-type]
    "extract": transfer_cli.extract,
    "finetune": transfer_cli.finetune,
    "auto": transfer_cli.auto,
    "ensemble": lambda path: transfer_cli.ensemble([path, path], output="x"),
    "predict": lambda path: transfer_cli.predict(path, "a.jpg"),
    "evaluate": lambda path: transfer_cli.evaluate(path, ".", "x"),
    "explain_images": lambda path: transfer_cli.explain_images(
        path, np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, int)
    ),
    "export": lambda path: transfer_cli.export(path, [], "x"),
    "report": transfer_cli.report,
    "leaks": transfer_cli.leaks,
}
DIRECTORIES = (RunDirectory, EvaluationDirectory, RankingDirectory)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", [str, Path])
def test_path_of_nothing_is_said_for_text_and_path(name: str, kind: type, tmp_path: Path) -> None:
    with pytest.raises((TransferError, FileNotFoundError)):
        READERS[name](kind(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("wrong", [None, 5, b"photos", ["photos"]], ids=str)
def test_wrong_type_of_path_is_type_error(name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"Expected .*Received: "):
        READERS[name](wrong)


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_directories_take_text_and_are_path_objects(directory: Callable[[Any], Any]) -> None:
    assert directory("runs/a") == directory(Path("runs/a"))
    assert directory("runs/a").path == Path("runs/a")
    assert os.fspath(directory("runs/a")) == str(Path("runs/a"))
    assert directory(directory("runs/a")) == directory("runs/a")
    with pytest.raises(TypeError, match=r"Expected a folder as str or os\.PathLike.*Received: int"):
        directory(3)


def test_split_is_written_and_read_by_text(tmp_path: Path) -> None:
    file = str(tmp_path / "split.csv")
    Split((), 0, "split.csv").write(file)
    assert Split.read(file).rows == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TrainingRequest("photos", "runs/x"), r"Expected folder as ImageFolder: .*Received: str 'photos'\."),  # type: ignore[arg-type]
        (lambda: EnsembleRequest("runs/a", RunDirectory("x")), r"a sequence of runs\. Received: one path, 'runs/a'\."),
        (lambda: EnsembleRequest(["a", "b"], "x"), r"Expected run as RunDirectory: .*Received: str 'x'\."),  # type: ignore[arg-type]
        (lambda: RankOptions(among="embedded"), r"Expected among as a sequence of names, such as \['embedded'\]"),
        (lambda: AugmentedModel("runs/x", "flip"), r"Expected a loaded model: load\(PATH\)\. Received: str"),  # type: ignore[arg-type]
        (lambda: transfer_cli.predict(5, "a.jpg"), r"Expected a loaded model.*Received: int 5\."),  # type: ignore[arg-type]
        (lambda: transfer_cli.ensemble("runs/a", output="x"), r"two or more runs\. Received: one path, 'runs/a'\."),
        (lambda: transfer_cli.bagged("photos", ExtractRecipe(), 3), r"Expected a TrainingRequest.*Received: str"),  # type: ignore[arg-type]
    ],
)
def test_wrong_type_of_argument_is_type_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_as_text_keeps_how_a_path_is_written() -> None:
    assert as_text("./a//b", "x") == "./a//b"
    assert as_text(Path("a/b"), "x") == str(Path("a/b"))
    assert as_path("a/b", "x") == Path("a/b")


def test_check_type_passes_what_is_expected() -> None:
    check_type(3, int, "a number")
    with pytest.raises(TypeError, match=r"Expected a number\. Received: None\."):
        check_type(None, int, "a number")
    check_type(True, (int, bool), "a number")
    with pytest.raises(TypeError, match=r"Expected a number\. Received: bool True\."):
        check_type(True, int, "a number")


def test_type_of_names_library_and_shape() -> None:
    assert type_of(np.zeros((2, 3))) == "numpy.ndarray of shape (2, 3), float64"
    assert [type_of(value) for value in ("a", [], b"")] == ["str", "list", "bytes"]
