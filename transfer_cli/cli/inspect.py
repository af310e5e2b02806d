"""``transfer-cli inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._completion import complete_layer_lists, complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import output_option
from transfer_cli.cli._types import comma_separated
from transfer_cli.text import counted


@click.command("inspect", short_help="Look inside a network: layers, filters, activations.")
@click.argument("model", metavar="RUN|BUNDLE|imagenet:NAME", shell_complete=complete_models)
@click.argument("image", required=False, type=click.Path(), metavar="[IMAGE]")
@click.option("--filters", is_flag=True, help="Instead: draw the filters of the first convolutional layer (PNG).")
@click.option(
    "--activations",
    type=comma_separated,
    metavar="LAYERS",
    shell_complete=complete_layer_lists,
    help="Instead: draw the activation maps of these layers (comma-separated) for IMAGE, one PNG per layer.",
)
@output_option("PATH", "PNG file to write; for several layers the folder of the PNG files.  [RUN/plots/...]")
@pass_console
def command(
    console: Console,
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
    layers = None if activations is None else tuple(dict.fromkeys(activations))
    _check_usage(image, filters, layers, output)
    targets = _targets(model, image, filters, layers or (), output)
    with console.track("loading the model", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.explain.source_network import SourceNetwork

        source = SourceNetwork.open(model, offline=console.offline, progress=console)
    if not targets:
        from transfer_cli.cli._layers import print_layers

        print_layers(console, source.network, {"model": model, "backbone": source.backbone, "size": source.view.size})
        return
    from transfer_cli.explain.network_visualization import draw_activations, draw_filters

    if image is None:
        (target,) = targets.values()
        count = draw_filters(source, target)
        console.note(f"{counted(count, 'filter')} of the first convolutional layer, each scaled separately; grey is 0")
        console.output(target, filters=count)
        return
    counts = draw_activations(source, image, targets)
    for layer, count in counts.items():
        console.note(
            f"{counted(count, 'activation map')} of {layer} with their channel numbers, highest activation first"
        )
    drawings = [{"layer": layer, "output": str(targets[layer]), "maps": count} for layer, count in counts.items()]
    console.result("\n".join(map(str, targets.values())), {"activations": drawings})


def _check_usage(image: str | None, filters: bool, layers: tuple[str, ...] | None, output: Path | None) -> None:
    """Raise a usage error if the options do not fit together; `layers` is None without ``--activations``."""
    count = len(layers or ())
    is_file_for_several = count > 1 and output and (output.suffix.lower() == ".png" or output.is_file())
    problems = {
        "Expected --filters or --activations, not both.": filters and layers is not None,
        "Expected at least one layer name after --activations.": layers == (),
        "--activations needs an IMAGE.": layers is not None and image is None,
        f"IMAGE is only used with --activations LAYERS. Received: {image}.": layers is None and image is not None,
        "-o is only used with --filters or --activations.": output and not filters and layers is None,
        f"Expected a folder after -o, for {count} layers (one PNG file each). Received: {output}.": is_file_for_several,
    }
    for message, is_problem in problems.items():
        if is_problem:
            raise click.UsageError(message)


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
