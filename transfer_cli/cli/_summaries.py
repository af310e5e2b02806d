"""The lines and the JSON that commands print at their end, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transfer_cli.cli._console import Console
from transfer_cli.data.prediction_columns import LEFT_OUT
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.io.discovery import describe_left_out, has_unreadable_folders
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.scores import (
    ABOVE_CHANCE,
    COPIES,
    SUPPORT,
    MetricValue,
    doubts,
    lowest_recalls_summary,
    recalls_summary,
    summary,
    top_summary,
)
from transfer_cli.metrics.spread import SPREAD_COLUMNS, spread_rows
from transfer_cli.runs.score_limits import REAL_WEIGHTS, mending_command, uses_embedded_backbone
from transfer_cli.text import counted, shell_command

if TYPE_CHECKING:
    from transfer_cli.evaluation.evaluate import Evaluation
    from transfer_cli.explain.explain import Explanations
    from transfer_cli.runs.request import TrainingResult
    from transfer_cli.runs.run_directory import RunDirectory
    from transfer_cli.training.repeat_results import Repeats

_MAX_LISTED = 10
_MAX_CLASSES = 20


def end_of_training(console: Console, result: TrainingResult) -> int:
    """Print the metrics of a run, its path and a next command; return the exit code."""
    run = result.run
    if result.was_complete:
        console.note("this run is already complete; nothing to do")
    for part, metrics in result.metrics.items():
        note = f", {result.val_note}" if part == "val" and result.val_note else ""
        console.note(summary(part, metrics, note))
    if result.metrics:
        part, metrics = [*result.metrics.items()][-1]
        table = run.confusion(part)
        if table.is_file() and (confusions := Confusion.read(table).summary(part)):
            console.note(confusions)
        if result.is_uneven:
            console.note(recalls_summary(part, metrics))
        _warn_of_doubts(console, run, metrics)
    if result.skipped:
        console.warn(f"{counted(len(result.skipped), 'image')} could not be read; reasons: {run.skipped}")
    evaluated = [*result.metrics.values()][-1:]
    if run.model.is_dir():
        console.note(f"next: {shell_command('transfer-cli', 'report', run.path, '--open')}")
        if not any(map(_is_no_better, evaluated)):
            console.note(f"next: {shell_command('transfer-cli', 'predict', run.path, _an_image(run))} --format table")
    else:
        console.note(f"features: {run.features}")
        console.note(f"next: {shell_command('transfer-cli', 'map', run.path)}")
    data = {"run": str(run.path), "metrics": result.metrics, "skipped": len(result.skipped)}
    console.result(str(run.path), data)
    return DONE_WITH_SKIPPED if result.skipped else DONE


def _an_image(run: RunDirectory) -> Path:
    """Return an image to try the model on: one that it was not trained on, if there is one."""
    from transfer_cli.runs.completed_run import FinishedRun

    finished = FinishedRun.read(run.path)
    rows = finished.split.rows
    return finished.root / next((row.path for row in rows if row.part == "test"), rows[0].path)


def _warn_of_doubts(console: Console, run: RunDirectory, metrics: Mapping[str, MetricValue]) -> None:
    """Print why the score of a part says nothing or too much, and what to do about it."""
    reasons = doubts(metrics)
    console.warn(*reasons)
    if _is_no_better(metrics):
        remedy = "more images of each class help most, then a larger --backbone"
        if uses_embedded_backbone(run):
            remedy = f"this run used the small network of the program: {REAL_WEIGHTS}"
        console.note(f"to get a better model: {remedy}")
    elif reasons:
        console.note("to get a score: add images with and without each of the classes to this part")
    if COPIES in metrics and (command := mending_command(run)):
        console.note(f"to keep near-duplicates in one part: {command}")


def _is_no_better(metrics: Mapping[str, MetricValue]) -> bool:
    """Return whether the headline of a part is not above chance."""
    return any(name.endswith(ABOVE_CHANCE) for name in metrics)


def end_of_ensemble(console: Console, result: TrainingResult, *, of_bags: bool = False) -> int:
    """Print the comparison of the ensemble with its members, then as `end_of_training`; return the exit code."""
    if result.run.members.is_file():
        from transfer_cli.ensembling.member_comparison import MemberComparison

        comparison = MemberComparison.read(result.run.members)
        console.note(*(comparison.summary_short() if of_bags else comparison.summary()))
    return end_of_training(console, result)


def end_of_repeats(console: Console, repeats: Repeats) -> int:
    """Print how far the scores of repeated trainings lie apart, and the folder of the runs; return the exit code."""
    folder = repeats.directory.path
    if repeats.were_complete:
        console.note(f"all {len(repeats.results)} repeats are already complete; nothing to do")
    for result in repeats.results:
        if result.skipped:
            images = counted(len(result.skipped), "image")
            console.warn(f"{images} could not be read in {result.run.path}; reasons: {result.run.skipped}")
    console.note_table(SPREAD_COLUMNS, spread_rows(repeats.spreads), SPREAD_COLUMNS[2:4])
    console.note(*repeats.summary(), f"next: {shell_command('transfer-cli', 'runs', 'list', folder)}")
    console.output(folder, **repeats.to_dict())
    return DONE_WITH_SKIPPED if any(result.skipped for result in repeats.results) else DONE


def end_of_evaluation(console: Console, result: Evaluation) -> int:
    """Print the metrics of an evaluation, what limits them and where they are; return the exit code."""
    fair_part = result.fair_part
    warn_skipped(console, result.skipped)
    console.note(*_evaluation_lines(result))
    console.note(*(result.gain.summary() if result.gain else ()))
    if result.robustness:
        console.note(*result.robustness.summary(), f"plot: {result.directory.perturbations_plot}")
    console.warn(*_training_image_warnings(result), *_missing_class_warnings(result))
    if metrics := result.metrics.get(fair_part, {}):
        console.warn(*doubts(metrics))
        console.note(lowest_recalls_summary(fair_part, metrics))
        if fair_part in result.confusions and (confusions := result.confusions[fair_part].summary(fair_part)):
            console.note(confusions)
    fields = ("metrics", "trained_on", "selected_on", "training_images_known")
    data = {name: getattr(result, name) for name in fields}
    data |= {"gain": result.gain.to_dict()} if result.gain else {}
    data |= {"robustness": result.robustness.to_dict()} if result.robustness else {}
    data |= {"class_map": dict(result.class_map)} if result.class_map else {}
    missing = list(result.classes_without_images(next(iter(result.metrics))))
    data |= {"classes_without_images": missing, "skipped": [*map(vars, result.skipped)]}
    console.output(result.directory.path, **data)
    return DONE_WITH_SKIPPED if result.skipped else DONE


def _evaluation_lines(result: Evaluation) -> Iterator[str]:
    """Yield a line per part; of a network with its own classes also how many of them were evaluated."""
    for part, metrics in result.metrics.items():
        if not result.is_imagenet:
            yield summary(part, metrics)
            continue
        classes = len(result.confusions[part].class_names)
        yield top_summary(part, metrics, classes)
        if part == next(iter(result.metrics)):
            present = classes - len(result.classes_without_images(part))
            yield f"{part:5} {present:,} of the {classes:,} ImageNet classes have images here"


def warn_skipped(console: Console, skipped: Sequence[Skipped]) -> None:
    """Print a warning about each file that could not be read."""
    console.warn(*(f"skipped {item.path}: {item.reason}" for item in skipped))


def code_with_folder(console: Console, code: int, left_out: Mapping[str, int]) -> int:
    """Return the exit code of a command on a folder: not 0 if a part of the folder could not be read."""
    if not has_unreadable_folders(left_out):
        return code
    console.warn(f"the images in folders that cannot be read are missing; {describe_left_out(left_out)}")
    return code or DONE_WITH_SKIPPED


def note_left_out(console: Console, left_out: Mapping[str, int]) -> None:
    """Print how many files in folders are not images, by kind."""
    if text := describe_left_out(left_out):
        console.note(text)


def _training_image_warnings(result: Evaluation) -> list[str]:
    """Return warnings if the model was, or may have been, trained on evaluated images."""
    warnings = []
    if result.is_imagenet:
        warnings.append(
            "the network was trained on the ImageNet training set (ILSVRC 2012): if images are from there, the score "
            "is too optimistic"
        )
    elif not result.training_images_known:
        warnings.append(
            "this model does not record its training images; if these images are among them, the score is meaningless"
        )
    if not result.trained_on and not result.selected_on:
        return warnings
    trained, selected = str(result.trained_on), str(result.selected_on)
    if result.fair_part not in result.metrics:
        trained, selected = trained if result.selected_on else "all", "the rest"
    text = f"the model was trained on {trained} of these images"
    if result.selected_on:
        text += f", and {selected} were used to select it (epoch, temperature, thresholds, rejection)"
    fair = result.metrics.get(result.fair_part, {}).get("accuracy")
    without = f"; the accuracy without them is {fair['value']:.3f}" if fair else ""
    return [*warnings, f"{text}: the score is too optimistic{without}"]


def _missing_class_warnings(result: Evaluation) -> list[str]:
    """Return warnings about classes without images."""
    warnings, known = [], set[str]()
    parts = ((next(iter(result.metrics)), ""), (result.fair_part, "unseen "))
    # A network with its own classes may be evaluated on a few of them.
    for part, kind in () if result.is_imagenet else parts:
        if names := [name for name in result.classes_without_images(part) if name not in known]:
            listed = ", ".join(names[:_MAX_CLASSES]) + (", ..." if len(names) > _MAX_CLASSES else "")
            evaluated = "this class is" if len(names) == 1 else "these classes are"
            warnings.append(f"no {kind}images of {listed}: {evaluated} not evaluated")
        known |= {*names}
    metrics = result.metrics.get(result.fair_part, {})
    present = [name for name, metric in metrics.items() if name.startswith(SUPPORT) and metric["value"]]
    if len(present) == 1 and "accuracy" in metrics:
        warnings.append(
            f"all evaluated images are of the class {present[0].removeprefix(SUPPORT)}: the accuracy is the recall of "
            "this class, and cannot show whether other images are taken for it"
        )
    return warnings


def end_of_prediction(
    console: Console,
    rows: int,
    skipped: Sequence[Skipped],
    output: Path | None,
    unknown: int | None = None,
    left_out: Sequence[str] = (),
) -> int:
    """Print how many images were predicted, labelled `unknown` and skipped; return the exit code."""
    warn_skipped(console, skipped)
    rejected = "" if unknown is None else f", {unknown} of them labelled `unknown`"
    console.note(f"{counted(rows, 'image')} predicted{rejected}, {len(skipped)} skipped")
    if output:
        counts = {"rows": rows} | ({} if unknown is None else {"unknown": unknown})
        left = {LEFT_OUT: [*left_out]} if left_out else {}
        console.output(output, **counts, **left, skipped=[*map(vars, skipped)])
    return DONE_WITH_SKIPPED if skipped else DONE


def end_of_explanation(console: Console, result: Explanations, boxes: Path | None = None) -> int:
    """Print how faithful the saliency maps are, where they and their boxes are and what was skipped."""
    warn_skipped(console, result.skipped)
    console.note(*(row.summary() for row in result.rows[:_MAX_LISTED]))
    if len(result.rows) > _MAX_LISTED:
        console.note(f"and {len(result.rows) - _MAX_LISTED} more, in {result.table}")
    faithful = sum(row.faithfulness.is_faithful for row in result.rows)
    if len(result.rows) > 1:
        all_maps = f"{len(result.rows)} saliency maps"
        console.note(f"{faithful} of {all_maps} are faithful (better than random, class detected)")
    if boxes:
        count = sum(row.box is not None for row in result.rows)
        console.note(f"{counted(count, 'box')} (weak localisation, not a detector): {boxes}")
    explanations = [row.to_dict() | ({"box": row.box} if boxes else {}) for row in result.rows]
    console.output(result.target, explanations=explanations, skipped=[*map(vars, result.skipped)])
    return DONE_WITH_SKIPPED if result.skipped else DONE
