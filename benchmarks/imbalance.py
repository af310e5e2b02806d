"""What balancing is worth: pictures thinned exponentially from class to class, means over draws.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/imbalance.py ../shared/data/clothing --try "" --try balance.method=logit-adjustment
    python benchmarks/imbalance.py ../shared/data/clothing --score left-over --many 80 --method extract

The folder needs train and test. Each draw gives other classes and other pictures the many and the few. Methods are to
be compared on what train has left over (with fewer than all of the largest class, so that each class has some left),
and the chosen one is to be shown on test. Without --try, every row of the catalog is tried.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path

from measuring import thinned, trained

from transfer_cli.catalog.class_balancing import CLASS_BALANCING_METHODS


def main() -> None:
    """Print one line of a Markdown table for each trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=["extract", "finetune"], default="finetune")
    parser.add_argument("--try", dest="trials", action="append", default=[], help="overrides of the recipe")
    parser.add_argument("--score", choices=["test", "left-over"], default="test")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--many", type=int, default=100)
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    arguments = parser.parse_args()
    trials = arguments.trials or [f"balance.method={name}" for name in CLASS_BALANCING_METHODS]
    print(f"| {arguments.method} | balanced accuracy, mean and range | accuracy, mean |")
    print("|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folders = [thin(arguments, draw, Path(place) / f"thin-{draw}") for draw in range(arguments.draws)]
        for number, trial in enumerate(trials):
            figures = [
                trained(arguments.method, folder, Path(place) / f"{number}-{draw}", arguments.backbone, draw, trial)
                for draw, folder in enumerate(folders)
            ]
            balanced = [figure["balanced_accuracy"] for figure in figures]
            plain = statistics.mean(figure["accuracy"] for figure in figures)
            spread = f"{statistics.mean(balanced):.3f} ({min(balanced):.3f} to {max(balanced):.3f})"
            print(f"| {trial or 'as it is'} | {spread} | {plain:.3f} |", flush=True)


def thin(arguments: argparse.Namespace, draw: int, target: Path) -> Path:
    """Make a folder with many pictures of one class, few of another, and the others between them."""
    names = sorted(group.name for group in (arguments.folder / "train").iterdir())
    random.Random(draw).shuffle(names)
    ratio = (arguments.few / arguments.many) ** (1 / (len(names) - 1))
    counts = {name: round(arguments.many * ratio**place) for place, name in enumerate(names)}
    return thinned(arguments.folder, target, counts, draw, left_over=arguments.score == "left-over")


if __name__ == "__main__":
    main()
