"""Test accuracy with unlabelled images: a few labelled images per class, the rest of train without labels.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/unlabelled.py ../shared/data/clothing --counts 10 30 --try unlabelled.confidence=0.9

The folder needs train and test.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from measuring import subsample, train_and_score


def main() -> None:
    """Print one row of a Markdown table per number of labelled images and trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[10])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--try", dest="trials", action="append", default=[], help="settings of the recipe")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    arguments = parser.parse_args()
    print("| labelled images per class | settings | without unlabelled images | with |")
    print("|---|---|---|---|", flush=True)
    names = sorted(group.name for group in (arguments.folder / "train").iterdir())
    for count in arguments.counts:
        for trial in arguments.trials or [""]:
            results = []
            for draw in range(arguments.draws):
                with tempfile.TemporaryDirectory() as place:
                    thin = subsample(arguments.folder, Path(place) / "thin", dict.fromkeys(names, count), draw)
                    results.append(measure(arguments, thin, Path(place), draw, trial))
            cells = [summary(values) for values in zip(*results, strict=True)]
            print(f"| {count} | {trial or 'none'} | {' | '.join(cells)} |", flush=True)


def measure(arguments: argparse.Namespace, thin: Path, place: Path, draw: int, trial: str) -> tuple[float, float]:
    """Return the test accuracy without and with the training images that `thin` does not contain."""
    rest = place / "rest"
    rest.mkdir()
    for image in sorted((arguments.folder / "train").rglob("*.jpg")):
        if not (thin / "train" / image.parent.name / image.name).exists():
            (rest / f"{image.parent.name}-{image.name}").symlink_to(image.resolve())
    overrides = f"unlabelled.folder={rest} {trial}"
    after = train_and_score("finetune", thin, place / "run", arguments.backbone, draw, overrides)["accuracy"]
    before = json.loads((place / "run-supervised/metrics.json").read_text())["test"]["accuracy"]["value"]
    return before, after


def summary(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
