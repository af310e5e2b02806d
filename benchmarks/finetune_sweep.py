"""Val accuracy of recipe settings over several seeds; the test set is never read.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/finetune_sweep.py ../shared/data/clothing ../shared/data/sign_digits \
        --try "stage.1.learning_rate=2e-4" --try "stage.1.learning_rate=5e-4 stage.1.warmup=1"

Each `--try` is a list of settings that replace those of the recipe. A seed determines both the split and the training,
so each seed has another validation set.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print one row of a Markdown table per trial and folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--try", dest="trials", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print("| settings | folder | probe | last epoch | best epoch | log loss of the last | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for trial in arguments.trials or [""]:
        for folder in arguments.folders:
            runs = [measure(folder, arguments, trial, seed) for seed in range(arguments.seeds)]
            mean = [statistics.mean(column) for column in zip(*runs, strict=True)]
            cells = [f"{value:.3f}" for value in mean[:4]] + [f"{mean[4]:.0f}"]
            print(f"| {trial or 'none'} | {folder.name} | {' | '.join(cells)} |", flush=True)


def measure(folder: Path, arguments: argparse.Namespace, trial: str, seed: int) -> tuple[float, ...]:
    """Return the val accuracy of the probe, the last and the best epoch, the last log loss, and the seconds."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        command = ["finetune", str(folder), "--recipe", arguments.recipe, "--backbone", arguments.backbone]
        command += ["--seed", str(seed), "--set", f"split.seed={seed}", "-o", str(run)]
        for override in trial.split():
            command += ["--set", override]
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "transfer_cli", "--quiet", *command], check=True, capture_output=True)
        seconds = time.monotonic() - begun
        with (run / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    accuracies = [float(row["val_accuracy"]) for row in rows]
    return accuracies[0], accuracies[-1], max(accuracies), float(rows[-1]["val_loss"]), seconds


if __name__ == "__main__":
    main()
