"""Balanced accuracy by `balance.method`: class sizes that decrease exponentially, means over draws.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/imbalance.py ../shared/data/clothing --try "" --try balance.method=logit-adjustment
    python benchmarks/imbalance.py ../shared/data/clothing --score left-over --many 80 --method extract

The folder needs train and test. Each draw selects other images and another order of the classes by size. To compare
methods, use the unused training images (--score left-over, with --many below the size of every class) and measure only
the selected one on test. Without --try, all methods of the catalog are compared.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path

from measuring import subsample, train_and_score

from transfer_cli.catalog.class_balancing import CLASS_BALANCING_METHODS


def main() -> None:
    """Print one row of a Markdown table per trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=["extract", "finetune"], default="finetune")
    parser.add_argument("--try", dest="trials", action="append", default=[], help="settings of the recipe")
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
            metrics = [
                train_and_score(
                    arguments.method, folder, Path(place) / f"{number}-{draw}", arguments.backbone, draw, trial
                )
                for draw, folder in enumerate(folders)
            ]
            balanced = [each["balanced_accuracy"] for each in metrics]
            plain = statistics.mean(each["accuracy"] for each in metrics)
            spread = f"{statistics.mean(balanced):.3f} ({min(balanced):.3f} to {max(balanced):.3f})"
            print(f"| {trial or 'none'} | {spread} | {plain:.3f} |", flush=True)


def thin(arguments: argparse.Namespace, draw: int, target: Path) -> Path:
    """Make a folder with many images of one class, few of another, and the other classes between these."""
    names = sorted(group.name for group in (arguments.folder / "train").iterdir())
    random.Random(draw).shuffle(names)
    ratio = (arguments.few / arguments.many) ** (1 / (len(names) - 1))
    counts = {name: round(arguments.many * ratio**place) for place, name in enumerate(names)}
    return subsample(arguments.folder, target, counts, draw, left_over=arguments.score == "left-over")


if __name__ == "__main__":
    main()
