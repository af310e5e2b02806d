"""Accuracy and cost of test-time augmentation, over several seeds with different validation sets.

    python benchmarks/tta.py extract clothing

--part test measures on the test set instead. The time is per image, from the file to the prediction, the median of all
rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import alternate, median, report

from transfer_cli.catalog import tta
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.predict import predict
from transfer_cli.inference.tta import AugmentedModel
from transfer_cli.metrics.scores import log_loss_per_image
from transfer_cli.runs.completed_run import FinishedRun

NONE = "none"


def measured(run: Path, part: str, methods: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return accuracy, log loss and ms/image of each method on one part of a run."""
    finished = FinishedRun.read(run)
    rows = [row for row in finished.split.rows if row.part == part]
    truth = np.array([finished.split.class_names.index(row.truth) for row in rows])
    paths = [str(finished.root / row.path) for row in rows]
    model = load(str(run))
    models = {method: model if method == NONE else AugmentedModel(model, method) for method in methods}
    results = {method: probabilities_of(each, paths) for method, each in models.items()}
    ways = {method: partial(probabilities_of, each, paths) for method, each in models.items()}
    seconds = alternate(ways, rounds)
    found = {}
    for method, probabilities in results.items():
        found[method] = {
            "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
            "log_loss": float(log_loss_per_image(truth, probabilities).mean()),
            "milliseconds": 1000 * median(seconds[method]) / len(paths),
        }
    return found


def probabilities_of(model: AbstractModel, paths: list[str]) -> np.ndarray:
    """Return the probabilities of all images."""
    return np.concatenate([batch.probabilities for batch in predict(model, paths)])


def main() -> None:
    """Train a model per seed, predict with each method, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["extract", "finetune"])
    parser.add_argument("folder", type=Path, help="folder with train and test")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=[*tta.names(), "5", "10", "30"])
    parser.add_argument("--val", type=float, default=0.3)
    parser.add_argument("--part", choices=["val", "test"], default="val")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in, and to reuse runs from")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    methods = [NONE, *options.methods]
    with TemporaryDirectory() as scratch:
        found = []
        for seed in options.seeds:
            run = (options.runs or Path(scratch)) / f"{options.how}-{seed}"
            arguments = [options.how, options.folder, "--backbone", options.backbone, "--seed", seed, "-o", run]
            command = [sys.executable, "-m", "transfer_cli", "--quiet", *arguments, "--set", f"split.val={options.val}"]
            command += ["--set", f"split.seed={seed}"]
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
            found.append(measured(run, options.part, methods, options.rounds))
    report(f"tta {options.how}", [row_of(method, found, options.part) for method in methods], options.json)


def row_of(method: str, found: list[dict[str, dict[str, float]]], part: str) -> dict[str, Any]:
    """Return a row of the table: means and ranges over the seeds."""

    def of(key: str, of_method: str = method) -> list[float]:
        return [each[of_method][key] for each in found]

    def summary(values: list[float], form: str) -> str:
        return f"{mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"

    gains = [100 * (one - other) for one, other in zip(of("accuracy"), of("accuracy", NONE), strict=True)]
    return {
        "--tta": method,
        "passes": 1 if method == NONE else tta.find(method).passes,
        "ms/image": f"{median(of('milliseconds')):.1f}",
        f"{part} accuracy, mean and range": summary(of("accuracy"), ".3f"),
        "gain, points": "" if method == NONE else summary(gains, "+.1f"),
        "log loss, mean": f"{mean(of('log_loss')):.3f}",
    }


if __name__ == "__main__":
    main()
