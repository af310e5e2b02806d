"""The minimum accuracy that a model must reach: ``--min-accuracy``."""

from __future__ import annotations

from typing import Protocol

from transfer_cli.catalog.tasks import MULTI_LABEL, Task
from transfer_cli.errors import GateError, InputError
from transfer_cli.io.atomic import write_json
from transfer_cli.metrics.intervals import is_undefined
from transfer_cli.metrics.scores import Metrics, summary
from transfer_cli.progress import Progress
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted, nan_to_null

FLAG = "--min-accuracy"


def check_task(task: Task) -> None:
    """Raise InputError for a multi-label task, which has no single accuracy."""
    if task == MULTI_LABEL:
        hint = f"Leave out {FLAG}, and look at mean_average_precision and the F1 scores in metrics.json."
        raise InputError(f"{FLAG} needs exactly one class per image. Received: any number of labels.", hint=hint)


def check_training_images_known(minimum: float, is_known: bool, consequence: str) -> None:
    """Raise GateError if the training images of the model are unknown, so that the score may be too high."""
    if not is_known:
        raise GateError(
            f"{FLAG} {minimum:g} cannot be checked: the model does not record its training images, so these "
            f"images may be among them. {consequence}",
            hint=f"Evaluate the run that the model is from, train it again, or leave out {FLAG}.",
        )


def check(
    minimum: float,
    metrics: Metrics,
    parts: tuple[str, ...],
    *,
    consequence: str,
    hint: str,
    no_images_hint: str = "Add a test set, or hold out a share of the images: --set split.test=0.2",
) -> None:
    """Raise GateError if the accuracy on the first of `parts` that has metrics is below the minimum.

    Parameters
    ----------
    minimum : float
        From 0 to 1. It is compared with the accuracy itself, not with its confidence interval.
    metrics : mapping
    parts : tuple of str
    consequence : str
        A sentence about what was written or left alone.
    hint : str
        What to type next.
    no_images_hint : str
        What to type next if there are no images of any of `parts`.
    """
    part = next((part for part in parts if part in metrics), None)
    if part is None:
        raise GateError(
            f"{FLAG} {minimum:g} cannot be checked: there are no images of {' or '.join(parts)}. {consequence}",
            hint=no_images_hint,
        )
    accuracy = metrics[part]["accuracy"]
    if is_undefined(accuracy):
        why = accuracy.get("reason", "the accuracy is undefined")
        raise GateError(f"{FLAG} {minimum:g} cannot be checked: {why}. {consequence}", hint=no_images_hint)
    if accuracy["value"] >= minimum:
        return
    images = int(metrics[part]["images"]["value"])
    raise GateError(
        f"The accuracy on {part} is {accuracy['value']:.3f} (95 % interval {accuracy['low']:.3f} to "
        f"{accuracy['high']:.3f}; {counted(images, 'image')}), below the required {minimum:g} ({FLAG}). {consequence}",
        hint=hint,
    )


class GatedRequest(Protocol):
    """A request with a run and an optional minimum accuracy."""

    @property
    def run(self) -> RunDirectory:
        """The run to write."""

    @property
    def min_accuracy(self) -> float | None:
        """The minimum accuracy on test, or on val if there is no test set."""

    @property
    def progress(self) -> Progress:
        """Where the metrics of a rejected run are reported."""


def check_accuracy(request: GatedRequest, metrics: Metrics, val_note: str, *, was_complete: bool = False) -> None:
    """Raise GateError if a run misses the minimum accuracy, after its metrics were reported.

    Call this before the model of a new run is written: its metrics are written, and the same command without a minimum
    completes it. Of a run that `was_complete` nothing is written.
    """
    if request.min_accuracy is None:
        return
    run = request.run
    consequence = f"No model was written; {run.path} keeps the metrics and predictions."
    if run.replaces_another:
        consequence = f"The new model was not kept: {run.path} is the earlier run, unchanged."
    if was_complete:
        consequence = f"The model of an earlier command is still in {run.model}."
    hint = (
        f"To accept this model, run the same command without {FLAG}. To improve it, use more images, a larger "
        "--backbone, or transfer-cli finetune in place of extract."
    )
    try:
        check(request.min_accuracy, metrics, ("test", "val"), consequence=consequence, hint=hint)
    except GateError:
        for part, values in metrics.items():
            request.progress.note(summary(part, values, f", {val_note}" if part == "val" and val_note else ""))
        if not was_complete and not run.replaces_another:
            write_json(run.metrics, nan_to_null(metrics))
            run.log("gate", minimum=request.min_accuracy, metrics=metrics)
        raise
