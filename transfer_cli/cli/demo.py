"""``transfer-cli demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.catalog.backbones import EMBEDDED, RANDOM
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.errors import OutputError
from transfer_cli.io.disk_errors import ANOTHER_PLACE
from transfer_cli.text import shell_command

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.runs.request import TrainingResult

_FOLDER = Path("runs/demo")
_PREDICTED = 3
_ANOTHER_FOLDER = "Change to a folder that you can write to (cd FOLDER), then run it again: transfer-cli demo"


@click.command("demo", short_help="See the main job on sample images, in a minute.")
@pass_console
def command(console: Console) -> None:
    """Train and test a classifier on the sample images, and explain each step.

    Needs no internet connection. Everything is written to runs/demo in the current folder; a second call reuses it.

    \b
    Example:
        transfer-cli demo
    """
    try:
        _run(console)
    except OutputError as error:
        if error.hint != ANOTHER_PLACE:
            raise
        raise OutputError(str(error), hint=_ANOTHER_FOLDER) from error.__cause__


def _run(console: Console) -> None:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.data.sample_data import copy_to

    console.note(f"This demo trains an image classifier. It writes to {_FOLDER}.")
    images = _FOLDER / "images"
    folder = ImageFolder.scan(images if images.exists() else copy_to(images))
    console.note(f"1. The images: {folder.summary()}. Each class is a folder in {images}.")
    console.note("2. Training: a pretrained network turns images into numbers, a small classifier learns from them.")
    trained = _train(console, folder, EMBEDDED)
    console.note("3. Comparison: the same with random weights in place of the pretrained ones.")
    random = _train(console, folder, RANDOM, trained)
    console.note(f"   Accuracy on test images: {_accuracy(trained)}; with random weights: {_accuracy(random)}.")
    console.note("4. Report: the mistakes, the confidence, possible problems and what to do about them.")
    page = _report(console, trained)
    console.note(f"   Open this file in a browser: {page.resolve()}")
    console.note("5. Prediction: three test images with their most likely classes.")
    predictions = _predict(console, trained, images)
    run = str(trained.run.path)
    console.note(f"The trained model is in {run}; use it with: transfer-cli predict {shell_command(run)} IMAGES")
    console.note("Now with your own images, one folder per class: transfer-cli extract YOUR_FOLDER")
    metrics = {"test_accuracy": trained.metrics["test"]["accuracy"], "random": random.metrics["test"]["accuracy"]}
    console.result(run, {"run": run, "report": str(page), **metrics, "predictions": predictions})


def _train(
    console: Console, folder: ImageFolder, weights: str, earlier: TrainingResult | None = None
) -> TrainingResult:
    """Train on the features of the shipped network, with the split of an earlier run."""
    from transfer_cli.data.split import Split
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.request import TrainingRequest
    from transfer_cli.runs.run_directory import RunDirectory
    from transfer_cli.training.extract import extract

    recipe = ExtractRecipe.load(settings={"backbone.name": EMBEDDED, "backbone.weights": weights})
    run = RunDirectory(_FOLDER / ("trained" if earlier is None else "random-weights"))
    split = Split.read(earlier.run.split) if earlier else None
    with console.track("   training", None):
        return extract(TrainingRequest(folder, run, split=split, offline=True), recipe)


def _accuracy(result: TrainingResult) -> str:
    accuracy = result.metrics["test"]["accuracy"]
    return f"{_percent(accuracy['value'])} (95 % interval {_percent(accuracy['low'])} to {_percent(accuracy['high'])})"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"


def _report(console: Console, result: TrainingResult) -> Path:
    from transfer_cli.report.report import report
    from transfer_cli.runs.completed_run import FinishedRun

    if not result.run.report.is_file():
        with console.track("   writing the report", None):
            report(FinishedRun.read(result.run.path))
    return result.run.report


def _predict(console: Console, result: TrainingResult, images: Path) -> list[dict[str, Any]]:
    """Predict a test image of each of three classes; print the table unless the output is JSON."""
    from transfer_cli.data.split import Split
    from transfer_cli.inference.load import load
    from transfer_cli.inference.predict import predict, write_predictions

    model = load(str(result.run.path), offline=True)
    tested = {row.labels[0]: row.path for row in Split.read(result.run.split).rows if row.part == "test"}
    batches = list(predict(model, [str(images / path) for path in [*tested.values()][:_PREDICTED]]))
    if not console.json:
        write_predictions(iter(batches), console.rows, "table")
    ranked = (row for batch in batches for row in batch.rows(1))
    return [{"path": path, "label": label, "confidence": confidence} for path, [(label, confidence)] in ranked]
