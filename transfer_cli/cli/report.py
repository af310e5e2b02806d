"""``transfer-cli report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import pictures_option
from transfer_cli.text import counted


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page to write.  [RUN/report.html]")
@pictures_option
@click.option("--overwrite", is_flag=True, help="Write it anew though most pictures are gone.")
@click.option("--open", "open_", is_flag=True, help="Show it in the browser, where there is a terminal.")
@click.pass_context
def command(
    ctx: click.Context, run: Path, output: Path | None, images: Path | None, overwrite: bool, open_: bool
) -> None:
    """Write one page about RUN: how good it is, where it fails and why, and what to do next.

    The page is one file with its pictures in it; it needs no network and can be sent to anybody. A section that cannot
    be made is left out, and the page says why.

    \b
    Example:
        transfer-cli report runs/first
        transfer-cli report runs/first -o first.html --open
    """
    from transfer_cli.io.atomic import must_be_writable
    from transfer_cli.runs.completed_run import FinishedRun

    console = ctx.ensure_object(Console)
    finished = FinishedRun.read(run, images)
    target = output or finished.directory.report
    if target.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{target} is no page. Expected a name that ends in .html.", ctx)
    must_be_writable(target)
    finished.must_not_lose(target, overwrite=overwrite)

    from transfer_cli.cli._summaries import megabytes
    from transfer_cli.report.report import report

    made = report(finished, target, progress=console)
    for finding in made.findings:
        console.note(f"{finding.name}: {finding.seen}")
    if made.gone:
        console.warn(f"not in {finished.root} any more, and placeholders on the page: {counted(made.gone, 'picture')}")
    console.note(f"{counted(made.images, 'picture')}, {megabytes(made.size)}")
    facts = {
        "report": str(made.path),
        "bytes": made.size,
        "images": made.images,
        "gone": made.gone,
        "left_out": made.left_out,
        "findings": [
            {"name": finding.name, "weight": finding.weight, "seen": finding.seen} for finding in made.findings
        ],
    }
    console.result(str(made.path), facts)
    if open_ and sys.stderr.isatty():
        click.launch(str(made.path.resolve()))
