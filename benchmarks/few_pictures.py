"""What to expect of few pictures: test accuracy with n pictures a class, `extract` beside `finetune`.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/few_pictures.py ../shared/data/clothing --counts 5 10 20

The folder needs train and test. Each draw takes other n pictures of each class out of train (val is taken from
these, too), and all of test.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Print one line of a Markdown table for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    arguments = parser.parse_args()
    print("| pictures a class | extract, mean and range | finetune, mean and range |")
    print("|---|---|---|")
    for count in arguments.counts:
        pairs = [measure(arguments.folder, count, draw, arguments.backbone) for draw in range(arguments.draws)]
        print(f"| {count} | {' | '.join(shown(values) for values in zip(*pairs, strict=True))} |", flush=True)


def measure(folder: Path, count: int, draw: int, backbone: str) -> tuple[float, ...]:
    """Return the test accuracy of extract and of finetune on one draw."""
    with tempfile.TemporaryDirectory() as place:
        thin = Path(place) / "thin"
        for group in sorted((folder / "train").iterdir()):
            (thin / "train" / group.name).mkdir(parents=True)
            for picture in random.Random(f"{draw} {group.name}").sample(sorted(group.iterdir()), count):
                (thin / "train" / group.name / picture.name).symlink_to(picture.resolve())
        (thin / "test").symlink_to((folder / "test").resolve())
        found = []
        for method in ("extract", "finetune"):
            run = Path(place) / method
            command = [method, str(thin), "--backbone", backbone, "--seed", str(draw), "-o", str(run)]
            words = [sys.executable, "-m", "transfer_cli", "--quiet", *command]
            subprocess.run(words, check=True, capture_output=True)
            found.append(json.loads((run / "metrics.json").read_text())["test"]["accuracy"]["value"])
    return tuple(found)


def shown(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
