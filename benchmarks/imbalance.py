"""What each `balance.method` is worth: pictures thinned exponentially from class to class, means over draws.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/imbalance.py ../shared/data/clothing --methods none class-weights logit-adjustment
    python benchmarks/imbalance.py ../shared/data/clothing --score left-over

The folder needs train and test. Each draw gives other classes and other pictures the many and the few. Methods are to
be compared on what train has left over, and the chosen one is to be shown on test.
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

from transfer_cli.catalog.balances import BALANCES


def main() -> None:
    """Print one line of a Markdown table for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(BALANCES))
    parser.add_argument("--score", choices=["test", "left-over"], default="test")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--many", type=int, default=100)
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in arguments.methods}
    for draw in range(arguments.draws):
        with tempfile.TemporaryDirectory() as place:
            thin = thinned(arguments, draw, Path(place) / "thin")
            for method in arguments.methods:
                found[method].append(measure(thin, Path(place) / method, method, draw, arguments.backbone))
    print("| method | balanced accuracy, mean and range | accuracy, mean |")
    print("|---|---|---|")
    for method, figures in found.items():
        balanced, plain = zip(*figures, strict=True)
        spread = f"{statistics.mean(balanced):.3f} ({min(balanced):.3f} to {max(balanced):.3f})"
        print(f"| {method} | {spread} | {statistics.mean(plain):.3f} |")


def thinned(arguments: argparse.Namespace, draw: int, target: Path) -> Path:
    """Make a folder with many pictures of one class, few of another, and the others between them."""
    groups = sorted((arguments.folder / "train").iterdir())
    random.Random(draw).shuffle(groups)
    ratio = arguments.few / arguments.many
    for place, group in enumerate(groups):
        pictures = sorted(group.iterdir())
        random.Random(f"{draw} {group.name}").shuffle(pictures)
        count = min(len(pictures), round(arguments.many * ratio ** (place / (len(groups) - 1))))
        left = (
            pictures[count:]
            if arguments.score == "left-over"
            else sorted((arguments.folder / "test" / group.name).iterdir())
        )
        for part, chosen in (("train", pictures[:count]), ("test", left)):
            (target / part / group.name).mkdir(parents=True)
            for picture in chosen:
                (target / part / group.name / picture.name).symlink_to(picture.resolve())
    return target


def measure(folder: Path, run: Path, method: str, draw: int, backbone: str) -> tuple[float, float]:
    """Return the balanced and the plain accuracy of one fine-tuning."""
    command = ["finetune", str(folder), "--backbone", backbone, "--seed", str(draw), "-o", str(run)]
    words = [sys.executable, "-m", "transfer_cli", "--quiet", *command, "--set", f"balance.method={method}"]
    subprocess.run(words, check=True, capture_output=True)
    test = json.loads((run / "metrics.json").read_text())["test"]
    return test["balanced_accuracy"]["value"], test["accuracy"]["value"]


if __name__ == "__main__":
    main()
