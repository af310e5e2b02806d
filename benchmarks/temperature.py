"""Log loss on other images than the temperature was fitted on, with many and with few images.

    export KERAS_HOME=../shared/keras_home
    transfer-cli extract ../shared/data/clothing --backbone mobilenet@0.25 -o /tmp/run
    python benchmarks/temperature.py /tmp/run

Some training images of a run of extract are used for training, the others are scored; the test set is never read. One
row per number of images and rule: the temperature with the lowest out-of-fold log loss, or the one closest to 1 that
does not differ from it significantly (calibration.temperature.fit_temperature).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from transfer_cli.calibration.temperature import apply_temperature, fit_temperature
from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.features import table
from transfer_cli.metrics.scores import calibration_error, log_loss
from transfer_cli.runs.completed_run import FinishedRun


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--images", type=int, nargs="+", default=[800, 300, 100])
    arguments = parser.parse_args()
    run = FinishedRun.read(arguments.run)
    train = run.split.mask("train")
    matrix, truth = table.read(run.directory.features)[train], run.split.truth()[train]
    scored = len(truth) - max(arguments.images)
    print("| images | rule | temperature, mean | log loss, change | worst change | calibration error |")
    print("|---|---|---|---|---|---|")
    for count in arguments.images:
        results: dict[str, list[tuple[float, float, float]]] = {"best": [], "closest to 1": []}
        for draw in range(arguments.draws):
            order = np.random.default_rng(draw).permutation(len(truth))
            used, other = order[:count], order[-scored:]
            names = len(run.split.class_names)
            spec = classifiers.find("logistic")
            fitted = fit.fit(spec, matrix[used], truth[used], fit.FitOptions(classes=names, tune=True))
            before = fit.probabilities(fitted.pipeline, matrix[other], names)
            assert fitted.out_of_fold is not None
            for rule, choose in (("best", lowest_log_loss), ("closest to 1", fit_temperature)):
                temperature = choose(truth[used], fitted.out_of_fold) or 1.0
                after = apply_temperature(before, temperature)
                change = log_loss(truth[other], after) - log_loss(truth[other], before)
                results[rule].append((temperature, change, calibration_error(truth[other], after)))
        for rule, rows in results.items():
            temperature, change, error = (statistics.mean(column) for column in zip(*rows, strict=True))
            worst = max(row[1] for row in rows)
            print(f"| {count} | {rule} | {temperature:.2f} | {change:+.4f} | {worst:+.4f} | {error:.3f} |", flush=True)


def lowest_log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature with the lowest log loss."""
    found = minimize_scalar(
        lambda log: log_loss(truth, apply_temperature(probabilities, float(np.exp(log)))),
        bounds=(-3, 3),
        method="bounded",
    )
    return float(np.exp(found.x))


if __name__ == "__main__":
    main()
