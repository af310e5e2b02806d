"""Write the weights file of the package from a checkpoint of `train.py`: the moving average, in half precision.

    python embedded_weights/ship.py runs/pretraining/checkpoint.npz

Updates the digest and the last line of the training log in the model card next to the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import WeightsError


def main() -> None:
    """Write the weights file, and update the model card."""
    from transfer_cli.catalog.backbones import EMBEDDED, find
    from transfer_cli.io.digests import digest_of_file
    from transfer_cli.models import backbone
    from transfer_cli.models.weights import embedded_data as package

    spec = find(EMBEDDED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", type=Path, default=Path(package.__path__[0]) / spec.embedded)
    arguments = parser.parse_args()
    network = backbone.build(spec, weights="none")
    done = steps_of(arguments.checkpoint)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write(arguments.output, network, averaged(arguments.checkpoint, len(network.weights)))
    facts = digest_of_file(arguments.output)
    last = read_log(arguments.checkpoint.parent / "log.jsonl", done)
    lines = [
        f"`{arguments.output.name}`, {facts.bytes:,} bytes, half precision, SHA-256",
        f"`{facts.sha256}`.",
        f"Step {done:,} of the last stage. Last line of the log, step {last['step']:,}: {last['images']:,} "
        f"images in all stages, {last['seconds'] / 3600:.1f} hours on two shared cores.",
        "Accuracy on the held-out tasks (36 classes each, 16 training images per class; chance level 0.028): "
        + ", ".join(f"{name} {last[f'held out task {name}']:.3f}" for name in ("shapes", "solids", "strokes"))
        + ".",
    ]
    card = arguments.output.parent / "MODEL_CARD.md"
    before, heading, _ = card.read_text().partition("## The file\n")
    card.write_text(before + heading + "\n" + "\n".join(lines) + "\n")
    print(arguments.output, *lines, sep="\n")


def write(path: Path, network: Any, arrays: Sequence[NDArray[np.float32]]) -> None:
    """Write the arrays, in the order of the network's weights, in half precision under their variable names.

    Raises
    ------
    WeightsError
        If a value is too large for half precision.
    """
    stored: dict[str, NDArray[np.float16]] = {}
    for variable, array in zip(network.weights, arrays, strict=True):
        with np.errstate(over="ignore"):
            half = np.asarray(array, np.float16)
        if not np.isfinite(half).all():
            raise WeightsError(f"{variable.path} does not fit half precision: {np.min(array):g} to {np.max(array):g}.")
        stored[variable.path] = half
    np.savez_compressed(path, **stored)  # type: ignore[arg-type]


def averaged(checkpoint: Path, count: int) -> list[NDArray[np.float32]]:
    """Return the moving averages of the backbone's weights, the last arrays of a checkpoint."""
    with np.load(checkpoint) as stored:
        last = sum(name.startswith("v") for name in stored.files)
        return [stored[f"v{number}"] for number in range(last - count, last)]


def steps_of(checkpoint: Path) -> int:
    """Return the number of training steps of a checkpoint."""
    with np.load(checkpoint) as stored:
        return int(stored["done"])


def read_log(log: Path, done: int) -> dict[str, Any]:
    """Return the last line of a log with at most `done` steps."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return next(line for line in reversed(lines) if line["step"] <= done)


if __name__ == "__main__":
    main()
