"""``transfer-cli auto``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    bit_depth_option,
    cache_option,
    candidate_options,
    command_words,
    group_option,
    keywords,
    min_accuracy_option,
    output_option,
    overwrite_run_option,
    seed_option,
    set_resume_hint,
    split_option,
    strict_option,
    table_options,
    time_budget_option,
)
from transfer_cli.cli._summaries import code_with_folder, end_of_training
from transfer_cli.cli._types import PATH


@click.command("auto", short_help="Train several models in a given time and keep the best.")
@click.argument("folder", type=PATH)
@table_options
@output_option("RUN", "Folder of the run to write.  [runs/auto-FOLDER]")
@time_budget_option("Target time for the whole command, e.g. 90s, 10m, 1h30m.  [10m]", default="10m")
@candidate_options
@group_option(near_duplicates=False)
@split_option
@seed_option(default=0)
@strict_option
@min_accuracy_option
@bit_depth_option
@overwrite_run_option
@cache_option
@pass_console
def command(console: Console, /, folder: Path, **options: Any) -> int:
    """Train several models within a time limit, keep the best, test it once and write an HTML report.

    FOLDER has one sub-folder of images per class. The steps: hold out test images; check the other images; rank the
    networks whose pretrained weights are installed; train the best two by extract and finetune; combine them into an
    ensemble; select the model that is best on the validation images; evaluate it once on the test images. If the
    command is interrupted, run it again: only the missing steps are done.

    \b
    Example:
        transfer-cli auto photos
        transfer-cli auto photos --time-budget 30m --among 'mobilenet*,efficientnet*' -o runs/best
    """
    begun = time.monotonic()

    from transfer_cli.training_options import auto_request, naming

    set_resume_hint("Finished steps are")
    options = {**keywords(console, options), "begun": begun}
    request, recipe = auto_request(folder, options, command_words(), console)

    from transfer_cli.auto.auto import auto

    code = end_of_training(console, naming(options)(request, lambda own: auto(own, recipe)))
    return code_with_folder(console, code, request.folder.left_out)
