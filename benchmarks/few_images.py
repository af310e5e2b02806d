"""Accuracy with n training images per class: `extract` compared with `finetune`.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/few_images.py ../shared/data/clothing --counts 5 10 20
    python benchmarks/few_images.py ../shared/data/clothing --score left-over --try stage.1.epochs=60

The folder needs train and test. Each draw selects n other images per class from train (val is part of these). Scores
are measured on test; to compare recipes, use the unused training images instead (--score left-over).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from measuring import subsample, train_and_score


def main() -> None:
    """Print one row of a Markdown table per number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--score", choices=["test", "left-over"], default="test")
    parser.add_argument("--try", dest="trials", action="append", default=[], help="settings of finetune's recipe")
    arguments = parser.parse_args()
    trials = arguments.trials or [""]
    print(f"| images per class | extract | {' | '.join(f'finetune {trial}'.strip() for trial in trials)} |")
    print(f"|---|---|{'---|' * len(trials)}")
    for count in arguments.counts:
        rows = [measure(arguments, count, draw, trials) for draw in range(arguments.draws)]
        print(f"| {count} | {' | '.join(summary(values) for values in zip(*rows, strict=True))} |", flush=True)


def measure(arguments: argparse.Namespace, count: int, draw: int, trials: list[str]) -> tuple[float, ...]:
    """Return the accuracy of extract and of each trial of finetune for one draw."""
    with tempfile.TemporaryDirectory() as place:
        counts = {group.name: count for group in sorted((arguments.folder / "train").iterdir())}
        thin = subsample(arguments.folder, Path(place) / "thin", counts, draw, left_over=arguments.score == "left-over")
        ways = [("extract", ""), *(("finetune", trial) for trial in trials)]
        return tuple(
            train_and_score(method, thin, Path(place) / str(number), arguments.backbone, draw, trial)["accuracy"]
            for number, (method, trial) in enumerate(ways)
        )


def summary(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
