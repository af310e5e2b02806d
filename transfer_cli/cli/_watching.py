"""``transfer-cli predict --watch``: a folder that fills."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._predictor import Predictor
from transfer_cli.errors import FolderError
from transfer_cli.text import counted


def check_watching(folder: Path, output: Path | None, format_: str, *, strict: bool) -> None:
    """Raise an error now if a folder cannot be watched with these options."""
    from transfer_cli.inference.prediction_log import FORMATS

    if output is None:
        raise click.UsageError(f"--watch needs a file to write: --watch {folder} -o FILE.csv")
    if format_ not in FORMATS:
        raise click.UsageError(
            f"With --watch, expected a file that can grow: -o FILE.csv or FILE.jsonl, without --for-excel. "
            f"Received: {output}, written as {format_}."
        )
    if strict:
        raise click.UsageError("--strict stops at the first unreadable image, --watch tries it again. Remove one.")
    if not folder.is_dir():
        raise FolderError(f"There is no folder {folder} to watch. Expected a folder that images are copied into.")


def watch_folder(
    console: Console, folder: Path, output: Path, table: tuple[str, int | None], predictor: Predictor
) -> None:
    """Predict new images in a folder until a signal ends the command; `table` is its format and --top-k."""
    from transfer_cli.data.predictions import columns_of
    from transfer_cli.inference.prediction_log import PredictionLog
    from transfer_cli.inference.watch import watch

    format_, top_k = table
    log = PredictionLog(output, format_, columns_of(predictor.template, top_k, with_digest=True))
    hint = f"All rows are in {output}; run the same command again to continue."
    click.get_current_context().meta["resume_hint"] = hint
    before = f" ({counted(log.rows, 'image')} predicted before)" if log.rows else ""
    console.note(f"watching {folder}{before}; rows are added to {output}; Ctrl-C ends")
    watch(folder, log, predictor, console)
