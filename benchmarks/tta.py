"""What test-time augmentation brings and costs, on val pictures, for seeds that each hold out others.

    python benchmarks/tta.py extract clothing

Nothing is chosen here; --part test reads the test pictures instead. The milliseconds are those of a picture from the
file to the answer, the median of all rounds.
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

from benchmarks.measuring import alternate, median, report
from transfer_cli.catalog import tta
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.predict import predict
from transfer_cli.inference.tta import AugmentedModel
from transfer_cli.metrics.scores import log_loss_per_image
from transfer_cli.runs.completed_run import FinishedRun

NONE = "none"


def measured(run: Path, part: str, methods: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return accuracy, log loss and milliseconds a picture of each method on a part of a run."""
    finished = FinishedRun.read(run)
    rows = [row for row in finished.split.rows if row.part == part]
    truth = np.array([finished.split.class_names.index(row.truth) for row in rows])
    paths = [str(finished.root / row.path) for row in rows]
    model = load(str(run))
    request = {method: model if method == NONE else AugmentedModel(model, method) for method in methods}
    answers = {method: answered(each, paths) for method, each in request.items()}
    ways = {method: partial(answered, each, paths) for method, each in request.items()}
    seconds = alternate(ways, rounds)
    found = {}
    for method, probabilities in answers.items():
        found[method] = {
            "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
            "log_loss": float(log_loss_per_image(truth, probabilities).mean()),
            "milliseconds": 1000 * median(seconds[method]) / len(paths),
        }
    return found


def answered(model: AbstractModel, paths: list[str]) -> np.ndarray:
    """Return the probabilities of all pictures."""
    return np.concatenate([batch.probabilities for batch in predict(model, paths)])


def main() -> None:
    """Train for each seed, ask about each picture by each method, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["extract", "finetune"])
    parser.add_argument("folder", type=Path, help="with train and test")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=[*tta.names(), "5", "10", "30"])
    parser.add_argument("--val", type=float, default=0.3)
    parser.add_argument("--part", choices=["val", "test"], default="val")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="keep the runs there, and take those that are")
    parser.add_argument("--json", type=Path)
    typed = parser.parse_args()
    methods = [NONE, *typed.methods]
    with TemporaryDirectory() as scratch:
        found = []
        for seed in typed.seeds:
            run = (typed.runs or Path(scratch)) / f"{typed.how}-{seed}"
            words = [typed.how, typed.folder, "--backbone", typed.backbone, "--seed", seed, "-o", run]
            command = [sys.executable, "-m", "transfer_cli", "--quiet", *words, "--set", f"split.val={typed.val}"]
            command += ["--set", f"split.seed={seed}"]
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
            found.append(measured(run, typed.part, methods, typed.rounds))
    report(f"tta {typed.how}", [row_of(method, found, typed.part) for method in methods], typed.json)


def row_of(method: str, found: list[dict[str, dict[str, float]]], part: str) -> dict[str, Any]:
    """Return a row of the table: means over the seeds, with ranges."""

    def of(word: str, of_method: str = method) -> list[float]:
        return [each[of_method][word] for each in found]

    def summary(values: list[float], form: str) -> str:
        return f"{mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"

    gains = [100 * (one - other) for one, other in zip(of("accuracy"), of("accuracy", NONE), strict=True)]
    return {
        "--tta": method,
        "passes": 1 if method == NONE else tta.find(method).passes,
        "ms a picture": f"{median(of('milliseconds')):.1f}",
        f"{part} accuracy, mean and range": summary(of("accuracy"), ".3f"),
        "gain, points": "" if method == NONE else summary(gains, "+.1f"),
        "log loss, mean": f"{mean(of('log_loss')):.3f}",
    }


if __name__ == "__main__":
    main()
