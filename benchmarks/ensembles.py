"""Ensembles compared with their best member: extract and finetune of two backbones, several seeds.

    python benchmarks/ensembles.py ../shared/data/clothing ../shared/data/sign_digits --runs runs/ensembles

Each seed has another validation set. The best member is the one with the highest test accuracy, which cannot be known
beforehand. Differences are paired (the same images); if an interval contains 0, the difference is not significant.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from transfer_cli.catalog import ensemble_methods
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.runs.completed_run import FinishedRun

METHODS = [name for name in ensemble_methods.names() if not ensemble_methods.find(name).single_network]
BACKBONES = ("mobilenet@0.25", "mobilenet_v2@0.35")


@dataclass(frozen=True)
class Row:
    """Test accuracy of an ensemble and of its best member, and the gain with its interval in percentage points."""

    method: str
    best: float
    accuracy: float
    gain: float
    low: float
    high: float


def call(*arguments: str | Path) -> None:
    """Run a transfer-cli command."""
    command = [sys.executable, "-m", "transfer_cli", "--quiet", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def members(folder: Path, place: Path, seed: int) -> list[Path]:
    """Train the missing members; return the runs of one seed."""
    runs = []
    for backbone in BACKBONES:
        tuned, frozen = (place / f"{method}-{backbone}-{seed}" for method in ("finetune", "extract"))
        options = ("--backbone", backbone, "--seed", str(seed))
        if not (tuned / "metrics.json").is_file():
            call("finetune", folder, *options, "--set", f"split.seed={seed}", "-o", tuned)
        if not (frozen / "metrics.json").is_file():
            call("extract", folder, *options, "--split", tuned / "split.csv", "-o", frozen)
        runs += [frozen, tuned]
    return runs


def row_of(method: str, runs: list[Path], place: Path) -> Row:
    """Combine some runs and compare the ensemble with the best of them on test."""
    call("ensemble", *runs, "--method", method, "-o", place, "--overwrite")
    members = [ModelPredictions.read(run) for run in runs]
    best = max(members, key=lambda each: each.correct.mean())
    own = ModelPredictions.of_run(FinishedRun.read(place).directory, FinishedRun.read(place).split)
    drop, low, high = accuracy_drop(best.truth, best.probabilities, own.probabilities)
    gain = (-drop, 0.0 if high is None else -high, 0.0 if low is None else -low)
    return Row(method, float(best.correct.mean()), float(own.correct.mean()), *gain)


def main() -> None:
    """Train the members, combine them with each method, and print a table per folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="with train and test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in, and to reuse runs from")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        for folder in options.folders:
            place = (options.runs or Path(temporary)) / folder.name
            place.mkdir(parents=True, exist_ok=True)
            rows = []
            for seed in options.seeds:
                runs = members(folder, place, seed)
                rows += [row_of(method, runs, place / f"{method}-{seed}") for method in METHODS]
            print(f"\n{folder.name}, best member {_format([row.best for row in rows if row.method == METHODS[0]])}\n")
            print("| method | test accuracy, mean (per seed) | points above the best member (95 % interval) |")
            print("| --- | --- | --- |")
            for method in METHODS:
                own = [row for row in rows if row.method == method]
                gains = ", ".join(f"{row.gain:+.1f} ({row.low:+.1f} to {row.high:+.1f})" for row in own)
                print(f"| {method} | {_format([row.accuracy for row in own])} | {gains} |", flush=True)


def _format(values: list[float]) -> str:
    return f"{mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


if __name__ == "__main__":
    main()
