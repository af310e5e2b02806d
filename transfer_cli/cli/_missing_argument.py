"""What to type if a command line names images but no trained model, or a run and no images."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.errors import RUNS
from transfer_cli.text import shell_command


def answer_to_missing(ctx: click.Context) -> str | None:
    """Return what to type if only the first argument of a command was given, which should be a run; else None."""
    from transfer_cli.runs.run_of_model import is_model, run_of_model

    first = next((str(ctx.params[name]) for name in ("model", "run") if ctx.params.get(name)), None)
    if first is None or not Path(first).exists():
        return None
    if is_model(first):
        is_scored = ctx.command.name == "evaluate" and run_of_model(first) is not None
        return _answer_to_scored(first) if is_scored else None
    if Path(first).suffix.lower() in (".zip", ".onnx", ".tflite", ".xml", ".keras"):
        return None
    run = _newest_run()
    typed = shell_command("transfer-cli", str(ctx.command.name), run or "RUN", first)
    kind = "a folder" if Path(first).is_dir() else "a file"
    where = "" if run else " (RUN: the folder that a training command wrote)"
    return f"{first} is {kind}, not a trained model. The model comes first: {typed}{where}"


def _answer_to_scored(run: str) -> str:
    shown = shell_command("transfer-cli", "runs", "show", run)
    return (
        "evaluate needs a folder of other labelled images, with one sub-folder per class. To see the score of the run "
        f"on its own test images: {shown}"
    )


def _newest_run() -> str | None:
    """Return the run in the folder of runs whose model was written last."""
    from transfer_cli.bundle.files import MANIFEST
    from transfer_cli.manage.find_runs import find_runs
    from transfer_cli.runs.run_directory import RunDirectory

    runs = find_runs(RUNS) if RUNS.is_dir() else ()
    models = {run: RunDirectory(run).model / MANIFEST for run in runs}
    written = {run: file.stat().st_mtime for run, file in models.items() if file.is_file()}
    return str(max(written, key=lambda run: written[run])) if written else None
