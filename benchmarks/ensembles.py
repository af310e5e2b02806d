"""Ensembles beside their best member: extract and finetune of two backbones, for seeds that each hold out other val.

    python benchmarks/ensembles.py ../shared/data/clothing ../shared/data/sign_digits --runs runs/ensembles

The best member is the one with the highest accuracy on test, which nobody could have picked beforehand. Differences
are of the same pictures; an interval that holds 0 does not tell the two apart. The ensembles are made anew.
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
    """One ensemble of one seed: accuracies on test, and by how much it is better than the best member, in points."""

    method: str
    best: float
    accuracy: float
    gain: float
    low: float
    high: float


def call(*words: str | Path) -> None:
    """Run a command of ours."""
    command = [sys.executable, "-m", "transfer_cli", "--quiet", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def members(folder: Path, place: Path, seed: int) -> list[Path]:
    """Train what is not there yet; return the runs of one seed."""
    runs = []
    for backbone in BACKBONES:
        tuned, frozen = (place / f"{method}-{backbone}-{seed}" for method in ("finetune", "extract"))
        words = ("--backbone", backbone, "--seed", str(seed))
        if not (tuned / "metrics.json").is_file():
            call("finetune", folder, *words, "--set", f"split.seed={seed}", "-o", tuned)
        if not (frozen / "metrics.json").is_file():
            call("extract", folder, *words, "--split", tuned / "split.csv", "-o", frozen)
        runs += [frozen, tuned]
    return runs


def row_of(method: str, runs: list[Path], place: Path) -> Row:
    """Make an ensemble of some runs and compare it with the best of them on test."""
    call("ensemble", *runs, "--method", method, "-o", place, "--overwrite")
    answers = [ModelPredictions.read(run) for run in runs]
    best = max(answers, key=lambda each: each.correct.mean())
    own = ModelPredictions.of_run(FinishedRun.read(place).directory, FinishedRun.read(place).split)
    drop, low, high = accuracy_drop(best.truth, best.probabilities, own.probabilities)
    gained = (-drop, 0.0 if high is None else -high, 0.0 if low is None else -low)
    return Row(method, float(best.correct.mean()), float(own.correct.mean()), *gained)


def main() -> None:
    """Train the members, join them in each way, print a table for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="with train and test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="keep the runs there, and take those that are")
    request = parser.parse_args()
    with TemporaryDirectory() as temporary:
        for folder in request.folders:
            place = (request.runs or Path(temporary)) / folder.name
            place.mkdir(parents=True, exist_ok=True)
            rows = []
            for seed in request.seeds:
                runs = members(folder, place, seed)
                rows += [row_of(method, runs, place / f"{method}-{seed}") for method in METHODS]
            print(f"\n{folder.name}, best member {_shown([row.best for row in rows if row.method == METHODS[0]])}\n")
            print("| method | test accuracy, mean (each seed) | points above the best member, with interval |")
            print("| --- | --- | --- |")
            for method in METHODS:
                own = [row for row in rows if row.method == method]
                gains = ", ".join(f"{row.gain:+.1f} ({row.low:+.1f} to {row.high:+.1f})" for row in own)
                print(f"| {method} | {_shown([row.accuracy for row in own])} | {gains} |", flush=True)


def _shown(values: list[float]) -> str:
    return f"{mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


if __name__ == "__main__":
    main()
