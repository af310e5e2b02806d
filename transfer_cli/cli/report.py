"""``transfer-cli report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import check_suffix, images_option, output_option
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted, megabytes


@click.command("report", short_help="Write an HTML report about a trained model.")
@click.argument("run", type=PATH, shell_complete=complete_models)
@output_option("FILE.html", "HTML file to write.  [RUN/report.html]")
@images_option
@click.option("--overwrite", is_flag=True, help="Rewrite although most image files are missing.")
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@pass_console
def command(
    console: Console, run: Path, output: Path | None, images: Path | None, overwrite: bool, open_: bool
) -> None:
    """Write an HTML report about a trained model: metrics, mistakes, likely causes and what to do next.

    RUN is the folder that a training command wrote. The page is one file that contains all images; it works offline and
    can be shared as it is. A section that cannot be computed is left out, and the page gives the reason.

    \b
    Example:
        transfer-cli report runs/first
        transfer-cli report runs/first -o first.html --open
    """
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.runs.completed_run import FinishedRun

    finished = FinishedRun.read(run, images)
    target = output or finished.directory.report
    check_suffix(target, ".html", ".htm")
    check_writable(target)
    finished.check_images_not_lost(target, overwrite=overwrite)

    from transfer_cli.report.report import report

    written = report(finished, target, progress=console)
    console.note(*(f"{finding.name}: {finding.evidence}" for finding in written.findings))
    if written.missing_images:
        missing = counted(written.missing_images, "image")
        console.warn(f"{missing} missing in {finished.root}: shown as placeholders (see --images)")
    console.note(f"{counted(written.images, 'image')}, {megabytes(written.size)}")
    fields = ("name", "severity", "evidence")
    findings = [{name: getattr(finding, name) for name in fields} for finding in written.findings]
    counts = {"bytes": written.size, "images": written.images, "missing_images": written.missing_images}
    data = {"report": str(written.path), **counts, "omissions": written.omissions, "findings": findings}
    console.result(str(written.path), data)
    if open_ and sys.stderr.isatty():
        click.launch(str(written.path.resolve()))
