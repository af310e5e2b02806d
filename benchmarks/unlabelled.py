"""What unlabelled pictures bring: a few pictures a class with their class, the rest of train without.

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

from measuring import thinned, trained


def main() -> None:
    """Print one line of a Markdown table for each number of labelled pictures and each trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[10])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--try", dest="trials", action="append", default=[], help="overrides of the recipe")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    arguments = parser.parse_args()
    print("| labelled pictures a class | overrides | without | with the others unlabelled |")
    print("|---|---|---|---|", flush=True)
    names = sorted(group.name for group in (arguments.folder / "train").iterdir())
    for count in arguments.counts:
        for trial in arguments.trials or [""]:
            found = []
            for draw in range(arguments.draws):
                with tempfile.TemporaryDirectory() as place:
                    thin = thinned(arguments.folder, Path(place) / "thin", dict.fromkeys(names, count), draw)
                    found.append(measure(arguments, thin, Path(place), draw, trial))
            cells = [shown(values) for values in zip(*found, strict=True)]
            print(f"| {count} | {trial or 'none'} | {' | '.join(cells)} |", flush=True)


def measure(arguments: argparse.Namespace, thin: Path, place: Path, draw: int, trial: str) -> tuple[float, float]:
    """Return the test accuracy without and with the pictures of train that `thin` has not."""
    rest = place / "rest"
    rest.mkdir()
    for image in sorted((arguments.folder / "train").rglob("*.jpg")):
        if not (thin / "train" / image.parent.name / image.name).exists():
            (rest / f"{image.parent.name}-{image.name}").symlink_to(image.resolve())
    words = f"unlabelled.folder={rest} {trial}"
    after = trained("finetune", thin, place / "run", arguments.backbone, draw, words)["accuracy"]
    before = json.loads((place / "run-supervised/metrics.json").read_text())["test"]["accuracy"]["value"]
    return before, after


def shown(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
