"""Type checkers know the public names: a user's script passes mypy --strict, and wrong types in it are found."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import transfer_cli
from tests.conftest import REPOSITORY

SCRIPT = '''\
"""Count the species on new images, and keep the unsure ones for a look."""
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import transfer_cli
from transfer_cli import ImageClassifier, Predictions, Score, TrainedRun, TransferError


def train(folder: Path) -> TrainedRun:
    return transfer_cli.extract(folder, output="runs/first", seed=1, set={"split.val": 0.2}, progress=True)


def improve(folder: str, run: TrainedRun) -> TrainedRun:
    tuned = transfer_cli.finetune(folder, output=Path("runs/tuned"), split=run.path / "split.csv", time_budget="10m")
    return transfer_cli.ensemble([run, tuned.path, "runs/other"], output="runs/both", method="average")


def count(predictions: Predictions) -> Counter[str]:
    return Counter(each.label for each in predictions)


def main() -> None:
    run = train(Path("photos"))
    accuracy: Score = run.scores["test"]["accuracy"]
    print(accuracy.value, accuracy.low, improve("photos", run).classifier)
    classifier = ImageClassifier.load("runs/first")
    predictions = classifier.predict(["a.jpg", Path("b.jpg"), np.zeros((8, 8, 3), np.uint8)], tta="flip", strict=True)
    labels: list[str] = predictions.labels
    probabilities: NDArray[np.float32] = predictions.probabilities
    best: list[list[tuple[str, float]]] = predictions.top(2)
    print(labels, predictions.label_lists()[0])
    print(count(predictions), probabilities.max(), best, [item.reason for item in predictions.skipped])
    print(classifier.evaluate("labelled", part="test").scores, classifier.card[:20], classifier.class_names)
    print(transfer_cli.extract("photos", repeats=3).spreads["val"]["log_loss"].mean)
    for batch in transfer_cli.predict(transfer_cli.load(Path("runs/first")), "photos", batch_size=8):
        print(batch.paths, batch[0].confidence)
    try:
        print(classifier.export("onnx")[0].path, transfer_cli.finetune("photos", plan=True).seconds)
    except TransferError as error:
        print(error, error.hint)


main()
'''
WRONG = {
    "seed=1,": ('seed="1",', "call-overload"),
    "repeats=3).spreads": ("repeats=3).scores", "attr-defined"),
    'method="average"': ('methd="average"', "call-arg"),
    'ImageClassifier.load("runs/first")': ("ImageClassifier.load(3)", "arg-type"),
    "np.zeros((8, 8, 3), np.uint8)]": ("np.zeros((8, 8, 3)), None]", "list-item|arg-type"),
    'tta="flip", strict=True': ('tta="flip", strict="yes"', "arg-type"),
    'part="test"': ('part="tset"', "arg-type"),
    "Counter(each.label for": ("Counter(each.labell for", "attr-defined"),
    'scores["test"]["accuracy"]': ('scores["test"]["accuracy"].value', "assignment"),
    "batch[0].confidence": ("batch['a'].confidence", "call-overload|index"),
    "transfer_cli.load(Path": ("transfer_cli.laod(Path", "attr-defined"),
    "plan=True).seconds": ("plan=True).scores", "attr-defined"),
}
"""A correct piece of the script, a wrong one in its place, and the error of mypy."""

TAKES_ANY = {"Ranking.of"}
"""Constructors of results, which no user calls."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def mypy(script: str, folder: Path, cache: Path) -> str:
    """Return what mypy --strict prints about a script of a user, who has not the settings of this repository."""
    (folder / "script.py").write_text(script)
    (folder / "mypy.ini").write_text("[mypy]\n[mypy-transfer_cli.*]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "script.py"]
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment).stdout


@pytest.mark.integration
def test_script_of_a_user_passes_and_each_wrong_type_is_found(tmp_path: Path, cache: Path) -> None:
    assert mypy(SCRIPT, tmp_path, cache) == "Success: no issues found in 1 source file\n"
    wrong = SCRIPT
    for correct, (planted, _) in WRONG.items():
        assert SCRIPT.count(correct) == 1, correct
        wrong = wrong.replace(correct, planted)
    lines = mypy(wrong, tmp_path, cache).splitlines()
    found = {int(match[1]): line for line in lines if (match := re.match(r"script\.py:(\d+): error", line))}
    for planted, codes in WRONG.values():
        (number,) = [number for number, line in enumerate(wrong.splitlines(), start=1) if planted in line]
        errors = [line for line in lines if line.startswith(f"script.py:{number}: error")]
        assert [line for line in errors if re.search(rf"\[({codes})\]$", line)], (planted, errors)
    assert found.keys() <= {
        number
        for number, line in enumerate(wrong.splitlines(), start=1)
        if any(planted in line for planted, _ in WRONG.values())
    }


def test_types_are_shipped() -> None:
    assert (Path(transfer_cli.__file__).parent / "py.typed").is_file()


def functions_of(name: str) -> list[tuple[str, Callable[..., object]]]:
    """Return a public function, or the public methods of a public class."""
    public = getattr(transfer_cli, name)
    if not isinstance(public, type):
        return [(name, public)]
    own = {f"{name}.{key}": getattr(value, "__func__", value) for key, value in vars(public).items() if key[0] != "_"}
    return [(key, value) for key, value in own.items() if inspect.isfunction(value)]


@pytest.mark.parametrize("name", transfer_cli.__all__)
def test_public_names_take_no_any(name: str) -> None:
    for place, function in functions_of(name):
        if place not in TAKES_ANY:
            kinds = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
            assert not re.search(r"\bAny\b", " ".join(map(str, kinds))), place


def test_any_of_ranking_is_found() -> None:
    """The planted fault: the one that is left out above."""
    functions = dict(functions_of("Ranking"))
    assert "Any" in str(inspect.signature(functions["Ranking.of"]))
