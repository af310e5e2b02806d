"""``transfer-cli leaks``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import check_suffix, images_option, output_option
from transfer_cli.cli._types import PATH
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted, shell_command

if TYPE_CHECKING:
    from transfer_cli.runs.completed_run import FinishedRun


@click.command("leaks", short_help="Find test images that are also in the training set.")
@click.argument("run", type=PATH, shell_complete=complete_models)
@output_option("FILE.csv", "File to write.  [RUN/leaks.csv]")
@images_option
@pass_console
def command(console: Console, /, run: Path, output: Path | None, images: Path | None) -> int:
    """Find data leakage: test images that are also (or almost) in the training set.

    RUN is the folder that a training command wrote. Lists images that occur in two splits (e.g. train and test) or in
    two classes: identical files and near-duplicates (re-encoded, resized, cropped, mirrored or brightened copies); and
    the test accuracy without them. Images that are missing or have changed since training are skipped.

    \b
    Example:
        transfer-cli leaks runs/first
        transfer-cli leaks runs/first -o leaks.csv
    """
    from transfer_cli.runs.completed_run import FinishedRun

    finished = FinishedRun.read(run, images)

    from transfer_cli.audit.leakage import check_leaks_file, leaks, summary
    from transfer_cli.runs.earlier_images import count_trained_earlier

    target = output or finished.directory.leaks
    check_suffix(target, ".csv")
    check_leaks_file(target)
    result = leaks(finished, progress=console)
    console.note(*summary(result))
    if seen := count_trained_earlier(finished.directory, finished.split):
        console.warn(f"{counted(seen, 'held-out image')} were training images of the run that this one started from")
    if result.across_classes:
        console.note("duplicates with different labels: correct the wrong label first")
    if result.across_splits:
        options = "--group-by near-duplicates and with --overwrite (or another -o RUN)"
        console.note(f"to keep duplicates in one split, train again with {options}")
    if result.pairs:
        console.note(f"to leave out one image of each pair, both if their labels differ: {_cleaning(finished, target)}")
    if result.skipped:
        skipped = counted(len(result.skipped), "image")
        console.warn(f"{skipped} of the run could not be read: {result.skipped[0].path}, ...")
    if result.changed:
        changed = counted(len(result.changed), "image")
        console.warn(f"{changed} changed since the run was trained and were left out: {result.changed[0]}, ...")
    # Printed before it is written, so that a full disk does not lose the result of minutes of work.
    result.write(target)
    pairs = {name: [leak.to_dict() for leak in getattr(result, name)] for name in ("across_splits", "across_classes")}
    fields = ("leaked_test_images", "metric", "score_with_leaks", "score_without_leaks", "skipped", "changed")
    values = {name: getattr(result, name) for name in fields}
    console.output(target, **pairs, **values | {"skipped": [*map(vars, result.skipped)]})
    return DONE_WITH_SKIPPED if result.skipped or result.changed else DONE


def _cleaning(run: FinishedRun, leaks: Path) -> str:
    """Return the command that trains without the leaking images, with the class map of the run."""
    directory, method = run.directory, str(run.recipe.get("method"))
    class_map = ["--class-map", str(directory.class_map)] if directory.class_map.is_file() else []
    words = [method if method == "finetune" else "extract", str(run.source), *class_map, "--omit", str(leaks)]
    return shell_command(*["transfer-cli", *words, "-o", f"{directory.path}-cleaned"])
