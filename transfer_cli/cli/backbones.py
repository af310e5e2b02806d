"""``transfer-cli backbones``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._completion import complete_backbones
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._types import PATH

if TYPE_CHECKING:
    from transfer_cli.catalog.backbones import BackboneSpec

_NUMERIC = ("size", "parameters", "MB", "multiply-adds", "top-1")
_FIELDS = ("name", "size", "parameters", "multiply_adds", "top1", "scheme", "width", "licence")
_ANY_SIZE = 224
_KEYS: dict[str, Callable[[BackboneSpec], Any]] = {
    "name": lambda spec: spec.name,
    "size": lambda spec: (spec.size, spec.name),
    "parameters": lambda spec: spec.parameters,
    "multiply-adds": lambda spec: spec.multiply_adds,
    "top-1": lambda spec: -(spec.top1 or 0),
}


@click.group("backbones", short_help="List the available networks, or show one layer by layer.")
def command() -> None:
    """List the available networks (backbones), or show one layer by layer."""


@command.command("list", short_help="List the networks: size, accuracy, weights.")
@click.option("--sort", type=click.Choice([*_KEYS]), help="Sort by this column.  [name]")
@click.option("--plot", type=PATH, metavar="FILE.png", help="Also plot accuracy against multiply-adds (PNG).")
@pass_console
def list_(console: Console, sort: str | None, plot: Path | None) -> None:
    """List the available networks with input size, parameters, accuracy and licence.

    Parameters, multiply-adds (a measure of time per image) and top-1 (ImageNet accuracy in %) are those of the full
    network with its own classification head (1000 classes; lenet5 and small_cnn: 10), and so is MB, its size; training
    downloads the smaller file without this head (see: transfer-cli weights list). M is million, G billion. A name
    with @ is a narrower or wider version. The weights of embedded come with transfer-cli; they were trained on
    generated images, not on photos. The textbook networks (from scratch) have no pretrained weights: train them with
    finetune and the recipe of their name. pixels and hog (histograms of oriented gradients) are features without
    learning, to compare with. Licence, preprocessing and number of features: backbones show NAME, or
    --json.

    \b
    Example:
        transfer-cli backbones list
        transfer-cli backbones list --sort multiply-adds --plot backbones.png
    """
    from transfer_cli.catalog.backbones import RECOMMENDED, find, names
    from transfer_cli.models.weights.registry import has_local_weights

    if plot:
        from transfer_cli.rendering.png_provenance import BACKBONES, check_png_target

        check_png_target(plot, BACKBONES)
    rows, data = [], []
    for spec in sorted(map(find, names()), key=_KEYS[sort or "name"]):
        here = has_local_weights(spec)
        weights = ("installed" if here else "to download") if spec.is_pretrained else "from scratch"
        weights = "no weights" if spec.is_handcrafted else weights
        name = f"{spec.name} *" if spec.name in RECOMMENDED else spec.name
        costs = (_short(spec.parameters), f"{spec.megabytes:.0f}", _short(spec.multiply_adds))
        rows.append((name, str(spec.size), *costs, f"{spec.top1:.1f}" if spec.top1 else "-", weights))
        values = {field: getattr(spec, field) for field in _FIELDS}
        recommended = RECOMMENDED.get(spec.name)
        data.append({**values, "pretrained": spec.is_pretrained, "weights_installed": here, "recommended": recommended})
    console.table(("name", *_NUMERIC, "weights"), rows, data, _NUMERIC)
    console.note(*(f"* {name}: {reason}" for name, reason in RECOMMENDED.items()))
    console.note(
        "MB: the network with its ImageNet head; training downloads a smaller file (transfer-cli weights list)"
    )
    if plot:
        from transfer_cli.rendering.backbone_plot import plot_backbones

        plot_backbones(plot)
        console.note(f"plot: {plot}")
    console.note("next: transfer-cli backbones show NAME")


def _short(count: int) -> str:
    """Return a number with three digits and a unit: k (thousand), M (million) or G (billion)."""
    units = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    size, unit = next(((size, unit) for size, unit in units if count >= size), (1, ""))
    return f"{count / size:.3g} {unit}".rstrip()


@command.command("show")
@click.argument("name", shell_complete=complete_backbones)
@pass_console
def show(console: Console, name: str) -> None:
    """Show a network layer by layer, and the memory it needs.

    The network is built with its classification head but without weights; nothing is downloaded. A network of your own
    (FILE.keras) is shown as --backbone FILE.keras would use it: sub-models as their layers, without augmentation.

    \b
    Example:
        transfer-cli backbones show vgg16
        transfer-cli backbones show own.keras
    """
    from transfer_cli.catalog import backbones
    from transfer_cli.cli._layers import print_layers

    if backbones.is_network_file(name) and not Path(name).is_dir():
        _show_file(console, name)
        return
    spec = backbones.find(name)
    with console.track(f"building {spec.name}", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.models.backbone import build_bare

        network = build_bare(spec)
    facts = {"name": spec.name, "size": spec.size, "features": spec.width, "preprocessing": spec.scheme}
    facts |= {"licence": spec.licence}
    console.note(f"{spec.name}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if key != "name"))
    print_layers(console, network, facts)


def _show_file(console: Console, name: str) -> None:
    """Print the layers of a network of the user's own."""
    from transfer_cli.cli._layers import print_layers
    from transfer_cli.models.weights.network_file import NetworkFile

    file = NetworkFile.read(Path(name))
    size = file.size or _ANY_SIZE
    with console.track(f"loading {name}", None):
        from transfer_cli.quiet_imports import import_tensorflow

        import_tensorflow()
        from transfer_cli.models import own_network

        # How the pixels are scaled changes no layer.
        network = own_network.load(file.spec(name, "inside"), size)
    console.note(f"{name}: size {size}" + ("" if file.size else ", chosen here: it takes images of any size"))
    facts = {"name": name, "size": size, "features": None, "preprocessing": None, "licence": None}
    print_layers(console, network, facts)
