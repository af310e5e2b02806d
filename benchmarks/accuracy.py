"""Test accuracy of `extract` or `finetune` over several seeds, and the time of the whole command.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/accuracy.py extract ../shared/data/clothing ../shared/data/sign_digits
    python benchmarks/accuracy.py finetune --recipe last-block --backbones mobilenet_v2@0.35 ../shared/data/clothing

The folders need train and test. The seed determines the cross-validation folds (extract), or the validation set and
all random numbers of the training (finetune).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print one row of a Markdown table per folder and backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=["extract", "finetune"])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--backbones", default="mobilenet@0.25,mobilenet_v2@0.35")
    parser.add_argument("--recipe")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| folder | backbone | val, mean and range | test, mean and range | seconds, median |")
    print("|---|---|---|---|---|")
    for folder in arguments.folders:
        for backbone in arguments.backbones.split(","):
            runs = [measure(arguments, folder, backbone, seed) for seed in range(arguments.seeds)]
            val, test, seconds = zip(*runs, strict=True)
            cells = [folder.name, backbone, summary(val), summary(test), f"{statistics.median(seconds):.1f}"]
            print(f"| {' | '.join(cells)} |")


def measure(arguments: argparse.Namespace, folder: Path, backbone: str, seed: int) -> tuple[float, float, float]:
    """Return the val accuracy, the test accuracy and the seconds of one command."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        command = [arguments.method, str(folder), "--backbone", backbone, "--seed", str(seed), "-o", str(run)]
        command += ["--set", f"split.seed={seed}"] if arguments.method == "finetune" else []
        command += ["--recipe", arguments.recipe] if arguments.recipe else []
        for override in arguments.set:
            command += ["--set", override]
        begun = time.monotonic()
        environment = {**os.environ, "TRANSFER_CLI_CACHE": str(Path(place) / "cache")}
        call = [sys.executable, "-m", "transfer_cli", "--quiet", *command]
        subprocess.run(call, check=True, capture_output=True, env=environment)
        seconds = time.monotonic() - begun
        metrics = json.loads((run / "metrics.json").read_text())
    return metrics["val"]["accuracy"]["value"], metrics["test"]["accuracy"]["value"], seconds


def summary(values: tuple[float, ...]) -> str:
    """Return the mean and the range."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
