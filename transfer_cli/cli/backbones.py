"""``transfer-cli backbones``."""

from __future__ import annotations

import click

from transfer_cli.cli._console import Console


@click.group("backbones")
def command() -> None:
    """List the networks, or show one layer by layer."""


@command.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the backbones and what they cost.

    Parameters, multiply-adds and top-1 are those of the whole network with its own top (1000 classes; lenet5 and
    small_cnn: ten); width is the length of the feature after pooling; scheme is how 0 to 255 becomes the network's
    range, which is done inside the model. A name with @ is a narrower or wider network. The weights of embedded come
    with the program and have seen no photograph. The networks of the textbooks have no weights: finetune trains
    them from scratch, with the recipe of their name.

    \b
    Example:
        transfer-cli backbones list
    """
    from transfer_cli.catalog.backbones import find, names
    from transfer_cli.models.weights.registry import needs_no_network

    header = ("name", "size", "parameters", "MB", "multiply-adds", "top-1", "scheme", "width", "licence", "weights")
    rows, facts = [], []
    for spec in map(find, names()):
        here = needs_no_network(spec)
        weights = ("here" if here else "to download") if spec.is_pretrained else "from scratch"
        top1 = f"{spec.top1:.1f}" if spec.top1 else "-"
        rows.append(
            (
                spec.name,
                str(spec.size),
                f"{spec.parameters:,}",
                f"{spec.megabytes:.0f}",
                f"{spec.multiply_adds:,}",
                top1,
                spec.scheme,
                str(spec.width),
                spec.licence,
                weights,
            )
        )
        facts.append(
            {
                "name": spec.name,
                "size": spec.size,
                "parameters": spec.parameters,
                "multiply_adds": spec.multiply_adds,
                "top1": spec.top1,
                "scheme": spec.scheme,
                "width": spec.width,
                "licence": spec.licence,
                "pretrained": spec.is_pretrained,
                "weights_here": here,
            }
        )
    console = ctx.ensure_object(Console)
    console.table(header, rows, facts)
    console.note("next: transfer-cli backbones show NAME")


@command.command("show")
@click.argument("name")
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """Show a backbone layer by layer, and the memory it needs.

    The network is built with its own top and random weights; no weights are downloaded.

    \b
    Example:
        transfer-cli backbones show vgg16
    """
    from transfer_cli.catalog import backbones

    console = ctx.ensure_object(Console)
    spec = backbones.find(name)
    with console.track(f"building {spec.name}", None):
        from transfer_cli.quiet_imports import start_tensorflow

        start_tensorflow()
        from transfer_cli.models.backbone import plain
        from transfer_cli.models.layer_summary import layer_table, memory

        table = layer_table(plain(spec))
    needed = memory(table)
    rows = [
        (
            row.name,
            row.kind,
            " x ".join(map(str, row.output_shape)),
            f"{row.activations:,}",
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
        )
        for row in table
    ]
    facts = {"name": spec.name, "size": spec.size, "licence": spec.licence, "memory": needed.to_dict()}
    facts["layers"] = [vars(row) for row in table]
    console.table(("layer", "kind", "output", "activations", "parameters", "multiply-adds"), rows, facts)
    for line in needed.summary():
        console.note(line)
