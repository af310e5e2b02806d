"""Metrics with several labels per image: two images of a folder side by side, labelled with both classes.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/multi_label.py ../shared/data/clothing

The folder needs train and test. The validation images are separated from train before images are combined, so that no
image is in two splits.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import tempfile
from pathlib import Path

from measuring import train_and_score
from PIL import Image

METRICS = ("mean_average_precision", "macro_f1", "micro_f1", "exact_matches")
SIDE = 224


def main() -> None:
    """Print one row of a Markdown table per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--pairs", type=int, nargs=3, default=[1700, 300, 372], help="images of train, val and test")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--keep", type=Path, help="only write the images of the first draw to this folder")
    arguments = parser.parse_args()
    if arguments.keep:
        make_pairs(arguments.folder, arguments.keep, arguments.pairs, 0)
        return
    results: dict[str, list[dict[str, float]]] = {"extract": [], "finetune": []}
    for draw in range(arguments.draws):
        with tempfile.TemporaryDirectory() as place:
            images = make_pairs(arguments.folder, Path(place) / "pairs", arguments.pairs, draw)
            for method, values in results.items():
                values.append(train_and_score(method, images, Path(place) / method, arguments.backbone, draw, ""))
    print(f"| method | {' | '.join(METRICS)} |")
    print(f"|---|{'---|' * len(METRICS)}")
    for method, values in results.items():
        print(f"| {method} | {' | '.join(summary([each[name] for each in values]) for name in METRICS)} |")


def make_pairs(source: Path, target: Path, counts: list[int], draw: int) -> Path:
    """Make a folder of image pairs with labels.csv; return it."""
    random_ = random.Random(draw)
    images = {part: sorted((source / part).rglob("*.jpg")) for part in ("train", "test")}
    shuffled = random_.sample(images["train"], len(images["train"]))
    cut = len(shuffled) * 15 // 100
    parts = {"train": shuffled[cut:], "val": shuffled[:cut], "test": images["test"]}
    target.mkdir(parents=True)
    with (target / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "labels", "split"])
        for (part, members), count in zip(parts.items(), counts, strict=True):
            for number in range(count):
                pair = random_.sample(members, 2)
                canvas = Image.new("RGB", (2 * SIDE, SIDE))
                for place, path in enumerate(pair):
                    with Image.open(path) as image:
                        canvas.paste(image.convert("RGB").resize((SIDE, SIDE)), (place * SIDE, 0))
                name = f"{part}-{number:04}.jpg"
                canvas.save(target / name, quality=90)
                table.writerow([name, ";".join(sorted({path.parent.name for path in pair})), part])
    return target


def summary(values: list[float]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
