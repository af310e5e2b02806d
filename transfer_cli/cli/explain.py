"""``transfer-cli explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog.explainers import names
from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import cache_of, cache_option, runtime_option
from transfer_cli.cli._summaries import end_of_explanation


@click.command("explain", short_help="Draw saliency maps of what a prediction is based on.")
@click.argument("model", metavar="RUN|BUNDLE")
@click.argument("images", nargs=-1, type=click.Path(), metavar="IMAGES...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write (with --filters or --activations: PNG file).  [RUN/explanations]",
)
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
@click.option("--layer", metavar="NAME", help="Layer that Grad-CAM uses.  [last convolutional layer]")
@click.option("--filters", is_flag=True, help="Instead: save the filters of the first convolutional layer (no IMAGES).")
@click.option("--activations", metavar="LAYER", help="Instead: save the activation maps of LAYER for one image.")
@runtime_option
@cache_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    images: tuple[str, ...],
    output: Path | None,
    classes: tuple[str, ...],
    filters: bool,
    activations: str | None,
    **options: Any,
) -> None:
    """Draw saliency maps (Grad-CAM, occlusion) of what a prediction is based on, and test each map.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it; IMAGES are files or folders. For
    each image a saliency map (heat map) is drawn over it, from black to red to yellow where the evidence for the class
    is strongest, and explanations.csv gets a row. Each map is tested: if the regions it marks are blurred step by step,
    does the prediction change sooner than with random regions (deletion and insertion scores)? If so the map is called
    faithful. Unreadable images are listed on stderr, with exit code 5.

    \b
    Example:
        transfer-cli explain runs/first sample_data/patterns/dots
        transfer-cli explain runs/first photo.jpg --class dots --class rings --method occlusion -o why
        transfer-cli explain runs/first --filters
        transfer-cli explain runs/first photo.jpg --activations Conv1_relu
    """
    console = ctx.ensure_object(Console)
    if filters or activations:
        unused = [f"--{word}" for word in ("method", "layer", "runtime") if options[word]] + ["--class"] * bool(classes)
        if filters and activations:
            raise click.UsageError("Expected --filters or --activations, not both.", ctx)
        if unused:
            raise click.UsageError(f"{unused[0]} cannot be combined with --filters or --activations.", ctx)
        if len(images) != bool(activations):
            expected = "--activations LAYER needs exactly one image" if activations else "--filters takes no images"
            raise click.UsageError(f"{expected}. Received: {len(images)}.", ctx)
        _draw(console, model, activations, images, output)
        return
    if not images:
        raise click.UsageError("Missing argument 'IMAGES...'.", ctx)
    ctx.exit(_explain(console, model, images, output, classes, options))


def _explain(
    console: Console,
    model: str,
    images: tuple[str, ...],
    output: Path | None,
    classes: tuple[str, ...],
    options: dict[str, Any],
) -> int:
    from transfer_cli.io.discovery import expand_paths, require_paths
    from transfer_cli.runs.run_of_model import run_of_model

    run = run_of_model(model)
    target = output or (run.explanations if run else Path("explanations"))
    files = require_paths(expand_paths(images))

    from transfer_cli.explain.explain import Explainable, check_replaceable, explain

    check_replaceable(target)
    with console.track("loading the model", None):
        opened = Explainable(
            model,
            method=options["method"],
            layer=options["layer"],
            runtime=options["runtime"] or AUTO,
            cache=cache_of(options),
            progress=console,
        )
    return end_of_explanation(console, explain(opened, files, target, class_names=classes, progress=console))


def _draw(console: Console, model: str, activations: str | None, images: tuple[str, ...], output: Path | None) -> None:
    from transfer_cli.runs.run_of_model import run_of_model

    run = run_of_model(model)
    plots = run.plots if run else Path("plots")
    name = "filters" if activations is None else f"activations-{activations}-{Path(images[0]).stem}"
    target = output or plots / f"{name}.png"

    from transfer_cli.rendering.png_provenance import EXPLAIN, check_png_target

    check_png_target(target, EXPLAIN)

    from transfer_cli.quiet_imports import import_tensorflow

    with console.track("starting TensorFlow", None):
        import_tensorflow()
    from transfer_cli.explain.network_visualization import draw_activations, draw_filters

    if activations is None:
        count = draw_filters(model, target)
        console.note(f"{count} filters of the first convolutional layer, each scaled separately; grey is 0")
    else:
        count = draw_activations(model, activations, images[0], target)
        console.note(f"{count} activation maps of {activations} with their channel numbers, highest activation first")
    console.result(str(target), {"output": str(target), "drawn": count})
