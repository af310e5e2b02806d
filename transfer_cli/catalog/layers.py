"""Names of the layers of each backbone, known without building it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from transfer_cli.errors import UnknownNameError
from transfer_cli.text import listed

FILE = Path(__file__).with_name("layer_names.txt")
"""One line per backbone: its name, then its layers in graph order (tests/catalog/test_layers.py builds them anew)."""
_MAX_LISTED = 20


@cache
def names(backbone: str) -> tuple[str, ...]:
    """Return the layers of a backbone below its classification head, in graph order; none if it is not in the catalog.

    All widths of a backbone have the same layers.
    """
    base = backbone.partition("@")[0]
    lines = FILE.read_text("utf-8").splitlines()
    return next((tuple(line.split()[1:]) for line in lines if line.startswith(f"{base} ")), ())


def check(kind: str, layer: str, backbone: str, *, below: str | None = None, known: Sequence[str] = ()) -> None:
    """Raise UnknownNameError if a backbone of the catalog has no layer of this name.

    Parameters
    ----------
    kind : str
        What the layer is, for the message.
    layer : str
    backbone : str
    below : str, optional
        Layer that the network is cut at.
    known : sequence of str
        The layers of a network that is not in the catalog.
    """
    known = known or names(backbone)
    known = known[: known.index(below) + 1] if below in known else known
    if known and layer not in known:
        raise unknown(kind, layer, known)


def unknown(kind: str, layer: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error for a layer that a network does not have; it names the nearest and the last ones."""
    hint = f"The layers, from the last one: {listed(known[::-1], _MAX_LISTED)}."
    if kind.startswith("layer of") and layer.startswith("global_average_pooling2d"):
        return UnknownNameError(
            f"{layer} has no lasting name: it is the average pooling of the last layer, which is the default.",
            hint=f"Leave out --layer. {hint}",
        )
    return UnknownNameError.of(kind, layer, known, hint)
