"""A plan of a fine-tuning, for a person or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from transfer_cli.cli._console import Console
from transfer_cli.cli._summaries import megabytes

if TYPE_CHECKING:
    from transfer_cli.training.planning.estimate import Plan, StagePlan


def say_plan(console: Console, plan: Plan, bags: int = 1) -> None:
    """Print a plan as the product; that of a bag, where there are several."""
    from transfer_cli.text import seconds_in_words

    lines = [_of_part(part, plan.images[part], counts) for part, counts in plan.parts.items()]
    if plan.few:
        lines.append(f"few pictures to learn from: {', '.join(plan.few)}")
    if plan.skipped:
        lines.append(f"{plan.skipped} pictures cannot be read, and are left out")
    lines += [_of_stage(number, stage) for number, stage in enumerate(plan.stages, start=1)]
    if plan.refit:
        lines.append("then again on the pictures of train and val together, as many epochs as did best on val")
    else:
        lines.append("no second round with the pictures of val")
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in plan.seconds.items() if seconds)
    lines.append(
        f"time: about {seconds_in_words(plan.total_seconds)} with every epoch ({phases}); less if it stops early"
    )
    lines.append(f"memory: about {megabytes(plan.memory_bytes)}")
    kept = f"{megabytes(plan.run_bytes)} for the run, {megabytes(plan.bundle_bytes)} for the model in it"
    lines.append(f"disk: {kept}, {megabytes(plan.scratch_bytes)} while it lasts")
    for file in plan.weights:
        lines.append(f"weights: {file.name}, {file.megabytes:.1f} MB, {'here' if file.here else 'to be downloaded'}")
    lines += [] if plan.weights else ["weights: none to be downloaded"]
    facts = {**asdict(plan), "few": plan.few, "total_seconds": plan.total_seconds}
    if bags > 1:
        lines.append(f"this is one of {bags} bags: all take about {seconds_in_words(bags * plan.total_seconds)}")
        facts |= {"bags": bags, "seconds_of_all_bags": bags * plan.total_seconds}
    console.result("\n".join(lines), facts)
    console.note("nothing was written")


def _of_part(part: str, images: int, counts: Mapping[str, int]) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:20])
    return f"{part} {images}: {classes}{', ...' if len(counts) > 20 else ''}"


def _of_stage(number: int, stage: StagePlan) -> str:
    views = {
        None: "no frozen layers",
        0: "pictures drawn afresh in each epoch",
        1: "1 view of each picture kept",
    }.get(stage.views, f"{stage.views} views of each picture kept")
    return (
        f"stage {number}: unfreeze {stage.unfreeze}, {stage.parameters:,} parameters learn, {stage.epochs} epochs of "
        f"{stage.steps} steps, {views}; {stage.preparing_seconds:.1f} s, then {stage.epoch_seconds:.1f} s an epoch"
    )
