"""``transfer-cli leaks``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED


@click.command("leaks")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.csv", help="[RUN/leaks.csv]")
@click.pass_context
def command(ctx: click.Context, /, run: Path, output: Path | None) -> None:
    """Find pictures that RUN was tested on and had learnt from.

    Lists pictures that are in two parts, or in two classes: byte for byte, or as copies that were re-encoded, resized,
    cropped, mirrored or brightened; and the score without them. Pictures that are gone or have changed since are left
    out.

    \b
    Example:
        transfer-cli leaks runs/first
        transfer-cli leaks runs/first -o leaks.csv
    """
    from transfer_cli.runs.completed_run import FinishedRun

    console = ctx.ensure_object(Console)
    finished = FinishedRun.read(run)

    from transfer_cli.audit.leakage import leaks, must_be_replaceable, summary

    target = output or finished.directory.leaks
    if target.suffix.lower() != ".csv":
        raise click.UsageError(f"{target} is no CSV file. Expected a name that ends in .csv.", ctx)
    must_be_replaceable(target)
    found = leaks(finished, progress=console)
    for line in summary(found):
        console.note(line)
    if found.across_classes:
        console.note("where a copy bears another label, correct the label first: one of the two is wrong")
    if found.across_parts:
        console.note("next time they stay together: --group-by near-duplicates, with --overwrite or another -o RUN")
    if found.skipped:
        console.warn(f"{len(found.skipped)} pictures of the run cannot be read any more: {found.skipped[0].path}, ...")
    if found.changed:
        console.warn(
            f"{len(found.changed)} pictures are others than those that the run was made of, and were left out: "
            f"{found.changed[0]}, ..."
        )
    # Said before it is written: what was found in minutes is not lost to a full disk.
    found.write(target)
    facts = {
        "output": str(target),
        "across_parts": [leak.to_dict() for leak in found.across_parts],
        "across_classes": [leak.to_dict() for leak in found.across_classes],
        "leaked": list(found.leaked),
        "figure": found.figure,
        "with_leaked": found.with_leaked,
        "without_leaked": found.without_leaked,
        "skipped": [asdict(item) for item in found.skipped],
        "changed": list(found.changed),
    }
    console.result(str(target), facts)
    ctx.exit(DONE_WITH_SKIPPED if found.skipped or found.changed else DONE)
