"""``transfer-cli explain``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog.explainers import names
from transfer_cli.cli._completion import complete_layers, complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import cache_option, loading, output_option, runtime_option
from transfer_cli.cli._summaries import end_of_explanation, note_left_out
from transfer_cli.cli._types import PATH


@click.command("explain", short_help="Draw saliency maps of what a prediction is based on.")
@click.argument("model", metavar="RUN|BUNDLE|imagenet:NAME", shell_complete=complete_models)
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGES...")
@output_option("DIR", "Folder to write.  [RUN/explanations]")
@click.option(
    "--method",
    type=click.Choice(names()),
    help="Method of the saliency map.  [grad-cam; occlusion where there are no gradients]",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Explain this class instead of the predicted one (repeatable).",
)
@click.option(
    "--layer",
    metavar="NAME",
    shell_complete=complete_layers,
    help="Layer that Grad-CAM uses.  [last convolutional layer]",
)
@click.option(
    "--write-boxes",
    type=PATH,
    metavar="FILE",
    help="Also write a box around each saliency map as JSON (MegaDetector format). Weak localisation: a box encloses "
    "what the prediction is based on; the model is not a detector.",
)
@runtime_option
@cache_option
@pass_console
def command(console: Console, /, model: str, images: tuple[str, ...], output: Path | None, **options: Any) -> int:
    """Draw saliency maps (Grad-CAM, occlusion) of what a prediction is based on, and test each map.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it, imagenet:NAME a pretrained network
    with its 1000 ImageNet classes; IMAGES are files or folders. For each image a saliency map (heat map) is drawn over
    it, from black to red to yellow where the evidence for the class is strongest, and explanations.csv gets a row. Each
    map is tested: if the regions it marks are blurred step by step, does the prediction change sooner than with random
    regions (deletion and insertion scores)? If so the map is called faithful. Unreadable images are listed on stderr,
    with exit code 5.

    \b
    Example:
        transfer-cli explain runs/first sample_data/patterns/dots
        transfer-cli explain runs/first photo.jpg --class dots --class rings --method occlusion -o why
        transfer-cli explain runs/first photos --write-boxes boxes.json
        transfer-cli explain imagenet:mobilenet_v2 photo.jpg
    """
    from transfer_cli.io.discovery import expand_paths, require_paths
    from transfer_cli.runs.run_of_model import run_of_model

    run = run_of_model(model)
    target = output or (run.explanations if run else Path("explanations"))
    left_out: Counter[str] = Counter()
    files = [*require_paths(expand_paths(images, left_out), left_out)]

    from transfer_cli.explain.boxes import check_boxes_target
    from transfer_cli.explain.explain import check_replaceable, explain
    from transfer_cli.explain.explainable import Explainable

    check_replaceable(target)
    boxes: Path | None = options["write_boxes"]
    if boxes:
        check_boxes_target(boxes, target)
    with console.track("loading the model", None):
        opened = Explainable.open(model, method=options["method"], layer=options["layer"], **loading(console, options))
    result = explain(opened, files, target, class_names=options["classes"], write_boxes=boxes, progress=console)
    note_left_out(console, left_out)
    return end_of_explanation(console, result, boxes)
