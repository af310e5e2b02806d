"""``transfer-cli export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transfer_cli.catalog import export_formats
from transfer_cli.cli._completion import complete_formats, complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import images_option, output_option
from transfer_cli.text import counted, megabytes

if TYPE_CHECKING:
    from transfer_cli.export.results import ExportResult

_FORMATS = "\b\nFormats:\n" + "\n".join(
    f"    {spec.name:<15}{spec.summary}" for spec in export_formats.EXPORT_FORMATS.values()
)


@click.command("export", epilog=_FORMATS, short_help="Export a model to TFLite, ONNX, OpenVINO and others.")
@click.argument("model", metavar="RUN|BUNDLE", shell_complete=complete_models)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME,...",
    shell_complete=complete_formats,
    default=(export_formats.LITERT,),
    show_default=True,
    help=f"File formats, comma-separated (see below), or {export_formats.ALL}: every format whose packages are "
    "installed.",
)
@output_option("DIR", "Folder to write.  [RUN/export, or export for a bundle]")
@images_option
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Reject an int8 file that loses more than this many percentage points of test accuracy.",
)
@pass_console
def command(
    console: Console, model: str, formats: tuple[str, ...], output: Path | None, images: Path | None, max_drop: float
) -> None:
    """Export a trained model to Keras, SavedModel, TFLite, ONNX or OpenVINO, and verify each file.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it. Input of every file: uint8 RGB
    images from 0 to 255, of shape (n, size, size, 3). Output: one probability per class. Class names, size and resize
    method are stored in the file. Before a file is written, its predictions on the validation images (and on test and
    training images if these are fewer than 8) are compared with the model's: if a label changes, or a probability
    differs by more than 0.0001, no file is written and the exit code is 6. int8 files are calibrated on training images
    and may lose --max-drop points of test accuracy. A bundle without its run needs --images: any folder of images.

    \b
    Example:
        transfer-cli export runs/first
        transfer-cli export runs/first --format onnx,openvino,litert-int8 -o deployed
        transfer-cli predict runs/first/export/model.tflite photos/
    """
    from transfer_cli.runs.run_of_model import run_of_model

    names = [name.strip() for part in formats for name in part.split(",") if name.strip()] or list(formats)
    run = run_of_model(model)
    target = output or (run.path if run else Path()) / "export"

    from transfer_cli.export.export import export
    from transfer_cli.export.format_selection import select_formats
    from transfer_cli.export.output_folder import check_output_folder
    from transfer_cli.export.results import check_results

    specs = select_formats(model, names, console)
    check_output_folder(target, specs)
    if max_drop != max_drop:
        raise click.UsageError("--max-drop is not a number. Expected percentage points of accuracy, e.g. 1.")
    results = export(model, specs, target, images=images, max_drop=max_drop, progress=console)
    _print_results(console, results, target)
    check_results(results)


def _print_results(console: Console, results: list[ExportResult], target: Path) -> None:
    header = ("format", "file", "size", "ms/image", "max abs diff", "changed labels", "accuracy drop")
    rows = [
        (
            result.spec.name,
            result.path.name if result.path else "not exported",
            megabytes(result.size),
            f"{result.ms_per_image:.2f}",
            f"{result.parity.max_abs_diff:.1e}",
            f"{result.parity.changed_labels} of {result.parity.images}",
            result.drop.summary if result.drop else "",
        )
        for result in results
    ]
    console.table(header, rows, {"output": str(target), "formats": [result.to_dict() for result in results]})
    images = counted(max(result.parity.images for result in results), "image")
    console.note(f"{target}: each file was compared with the model on {images}, in its own runtime")
