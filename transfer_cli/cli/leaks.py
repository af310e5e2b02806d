"""``transfer-cli leaks``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import check_suffix
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted


@click.command("leaks", short_help="Find test images that are also in the training set.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.csv", help="File to write.  [RUN/leaks.csv]"
)
@click.pass_context
def command(ctx: click.Context, /, run: Path, output: Path | None) -> None:
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

    console = ctx.ensure_object(Console)
    finished = FinishedRun.read(run)

    from transfer_cli.audit.leakage import check_leaks_file, leaks, summary

    target = output or finished.directory.leaks
    check_suffix(target, ".csv")
    check_leaks_file(target)
    result = leaks(finished, progress=console)
    for line in summary(result):
        console.note(line)
    if result.across_classes:
        console.note("duplicates with different labels: correct the wrong label first")
    if result.across_splits:
        console.note(
            "to keep duplicates in one split, train again with --group-by near-duplicates and with --overwrite (or "
            "another -o RUN)"
        )
    if result.skipped:
        console.warn(
            f"{counted(len(result.skipped), 'image')} of the run could not be read: {result.skipped[0].path}, ..."
        )
    if result.changed:
        console.warn(
            f"{counted(len(result.changed), 'image')} changed since the run was trained and were left out: "
            f"{result.changed[0]}, ..."
        )
    # Printed before it is written, so that a full disk does not lose the result of minutes of work.
    result.write(target)
    data = {
        "output": str(target),
        "across_splits": [leak.to_dict() for leak in result.across_splits],
        "across_classes": [leak.to_dict() for leak in result.across_classes],
        "leaked_test_images": list(result.leaked_test_images),
        "metric": result.metric,
        "score_with_leaks": result.score_with_leaks,
        "score_without_leaks": result.score_without_leaks,
        "skipped": [asdict(item) for item in result.skipped],
        "changed": list(result.changed),
    }
    console.result(str(target), data)
    ctx.exit(DONE_WITH_SKIPPED if result.skipped or result.changed else DONE)
