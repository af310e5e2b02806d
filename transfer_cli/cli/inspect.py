"""``transfer-cli inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._channel_drawings import (
    draw_class_templates,
    maximise_channels,
    strongest_images,
    training_or_named_images,
)
from transfer_cli.cli._completion import complete_layer_lists, complete_layers, complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import output_option, seed_option
from transfer_cli.cli._types import comma_separated
from transfer_cli.errors import DONE
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.explain.source_network import SourceNetwork

_DRAWINGS = ("filters", "activations", "maximise", "strongest", "templates")
_OPTIONS = ", ".join(f"--{name}" for name in _DRAWINGS)


@click.command("inspect", short_help="Look inside a network: layers, filters, channels.")
@click.argument("model", metavar="RUN|BUNDLE|imagenet:NAME", shell_complete=complete_models)
@click.argument("image", required=False, type=click.Path(), metavar="[IMAGE|FOLDER]")
@click.option("--filters", is_flag=True, help="Instead: draw the filters of the first convolutional layer (PNG).")
@click.option(
    "--activations",
    type=comma_separated,
    metavar="LAYERS",
    shell_complete=complete_layer_lists,
    help="Instead: draw the activation maps of these layers (comma-separated) for IMAGE, one PNG per layer.",
)
@click.option(
    "--maximise",
    metavar="LAYER[:N]",
    shell_complete=complete_layers,
    help="Instead: draw the image that excites channel N of a layer most (without N: of six channels).",
)
@click.option(
    "--strongest",
    metavar="LAYER[:N]",
    shell_complete=complete_layers,
    help="Instead: draw the images of FOLDER, or the training images of the run, that excite channel N most.",
)
@click.option(
    "--templates",
    is_flag=True,
    help="Instead: draw the mean image of each class of FOLDER, or of the training, and the weights of a model that is "
    "linear on pixels.",
)
@seed_option("Random seed of --maximise.  [0]", 0)
@output_option("PATH", "PNG file to write; for several layers the folder of the PNG files.  [RUN/plots/...]")
@pass_console
def command(console: Console, /, model: str, image: str | None, output: Path | None, **options: Any) -> int:
    """Show the layers of a network, or draw its filters, activation maps, and what excites its channels.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it; imagenet:NAME is a pretrained
    network with its 1000 ImageNet classes (names: transfer-cli backbones list).

    Without options, prints a table: kind, output shape, number of outputs, parameters and multiply-adds of each layer.
    For a run of extract this is the frozen backbone, up to the features that its classifier gets. The other options
    write PNG files into RUN/plots (without a run: plots) and print their paths. An activation map shows where in the
    image a channel of the layer responds. --maximise finds by gradient ascent the image with the highest mean
    activation of a channel; --strongest finds it among your own images.

    \b
    Example:
        transfer-cli inspect runs/first
        transfer-cli inspect imagenet:mobilenet_v2 --filters -o filters.png
        transfer-cli inspect runs/first photo.jpg --activations conv1_relu,conv_pw_3_relu
        transfer-cli inspect imagenet:mobilenet_v2 --maximise block_6_expand_relu:17
        transfer-cli inspect imagenet:mobilenet_v2 photos --strongest block_6_expand_relu:17
        transfer-cli inspect runs/first --templates
    """
    activations = options["activations"]
    options["activations"] = None if activations is None else tuple(dict.fromkeys(activations))
    _check_usage(image, options, output)
    targets = _targets(model, image, options, output)
    target = next(iter(targets.values()), None)
    if options["templates"] and target:
        return draw_class_templates(console, model, image, target)
    images = training_or_named_images(console, model, image) if options["strongest"] else None
    with console.track("loading the model", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.explain.source_network import SourceNetwork

        source = SourceNetwork.open(model, offline=console.offline, progress=console)
    if target is None:
        from transfer_cli.cli._layers import print_layers

        print_layers(console, source.network, {"model": model, "backbone": source.backbone, "size": source.view.size})
        return DONE
    if named := options["maximise"] or options["strongest"]:
        from transfer_cli.explain.channels import Channels

        channels = Channels.find(source.network, named)
        if images is None:
            return maximise_channels(console, source, channels, target, options)
        return strongest_images(console, source, channels, target, images)
    return _draw_layers(console, source, image, targets)


def _draw_layers(console: Console, source: SourceNetwork, image: str | None, targets: Mapping[str, Path]) -> int:
    """Draw the first filters, or with an image the activation maps of layers."""
    from transfer_cli.explain.network_visualization import draw_activations, draw_filters

    if image is None:
        (target,) = targets.values()
        count = draw_filters(source, target)
        console.note(f"{counted(count, 'filter')} of the first convolutional layer, each scaled separately; grey is 0")
        console.output(target, filters=count)
        return DONE
    counts = draw_activations(source, image, targets)
    for layer, count in counts.items():
        console.note(
            f"{counted(count, 'activation map')} of {layer} with their channel numbers, highest activation first"
        )
    drawings = [{"layer": layer, "output": str(targets[layer]), "maps": count} for layer, count in counts.items()]
    console.result("\n".join(map(str, targets.values())), {"activations": drawings})
    return DONE


def _check_usage(image: str | None, options: Mapping[str, Any], output: Path | None) -> None:
    """Raise a usage error if the options do not fit together."""
    layers: tuple[str, ...] | None = options["activations"]
    count = len(layers or ())
    drawings = [name for name in _DRAWINGS if options[name] not in (None, False)]
    is_file_for_several = count > 1 and output and (output.suffix.lower() == ".png" or output.is_file())
    takes_image = {"activations", "strongest", "templates"} & {*drawings}
    received = " and ".join(f"--{name}" for name in drawings)
    problems = {
        f"Expected one of {_OPTIONS}. Received: {received}.": len(drawings) > 1,
        "Expected at least one layer name after --activations.": layers == (),
        "--activations needs an IMAGE.": layers is not None and image is None,
        f"IMAGE is only used with --activations LAYERS, --strongest LAYER and --templates. Received: {image}.": image
        is not None
        and not takes_image,
        f"-o is only used with {_OPTIONS}.": output and not drawings,
        f"Expected a folder after -o, for {count} layers (one PNG file each). Received: {output}.": is_file_for_several,
    }
    for message, is_problem in problems.items():
        if is_problem:
            raise click.UsageError(message)


def _targets(model: str, image: str | None, options: Mapping[str, Any], output: Path | None) -> dict[str, Path]:
    """Return the PNG file to write by layer; of other drawings one file."""
    from transfer_cli.rendering.png_provenance import INSPECT, check_png_target
    from transfer_cli.runs.run_of_model import run_of_model

    run = run_of_model(model)
    layers: tuple[str, ...] = options["activations"] or ()
    folder = output if output and len(layers) > 1 else run.plots if run else Path("plots")
    names = {layer: f"activations-{layer}-{Path(image or '').stem}.png" for layer in layers}
    named = [f"{name}-{_file_name(options[name])}" for name in ("maximise", "strongest") if options[name]]
    for name in (*named, *(name for name in ("filters", "templates") if options[name])):
        names[""] = f"{name}.png"
    single = output if len(names) == 1 else None
    targets = {layer: single or folder / name for layer, name in names.items()}
    for target in targets.values():
        check_png_target(target, INSPECT)
    return targets


def _file_name(channels: str) -> str:
    """Return LAYER:N as a part of a file name; not every system has colons in names."""
    return channels.replace(":", "-").replace(",", "-").replace("/", "_").replace(" ", "")
