"""The result of a run that an earlier command completed."""

from __future__ import annotations

from collections.abc import Callable

from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import ImageError, RunError
from transfer_cli.runs.accuracy_gate import check_accuracy_of_completed
from transfer_cli.runs.request import TrainingRequest, TrainingResult, is_uneven


def completed_result(request: TrainingRequest, val_note: Callable[[Split], str]) -> TrainingResult:
    """Return the result of a complete run; warn if the folder has changed since."""
    run, folder = request.run, request.folder
    skipped = read_skipped(run.skipped)
    if request.strict and skipped:
        raise ImageError(f"{skipped[0].path} could not be read: {skipped[0].reason}.")
    split = Split.read(run.split)
    _check_same_split(request, split)
    metrics, note = run.read_metrics(), val_note(split)
    check_accuracy_of_completed(request, metrics, note)
    known = {row.path for row in split.rows} | {item.path for item in skipped}
    new = [file.path for file in folder.files if file.path not in known]
    missing = known - {file.path for file in folder.files}
    if new or missing:
        request.progress.warn(
            f"the folder has changed since this run: {len(new)} new images, {len(missing)} missing. "
            "To train on the folder as it is now, add --overwrite; the test images stay the same"
        )
    return TrainingResult(run, metrics, skipped, note, was_complete=True, is_uneven=is_uneven(split))


def _check_same_split(request: TrainingRequest, split: Split) -> None:
    """Raise RunError if the run did not follow the split of the request."""
    requested = {row.path: row.part for row in request.split.rows} if request.split else {}
    for row in split.rows:
        if (part := requested.get(row.path, row.part)) != row.part:
            raise RunError(
                f"{request.run.path} is complete with another split: {row.path} is in {row.part} there, and in {part} "
                "in the split of this command.",
                hint="Choose another place with -o RUN, or add --overwrite to replace the run.",
            )
