"""``transfer-cli finetune``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    backbone_options,
    bags_options,
    command_words,
    keywords,
    repeats_option,
    set_resume_hint,
    table_options,
    time_budget_option,
    training_options,
)
from transfer_cli.cli._plan_output import print_plan
from transfer_cli.cli._stage_options import check_given_once, note_last_stage, stage_options
from transfer_cli.cli._summaries import code_with_folder, end_of_ensemble, end_of_repeats, end_of_training
from transfer_cli.cli._types import PATH
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED


@click.command("finetune", short_help="Train the network itself: slower, usually more accurate.")
@click.argument("folder", type=PATH)
@table_options
@backbone_options
@stage_options
@bags_options
@repeats_option
@training_options
@click.option(
    "--unlabelled",
    type=click.Path(),
    metavar="DIR",
    help="Also train on the unlabelled images in DIR (pseudo-labelling).",
)
@click.option(
    "--plan",
    "plans",
    is_flag=True,
    help="Dry run: print split, epochs and estimated time, memory, disk; train nothing.",
)
@time_budget_option("Reduce the epochs so that the command ends within this time, e.g. 10m.  [no limit]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]),
    help="Number format during training; the mixed ones are for GPUs.  [float32]",
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs (view: tensorboard --logdir RUN).")
@pass_console
def command(
    console: Console, /, folder: Path, bags: int | None, repeats: int | None, plans: bool, **options: Any
) -> int:
    """Train the network itself on your images: slower than extract, usually more accurate.

    First a new classification head is trained on the pretrained network, then also the upper layers of the network.
    Layers, epochs, learning rates and image augmentation are set by the recipe (see: transfer-cli recipes list);
    --epochs, --lr, --batch-size and --set change single settings of it. FOLDER is as for extract: one sub-folder of
    images per class, or a CSV file. If the command is interrupted, run it again: it continues after the last finished
    epoch.

    \b
    Example:
        transfer-cli finetune photos
        transfer-cli finetune photos --plan
        transfer-cli finetune photos --time-budget 10m
        transfer-cli finetune photos_2025 --weights runs/photos-2024
        transfer-cli finetune photos --recipe imbalanced --epochs 3 --batch-size 16
    """
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.system import process_age_seconds
    from transfer_cli.training_options import finetune_job

    begun = time.monotonic() - process_age_seconds()
    options = {**keywords(console, options), "bags": bags, "repeats": repeats, "begun": begun}
    job = finetune_job(folder, options, command_words(), console)
    assert isinstance(job.recipe, FinetuneRecipe)
    check_given_once(job.recipe, options)
    note_last_stage(console, job.recipe, options)
    if plans:
        if bags and job.request.time_budget:
            raise click.UsageError("--plan cannot be combined with both --bags and --time-budget.")
        planned = job.plan()
        print_plan(console, planned, bags or 1)
        return DONE_WITH_SKIPPED if planned.skipped else DONE

    set_resume_hint("Finished epochs are", options["overwrite"])
    if repeats:
        return code_with_folder(console, end_of_repeats(console, job.run_repeats()), job.request.folder.left_out)
    code = end_of_ensemble(console, job.run(), of_bags=True) if bags else end_of_training(console, job.run())
    return code_with_folder(console, code, job.request.folder.left_out)
