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
    found = leaks(finished, progress=console)
    for line in summary(found):
        console.note(line)
    if found.across_classes:
        console.note("duplicates with different labels: correct the wrong label first")
    if found.across_splits:
        console.note(
            "to keep duplicates in one split, train again with --group-by near-duplicates and with --overwrite (or "
            "another -o RUN)"
        )
    if found.skipped:
        console.warn(
            f"{counted(len(found.skipped), 'image')} of the run could not be read: {found.skipped[0].path}, ..."
        )
    if found.changed:
        console.warn(
            f"{counted(len(found.changed), 'image')} changed since the run was trained and were left out: "
            f"{found.changed[0]}, ..."
        )
    # Printed before it is written, so that a full disk does not lose the result of minutes of work.
    found.write(target)
    facts = {
        "output": str(target),
        "across_splits": [leak.to_dict() for leak in found.across_splits],
        "across_classes": [leak.to_dict() for leak in found.across_classes],
        "leaked_test_images": list(found.leaked_test_images),
        "metric": found.metric,
        "score_with_leaks": found.score_with_leaks,
        "score_without_leaks": found.score_without_leaks,
        "skipped": [asdict(item) for item in found.skipped],
        "changed": list(found.changed),
    }
    console.result(str(target), facts)
    ctx.exit(DONE_WITH_SKIPPED if found.skipped or found.changed else DONE)
