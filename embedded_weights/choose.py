"""Accuracy of the averaged weights of a checkpoint on the held-out tasks, for several image sizes and layers.

python embedded_weights/choose.py runs/pretraining/checkpoint.npz --store runs/pretraining/store --sizes 64 96 128

Determines the image size of the backbone in the catalog.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import held_out
from ship import averaged


def main() -> None:
    """Print one line per image size and layer."""
    from transfer_cli.catalog.backbones import find
    from transfer_cli.models import backbone
    from transfer_cli.models.compile import inference_function

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--backbone", default="mobilenet@0.5")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--layers", nargs="+", default=[""])
    arguments = parser.parse_args()
    tasks = held_out.tasks(arguments.store)
    for size in arguments.sizes:
        for layer in arguments.layers:
            whole = backbone.build(find(arguments.backbone), weights="none", size=size)
            whole.set_weights(averaged(arguments.checkpoint, len(whole.weights)))
            network = backbone.build(find(arguments.backbone), weights="none", size=size, layer=layer or None)
            network.set_weights(whole.get_weights()[: len(network.weights)])
            accuracies = held_out.accuracies(inference_function(network), tasks, size)
            print(size, layer, {name: round(share, 3) for name, share in accuracies.items()}, flush=True)


if __name__ == "__main__":
    main()
