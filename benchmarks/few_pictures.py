"""What to expect of few pictures: accuracy with n pictures a class, `extract` beside `finetune`.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/few_pictures.py ../shared/data/clothing --counts 5 10 20
    python benchmarks/few_pictures.py ../shared/data/clothing --score left-over --try stage.1.epochs=60

The folder needs train and test. Each draw takes other n pictures of each class out of train (val is taken from
these, too). The score is that of all of test; recipes are to be compared on what train has left over instead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from measuring import thinned, trained


def main() -> None:
    """Print one line of a Markdown table for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--score", choices=["test", "left-over"], default="test")
    parser.add_argument("--try", dest="trials", action="append", default=[], help="overrides of finetune's recipe")
    arguments = parser.parse_args()
    trials = arguments.trials or [""]
    print(f"| pictures a class | extract | {' | '.join(f'finetune {trial}'.strip() for trial in trials)} |")
    print(f"|---|---|{'---|' * len(trials)}")
    for count in arguments.counts:
        rows = [measure(arguments, count, draw, trials) for draw in range(arguments.draws)]
        print(f"| {count} | {' | '.join(shown(values) for values in zip(*rows, strict=True))} |", flush=True)


def measure(arguments: argparse.Namespace, count: int, draw: int, trials: list[str]) -> tuple[float, ...]:
    """Return the accuracy of extract and of each trial of finetune on one draw."""
    with tempfile.TemporaryDirectory() as place:
        counts = {group.name: count for group in sorted((arguments.folder / "train").iterdir())}
        thin = thinned(arguments.folder, Path(place) / "thin", counts, draw, left_over=arguments.score == "left-over")
        ways = [("extract", ""), *(("finetune", trial) for trial in trials)]
        return tuple(
            trained(method, thin, Path(place) / str(number), arguments.backbone, draw, trial)["accuracy"]
            for number, (method, trial) in enumerate(ways)
        )


def shown(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
