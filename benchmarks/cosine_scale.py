"""What cosine similarities of features are usual: of photographs of different folders, of one folder, of one class.

export KERAS_HOME=../shared/keras_home
python benchmarks/cosine_scale.py ../shared/data --backbones mobilenet_v2,mobilenet@0.25,embedded
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from transfer_cli.data.image_batches import batches
from transfer_cli.features.feature_network import FeatureNetwork
from transfer_cli.features.nearest import unit_rows
from transfer_cli.io.discovery import walk_images
from transfer_cli.recipe.recipes import ExtractRecipe

KINDS = ("other folder", "same folder", "same class")


def main() -> None:
    """Print the 5th, 50th and 95th percentile of the cosine similarity of each kind of pair, per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of image folders with test/CLASS")
    parser.add_argument("--backbones", default="mobilenet_v2")
    parser.add_argument("--per-class", type=int, default=4)
    parser.add_argument("--classes", type=int, default=5)
    options = parser.parse_args()
    images = [
        (source.name, kind.name, str(kind / name))
        for source in sorted(path for path in options.folder.iterdir() if (path / "test").is_dir())
        for kind in sorted(path for path in (source / "test").iterdir() if path.is_dir())[: options.classes]
        for name in [*walk_images(kind, Counter())][: options.per_class]
    ]
    print(f"{len(images)} images")
    print("| network | " + " | ".join(f"{kind}, 5 %, 50 %, 95 %" for kind in KINDS) + " |")
    for backbone in options.backbones.split(","):
        network = FeatureNetwork.of_recipe(
            ExtractRecipe.load(None, [], {"backbone.name": backbone}), images=len(images)
        )
        (view,) = network.views
        read = [*batches([path for *_, path in images], size=view.size, resize=view.resize, batch_size=32)]
        unit = unit_rows(np.concatenate([network.features(batch.images) for batch in read]))
        of_path = {path: (folder, kind) for folder, kind, path in images}
        about = [of_path[path] for batch in read for path in batch.paths]
        cosines = unit @ unit.T
        folders, kinds = (np.array([each[place] for each in about]) for place in (0, 1))
        same_folder = folders[:, None] == folders[None]
        same_class = same_folder & (kinds[:, None] == kinds[None])
        above = np.triu(np.ones(cosines.shape, bool), 1)
        cells = []
        for pairs in (~same_folder, same_folder & ~same_class, same_class):
            low, middle, high = np.percentile(cosines[pairs & above], (5, 50, 95))
            cells.append(f"{low:.2f}, {middle:.2f}, {high:.2f}")
        print(f"| {backbone} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
