"""--min-accuracy: below it no model is written, and the same command without it completes the run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click import BadParameter

from tests.conftest import FINETUNE_WORDS, TINY_WORDS, Outcome
from tests.finetuning import AS_MADE, run_on, weights_of
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest, load
from transfer_cli.cli._types import Share
from transfer_cli.errors import GateError, InputError, ModelError
from transfer_cli.metrics.intervals import exact_value, proportion
from transfer_cli.progress import Silent
from transfer_cli.runs.accuracy_gate import check
from transfer_cli.training.extract import extract

pytestmark = pytest.mark.integration


def metrics_of(run: Path) -> dict[str, dict[str, dict[str, float]]]:
    metrics: dict[str, dict[str, dict[str, float]]] = json.loads((run / "metrics.json").read_text())
    return metrics


@pytest.fixture
def shuffled(colours: Path, tmp_path: Path) -> Path:
    """Return the colours with random classes, so that no accuracy is perfect."""
    folder = tmp_path / "shuffled"
    random = np.random.default_rng(0)
    for path in sorted(colours.rglob("*.png")):
        target = folder / str(random.choice(["heads", "tails"])) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def test_extract_below_min_accuracy_writes_no_model_until_rerun_without(
    shuffled: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    run = shuffled.parent / "run"
    words = ["extract", shuffled, *TINY_WORDS, "-o", run]
    done = transfer_cli(*words, "--min-accuracy", "1")
    assert (done.code, done.out) == (6, "")
    accuracy = metrics_of(run)["test"]["accuracy"]
    images = int(metrics_of(run)["test"]["images"]["value"])
    interval = f"95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}; {images} images"
    lines = [line for line in done.err.splitlines() if not line.startswith("val")]
    assert lines[-3:] == [
        f"test  accuracy {accuracy['value']:.3f} ({interval})",
        f"error: The accuracy on test is {accuracy['value']:.3f} ({interval}), below the required 1 (--min-accuracy). "
        f"No model was written; {run} keeps the metrics and predictions.",
        "To accept this model, run the same command without --min-accuracy. To improve it, use more images, a larger "
        "--backbone, or transfer-cli finetune in place of extract.",
    ]
    assert {path.name for path in run.iterdir()} >= {"features.parquet", "predictions_test.csv", "confusion_test.csv"}
    assert not (run / "model").exists()
    with pytest.raises(ModelError, match="has no model"):
        load(str(run))
    tables = {path.name: path.read_bytes() for path in run.glob("*.csv")}
    again = transfer_cli(*words)
    assert again.code == 0
    assert again.out == f"{run}\n"
    assert {path.name: path.read_bytes() for path in run.glob("*.csv")} == tables
    assert load(str(run)).class_names == ("heads", "tails")
    # A minimum that is reached has no message; one that is missed leaves the earlier model alone.
    assert transfer_cli(*words, "--min-accuracy", "0").code == 0
    late = transfer_cli(*words, "--min-accuracy", "1")
    assert late.code == 6
    assert f"The model of an earlier command is still in {run / 'model'}." in late.err
    assert (run / "model").is_dir()


def test_finetune_below_min_accuracy_completes_when_rerun_without(
    colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path
) -> None:
    # Above 1, since the run of the fixture is perfect on some machines.
    with pytest.raises(GateError, match=r"The accuracy on test is .* below the required 1\.1"):
        run_on(colours, tmp_path / "run", *AS_MADE, source=str(two_stages), min_accuracy=1.1)
    run = tmp_path / "run"
    assert not (run / "model").exists()
    assert metrics_of(run) == metrics_of(finetuned)
    history = (run / "history.csv").read_bytes()
    messages: list[str] = []

    class Talk(Silent):
        def note(self, message: str) -> None:
            messages.append(message)

    result = run_on(colours, run, *AS_MADE, source=str(two_stages), progress=Talk())
    assert not result.was_complete
    assert any(line.startswith("resuming after epoch") for line in messages)
    assert not any(line.startswith("epoch ") for line in messages)
    assert (run / "history.csv").read_bytes() == history
    assert result.metrics == metrics_of(finetuned)
    expected = weights_of(finetuned)
    for name, array in weights_of(run).items():
        np.testing.assert_array_equal(array, expected[name])


def test_accuracy_gate_checks_test_before_val() -> None:
    metric_values = {"images": exact_value(10), "accuracy": proportion(9, 10)}
    poor = {"images": exact_value(10), "accuracy": proportion(1, 10)}
    check(0.9, {"val": poor, "test": metric_values}, ("test", "val"), consequence="", hint="")
    check(0.9, {"val": metric_values}, ("test", "val"), consequence="", hint="")
    with pytest.raises(GateError, match=r"on test is 0\.100"):
        check(0.9, {"val": metric_values, "test": poor}, ("test", "val"), consequence="", hint="")
    with pytest.raises(GateError, match=r"on val is 0\.100"):
        check(0.9, {"val": poor}, ("test", "val"), consequence="", hint="")
    with pytest.raises(GateError, match="cannot be checked: there are no images of test or val"):
        check(0.9, {}, ("test", "val"), consequence="", hint="")


def test_min_accuracy_without_an_accuracy_raises(colours: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    names = sorted(path.relative_to(colours).as_posix() for path in colours.rglob("*.png"))
    table.write_text("path,labels\n" + "".join(f"{colours / name},{name.split('/')[0]}\n" for name in names))
    words = {"backbone.weights": "none", "backbone.name": "mobilenet@0.25", "images.size": 32}
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match="--min-accuracy needs exactly one class per image"):
        extract(TrainingRequest(ImageFolder.scan(table), run, min_accuracy=0.5), ExtractRecipe.load(settings=words))
    recipe = ExtractRecipe.load(settings={**words, "classifier.name": "none"})
    with pytest.raises(InputError, match="--min-accuracy needs a classifier, and this run trains none"):
        extract(TrainingRequest(ImageFolder.scan(colours), run, min_accuracy=0.5), recipe)
    assert not run.path.exists()


def test_min_accuracy_option_suggests_a_share(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    done = transfer_cli("finetune", colours, *FINETUNE_WORDS, "--min-accuracy", "80")
    assert done.code == 2
    assert "Expected a number from 0 to 1. Received: 80. Did you mean 0.8?" in done.err
    share = Share()
    assert share.convert("0.9", None, None) == 0.9
    for value, messages in (
        ("90", "Did you mean 0.9?"),
        ("87.5%", "Did you mean 0.875?"),
        ("900", "Received: 900."),
        ("x", "Expected a number from 0 to 1. Received: x."),
    ):
        with pytest.raises(BadParameter, match=f"{re.escape(messages)}$"):
            share.convert(value, None, None)
