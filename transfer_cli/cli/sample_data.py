"""``transfer-cli sample-data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import datasets
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._types import PATH
from transfer_cli.text import shell_command


@click.command("sample-data", short_help="Write sample images, or a public data set, to a folder.")
@click.argument("target", type=PATH)
@click.option(
    "--dataset",
    type=click.Choice(datasets.names()),
    help="A public data set, downloaded once.  [the sample images of transfer-cli, without a download]",
)
@click.option(
    "--images-per-class",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --dataset: at most N images per class for training, and as many for testing.  [all]",
)
@pass_console
def command(console: Console, /, target: Path, **options: Any) -> None:
    """Copy the sample images that come with transfer-cli to the folder TARGET, to try things out.

    With --dataset, MNIST (handwritten digits), CIFAR-10 or CIFAR-100 (small photographs) is downloaded from the address
    that Keras uses, checked by its digest, and written as PNG files: TARGET/train/CLASS and TARGET/test/CLASS.

    \b
    Example:
        transfer-cli sample-data patterns
        transfer-cli sample-data digits --dataset mnist --images-per-class 100
    """
    from transfer_cli.datasets.sample_data import write_sample_data

    folder = write_sample_data(target, **options, offline=console.offline, progress=console)
    words = () if options["dataset"] else ("--backbone", "embedded")
    console.note(f"next: {shell_command('transfer-cli', 'extract', folder, *words)}")
    console.result(str(folder), {"folder": str(folder)})
