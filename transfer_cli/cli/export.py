"""``transfer-cli export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transfer_cli.catalog import export_formats
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import pictures_option
from transfer_cli.cli._summaries import megabytes
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.export.export import Exported

_FORMATS = "\b\nFormats:\n" + "\n".join(
    f"    {spec.name:<15}{spec.summary}" for spec in export_formats.EXPORTERS.values()
)


@click.command("export", epilog=_FORMATS)
@click.argument("model", metavar="RUN|BUNDLE")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME,...",
    default=(export_formats.LITERT,),
    show_default=True,
    help=f"Of {', '.join(export_formats.names())}; or {export_formats.ALL} that can be had here.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="[RUN/export, or export]")
@pictures_option
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="How many points of accuracy on test a file in int8 may lose.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    formats: tuple[str, ...],
    output: Path | None,
    images: Path | None,
    max_drop: float,
) -> None:
    """Write a classifier for phones, browsers, servers and other programs, and prove that it says the same.

    Every file takes pictures as uint8 RGB of shape (n, size, size, 3) and gives a probability a class; class names,
    size and the way to resize are in it. Each is asked about pictures of val (of test where there is no val) in its own
    runtime before it is handed over: where one gets another class, or a probability is off by more than 0.0001, there
    is no file and the exit code is 6. Files in int8 are calibrated on train pictures and may lose --max-drop points of
    accuracy on test. A bundle without its run needs --images: any folder of pictures.

    \b
    Example:
        transfer-cli export runs/first
        transfer-cli export runs/first --format onnx,openvino,litert-int8 -o deployed
        transfer-cli predict runs/first/export/model.tflite photos/
    """
    from transfer_cli.runs.evaluation_directory import run_with

    console = ctx.ensure_object(Console)
    wanted = [name.strip() for names in formats for name in names.split(",") if name.strip()] or list(formats)
    run = run_with(model)
    target = output or (run.path if run else Path()) / "export"

    from transfer_cli.export.export import export, formats_for, judge
    from transfer_cli.export.output_folder import must_be_free

    specs = formats_for(model, wanted, console)
    must_be_free(target, specs)
    if max_drop != max_drop:
        raise click.UsageError("--max-drop is no number. Expected points of accuracy, 1 say.", ctx)
    made = export(model, specs, target, images=images, max_drop=max_drop, progress=console)
    _say(console, made, target)
    judge(made)


def _say(console: Console, made: list[Exported], target: Path) -> None:
    header = ("format", "file", "size", "ms a picture", "most off", "other answers", "accuracy lost")
    rows = []
    for each in made:
        rows.append(
            (
                each.spec.name,
                each.path.name if each.path else "refused",
                megabytes(each.size),
                f"{each.milliseconds:.2f}",
                f"{each.parity.deviation:.1e}",
                f"{each.parity.changed} of {each.parity.images}",
                each.drop.summary if each.drop else "",
            )
        )
    console.table(header, rows, {"output": str(target), "formats": [each.to_dict() for each in made]})
    compared = counted(max(each.parity.images for each in made), "picture")
    console.note(f"{target}: each was asked about {compared}, as the model was, in its own runtime")
