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
    from transfer_cli.models.layer_summary import layer_table, memory, memory_summary

    table = layer_table(network)
    needed = memory(table)
    counts = ("activations", "parameters", "multiply_adds")
    rows = [
        (row.name, row.kind, " x ".join(map(str, row.output_shape)), *(f"{getattr(row, name):,}" for name in counts))
        for row in table
    ]
    data = {**data, "memory": needed, "layers": [vars(row) for row in table]}
    console.table(("layer", "kind", "output", *_NUMERIC), rows, data, _NUMERIC)
    console.note(*memory_summary(needed))
