"""``transfer-cli inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._types import Names


@click.command("inspect", short_help="Look inside a network: layers, filters, activations.")
@click.argument("model", metavar="RUN|BUNDLE|imagenet:NAME")
@click.argument("image", required=False, type=click.Path(), metavar="[IMAGE]")
@click.option("--filters", is_flag=True, help="Instead: draw the filters of the first convolutional layer (PNG).")
@click.option(
    "--activations",
    type=Names(),
    metavar="LAYERS",
    help="Instead: draw the activation maps of these layers (comma-separated) for IMAGE, one PNG per layer.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="PNG file to write; for several layers the folder of the PNG files.  [RUN/plots/...]",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    image: str | None,
    filters: bool,
    activations: tuple[str, ...] | None,
    output: Path | None,
) -> None:
    """Show the layers of a network, its first-layer filters, or its activation maps for an image.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it; imagenet:NAME is a pretrained
    network with its 1000 ImageNet classes (names: transfer-cli backbones list).

    Without options, prints a table: kind, output shape, number of outputs, parameters and multiply-adds of each layer.
    For a run of extract this is the frozen backbone, up to the features that its classifier gets. --filters and
    --activations write PNG files named filters.png and activations-LAYER-IMAGE.png into RUN/plots (without a run:
    plots) and print their paths. An activation map shows where in the image a channel of the layer responds.

    \b
    Example:
        transfer-cli inspect runs/first
        transfer-cli inspect imagenet:mobilenet_v2 --filters -o filters.png
        transfer-cli inspect runs/first photo.jpg --activations conv1_relu,conv_pw_3_relu
    """
    layers = tuple(dict.fromkeys(activations or ()))
    _check_usage(ctx, image, filters, activations is not None, layers, output)
    console = ctx.ensure_object(Console)
    targets = _targets(model, image, filters, layers, output)
    with console.track("loading the model", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.explain.source_network import SourceNetwork

        source = SourceNetwork.open(model, offline=console.offline, progress=console)
    if not targets:
        from transfer_cli.cli._layers import print_layers

        print_layers(console, source.network, {"model": model, "backbone": source.spec.name, "size": source.view.size})
        return
    from transfer_cli.explain.network_visualization import draw_activations, draw_filters

    if image is None:
        (target,) = targets.values()
        count = draw_filters(source, target)
        console.note(f"{count} filters of the first convolutional layer, each scaled separately; grey is 0")
        console.result(str(target), {"output": str(target), "filters": count})
        return
    counts = draw_activations(source, image, targets)
    for layer, count in counts.items():
        console.note(f"{count} activation maps of {layer} with their channel numbers, highest activation first")
    drawings = [{"layer": layer, "output": str(targets[layer]), "maps": count} for layer, count in counts.items()]
    console.result("\n".join(map(str, targets.values())), {"activations": drawings})


def _check_usage(
    ctx: click.Context,
    image: str | None,
    filters: bool,
    has_activations: bool,
    layers: tuple[str, ...],
    output: Path | None,
) -> None:
    """Raise a usage error if the options do not fit together."""
    if filters and has_activations:
        raise click.UsageError("Expected --filters or --activations, not both.", ctx)
    if has_activations and not layers:
        raise click.UsageError("Expected at least one layer name after --activations.", ctx)
    if has_activations and image is None:
        raise click.UsageError("--activations needs an IMAGE.", ctx)
    if image is not None and not has_activations:
        raise click.UsageError(f"IMAGE is only used with --activations LAYERS. Received: {image}.", ctx)
    if output and not (filters or has_activations):
        raise click.UsageError("-o is only used with --filters or --activations.", ctx)
    if output and len(layers) > 1 and (output.suffix.lower() == ".png" or output.is_file()):
        raise click.UsageError(
            f"Expected a folder after -o, for {len(layers)} layers (one PNG file each). Received: {output}.", ctx
        )


def _targets(
    model: str, image: str | None, filters: bool, layers: tuple[str, ...], output: Path | None
) -> dict[str, Path]:
    """Return the PNG file to write by layer; with `filters`, one file."""
    from transfer_cli.rendering.png_provenance import INSPECT, check_png_target
    from transfer_cli.runs.run_of_model import run_of_model

    run = run_of_model(model)
    folder = output if output and len(layers) > 1 else run.plots if run else Path("plots")
    names = {"": "filters.png"} if filters else {}
    names |= {layer: f"activations-{layer}-{Path(image or '').stem}.png" for layer in layers}
    single = output if len(names) == 1 else None
    targets = {layer: single or folder / name for layer, name in names.items()}
    for target in targets.values():
        check_png_target(target, INSPECT)
    return targets
