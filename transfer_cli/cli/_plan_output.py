"""The output of ``finetune --plan``, as text or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from transfer_cli.cli._console import Console
from transfer_cli.text import counted, duration_text, megabytes

if TYPE_CHECKING:
    from transfer_cli.training.planning.estimate import Plan, StagePlan


def print_plan(console: Console, plan: Plan, bags: int = 1) -> None:
    """Print a plan as the result of the command; with --bags the plan is that of one bag."""
    lines = [_split_line(part, plan.images[part], counts) for part, counts in plan.images_per_class.items()]
    if few := plan.classes_with_few_images:
        lines.append(f"few training images: {', '.join(few)}")
    if plan.skipped:
        lines.append(f"{counted(plan.skipped, 'image')} cannot be read and will be skipped")
    lines += [_stage_line(number, stage) for number, stage in enumerate(plan.stages, start=1)]
    if plan.refit:
        lines.append("refit: afterwards trained again on train + val, for the best number of epochs")
    else:
        lines.append("refit: none (validation images are not used for training)")
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in plan.seconds.items() if seconds)
    lines.append(f"time: about {duration_text(plan.total_seconds)} for all epochs ({phases}); less with early stopping")
    lines.append(f"memory: about {megabytes(plan.memory_bytes)}")
    run = f"{megabytes(plan.run_bytes)} for the run, of which {megabytes(plan.bundle_bytes)} for the model"
    lines.append(f"disk: {run}; {megabytes(plan.scratch_bytes)} for temporary files")
    for file in plan.weights:
        state = "installed" if file.is_downloaded else "to be downloaded"
        lines.append(f"pretrained weights: {file.name}, {file.megabytes:.1f} MB, {state}")
    lines += [] if plan.weights else ["pretrained weights: nothing to download"]
    data = {**asdict(plan), "classes_with_few_images": few, "total_seconds": plan.total_seconds}
    if bags > 1:
        lines.append(f"this is 1 of {bags} bags; all take about {duration_text(bags * plan.total_seconds)}")
        data |= {"bags": bags, "seconds_of_all_bags": bags * plan.total_seconds}
    console.result("\n".join(lines), data)
    console.note("dry run: nothing was written")


def _split_line(part: str, images: int, counts: Mapping[str, int]) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:20])
    return f"{part}: {counted(images, 'image')} ({classes}{', ...' if len(counts) > 20 else ''})"


def _stage_line(number: int, stage: StagePlan) -> str:
    views = {
        None: "no frozen layers",
        0: "new random variants of the images in each epoch",
        1: "frozen features computed once",
    }.get(stage.views, f"frozen features of {stage.views} random variants of each image, computed once")
    return (
        f"stage {number}: unfreeze {stage.unfreeze}, {counted(stage.parameters, 'trainable parameter')}, "
        f"{counted(stage.epochs, 'epoch')} of {counted(stage.steps, 'step')}, {views}; "
        f"{stage.prepare_seconds:.1f} s, then {stage.epoch_seconds:.1f} s/epoch"
    )
