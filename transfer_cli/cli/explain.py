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

_KINDS = "[grad-cam, or occlusion for a classifier that has no gradient]"


@click.command("explain")
@click.argument("model", metavar="RUN|BUNDLE")
@click.argument("images", nargs=-1, type=click.Path())
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.  [RUN/explanations]")
@click.option("--method", type=click.Choice(names()), help=f"How to find out.  {_KINDS}")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="What speaks for it.  [what the model said]")
@click.option("--layer", metavar="NAME", help="Whose maps grad-cam looks at.  [the last below the pooling]")
@click.option("--filters", is_flag=True, help="Draw the filters of the first convolution instead; -o FILE.png.")
@click.option("--activations", metavar="LAYER", help="Draw what a layer makes of one picture instead; -o FILE.png.")
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
    """Show where on pictures a model sees what it says, and whether that is to be believed.

    PICTURES are files or folders. Each gets an overlay, black by red to yellow where the class is seen, and a row in
    explanations.csv. The brightest places are blurred step by step, and all others, to see whether the model changes
    its mind sooner than with places drawn by chance (deletion and insertion scores). A picture that cannot be read is
    listed on stderr, and the exit code is 5.

    \b
    Example:
        transfer-cli explain runs/first sample_data/patterns/dots
        transfer-cli explain runs/first photo.jpg --class dots --class rings --method occlusion -o why
        transfer-cli explain runs/first --filters
        transfer-cli explain runs/first photo.jpg --activations Conv1_relu
    """
    console = ctx.ensure_object(Console)
    if filters or activations:
        given = [f"--{word}" for word in ("method", "layer", "runtime") if options[word]] + ["--class"] * bool(classes)
        if filters and activations:
            raise click.UsageError("--filters and --activations are two pictures: ask for one.", ctx)
        if given:
            raise click.UsageError(f"{given[0]} belongs to explanations, not to --filters or --activations.", ctx)
        if len(images) != bool(activations):
            wanted = "--activations LAYER takes one picture" if activations else "--filters takes no picture"
            raise click.UsageError(f"{wanted}. Received: {len(images)}.", ctx)
        _draw(console, model, activations, images, output)
        return
    if not images:
        raise click.UsageError("Missing argument 'PICTURES...'.", ctx)
    ctx.exit(_explain(console, model, images, output, classes, options))


def _explain(
    console: Console,
    model: str,
    images: tuple[str, ...],
    output: Path | None,
    classes: tuple[str, ...],
    options: dict[str, Any],
) -> int:
    from transfer_cli.io.discovery import at_least_one, walk_paths
    from transfer_cli.runs.evaluation_directory import run_with

    run = run_with(model)
    target = output or (run.explanations if run else Path("explanations"))
    files = at_least_one(walk_paths(images))

    from transfer_cli.explain.explain import Explainable, explain, must_be_ours

    must_be_ours(target)
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
    from transfer_cli.runs.evaluation_directory import run_with

    run = run_with(model)
    plots = run.plots if run else Path("plots")
    name = "filters" if activations is None else f"activations-{activations}-{Path(images[0]).stem}"
    target = output or plots / f"{name}.png"

    from transfer_cli.rendering.png_provenance import EXPLAIN, must_be_replaceable

    must_be_replaceable(target, EXPLAIN)

    from transfer_cli.quiet_imports import start_tensorflow

    with console.track("starting TensorFlow", None):
        start_tensorflow()
    from transfer_cli.explain.network_visualization import draw_activations, draw_filters

    if activations is None:
        count = draw_filters(model, target)
        console.note(f"{count} filters of the first convolution, each in its own scale, grey is 0")
    else:
        count = draw_activations(model, activations, images[0], target)
        console.note(f"{count} maps of {activations}, that with the highest value first, by their numbers")
    console.result(str(target), {"output": str(target), "drawn": count})
