"""``transfer-cli leaks``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED


@click.command("leaks")
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, /, run: Path) -> None:
    """Find pictures that RUN was tested on and had learnt from.

    Lists pictures that are in two parts, or in two classes: byte for byte, or as copies that were re-encoded, resized,
    cropped, mirrored or brightened; and the score without them. The list is written into the run.

    \b
    Example:
        transfer-cli leaks runs/first
    """
    from transfer_cli.finished import FinishedRun

    console = ctx.ensure_object(Console)
    finished = FinishedRun.read(run)

    from transfer_cli.engine.leaks import in_words, leaks

    found = leaks(finished, progress=console)
    target = finished.directory.leaks
    found.write(target)
    for line in in_words(found):
        console.note(line)
    if found.found:
        console.note("next time they stay together: --group-by near-duplicates, with --overwrite or another -o RUN")
    if found.skipped:
        console.warn(f"{len(found.skipped)} pictures of the run cannot be read any more: {found.skipped[0].path}, ...")
    facts = {
        "output": str(target),
        "across_parts": [leak.facts() for leak in found.across_parts],
        "across_classes": [leak.facts() for leak in found.across_classes],
        "leaked": list(found.leaked),
        "figure": found.figure,
        "with_leaked": found.with_leaked,
        "without_leaked": found.without_leaked,
        "skipped": [asdict(item) for item in found.skipped],
    }
    console.result(str(target), facts)
    ctx.exit(DONE_WITH_SKIPPED if found.skipped else DONE)
