"""``transfer-cli backbones``."""

from __future__ import annotations

import click

from transfer_cli.cli._console import Console, pass_console


@click.group("backbones", short_help="List the available networks, or show one layer by layer.")
def command() -> None:
    """List the available networks (backbones), or show one layer by layer."""


@command.command("list", short_help="List the networks: size, accuracy, licence.")
@pass_console
def list_(console: Console) -> None:
    """List the available networks with input size, parameters, accuracy and licence.

    Parameters, multiply-adds and top-1 (ImageNet accuracy in %) are those of the full network with its own
    classification head (1000 classes; lenet5 and small_cnn: 10). width is the length of the feature vector after
    average pooling; scheme is how pixel values 0 to 255 are scaled (done inside the model). A name with @ is a narrower
    or wider version. The weights of embedded come with transfer-cli; they were trained on generated images, not on
    photos. The textbook networks (from scratch) have no pretrained weights: train them with finetune and the recipe of
    their name.

    \b
    Example:
        transfer-cli backbones list
    """
    from transfer_cli.catalog.backbones import find, names
    from transfer_cli.models.weights.registry import has_local_weights

    numeric = ("size", "parameters", "MB", "multiply-adds", "top-1", "width")
    header = ("name", *numeric[:5], "scheme", "width", "licence", "weights")
    fields = ("name", "size", "parameters", "multiply_adds", "top1", "scheme", "width", "licence")
    rows, data = [], []
    for spec in map(find, names()):
        here = has_local_weights(spec)
        weights = ("installed" if here else "to download") if spec.is_pretrained else "from scratch"
        top1 = f"{spec.top1:.1f}" if spec.top1 else "-"
        costs = (f"{spec.parameters:,}", f"{spec.megabytes:.0f}", f"{spec.multiply_adds:,}")
        rows.append((spec.name, str(spec.size), *costs, top1, spec.scheme, str(spec.width), spec.licence, weights))
        values = {name: getattr(spec, name) for name in fields}
        data.append({**values, "pretrained": spec.is_pretrained, "weights_installed": here})
    console.table(header, rows, data, numeric)
    console.note("next: transfer-cli backbones show NAME")


@command.command("show")
@click.argument("name")
@pass_console
def show(console: Console, name: str) -> None:
    """Show a network layer by layer, and the memory it needs.

    The network is built with its classification head and random weights; nothing is downloaded.

    \b
    Example:
        transfer-cli backbones show vgg16
    """
    from transfer_cli.catalog import backbones
    from transfer_cli.cli._layers import print_layers

    spec = backbones.find(name)
    with console.track(f"building {spec.name}", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.models.backbone import build_bare

        network = build_bare(spec)
    print_layers(console, network, {"name": spec.name, "size": spec.size, "licence": spec.licence})
