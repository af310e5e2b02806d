"""The layer table of a network, which `inspect` and `backbones show` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transfer_cli.cli._console import Console

if TYPE_CHECKING:
    import keras

_NUMERIC = ("activations", "parameters", "multiply-adds")


def print_layers(console: Console, network: keras.Model, data: Mapping[str, Any]) -> None:
    """Print the layers of a network and the memory that it needs; with --json also `data`."""
    from transfer_cli.models.layer_summary import layer_table, memory

    table = layer_table(network)
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
    data = {**data, "memory": needed.to_dict(), "layers": [vars(row) for row in table]}
    console.table(("layer", "kind", "output", *_NUMERIC), rows, data, _NUMERIC)
    for line in needed.summary():
        console.note(line)
