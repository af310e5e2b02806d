"""Calibration, and rejection of out-of-distribution images: means over random splits.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/trust.py ../shared/data/clothing --ood ../shared/data/sign_digits/test
    python benchmarks/trust.py ../shared/data/clothing --ood ../shared/data/sign_digits/test --only-train

The folder needs train and test. All images are pooled and split again by each seed, a fifth for testing; with
--only-train only the training images, to select settings. Per coverage of val: the share of the test images that keep
their label, the error rate of these, and the share of the out-of-distribution images that are rejected, also by a
threshold on the confidence alone with the same coverage.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from measuring import train_and_score

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.rejection import Rejection
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.data.image_batches import batches
from transfer_cli.inference.load import load
from transfer_cli.inference.models import FeatureModel
from transfer_cli.io.discovery import expand_paths
from transfer_cli.metrics.metrics_table import score
from transfer_cli.runs.completed_run import FinishedRun

Metrics = dict[str, float]


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ood", type=Path, required=True, help="folder of out-of-distribution images")
    parser.add_argument("--method", choices=["extract", "finetune"], default="extract")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only-train", action="store_true")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.8, 0.9, 0.92, 0.95])
    arguments = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        folder = pool(arguments.folder, Path(place) / "images", ["train"] if arguments.only_train else None)
        for seed in range(arguments.splits):
            run = Path(place) / f"run-{seed}"
            train_and_score(arguments.method, folder, run, arguments.backbone, 0, f"split.seed={seed}")
            for name, value in {**calibrated(run), **rejected(run, arguments.ood, arguments.coverage)}.items():
                found[name].append(value)
    print(f"| {arguments.method}, {arguments.backbone}, {arguments.splits} splits | mean | min | max |")
    print("|---|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {statistics.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


def pool(folder: Path, target: Path, parts: list[str] | None) -> Path:
    """Make a folder of classes from one with train and test; return `target`."""
    for part in parts or ["train", "test"]:
        for group in sorted((folder / part).iterdir()):
            (target / group.name).mkdir(parents=True, exist_ok=True)
            for image in group.iterdir():
                (target / group.name / f"{part}-{image.name}").symlink_to(image.resolve())
    return target


def calibrated(run: Path) -> Metrics:
    """Return log loss and calibration error on test, with and without the temperature of a run."""
    finished = FinishedRun.read(run)
    bundle, _ = ModelBundle.read(run)
    test = finished.predictions_of("test")
    after = test.predictions.probabilities
    before = apply_temperature(after, None if bundle.temperature is None else 1 / bundle.temperature)
    of_before, of_after = (score(test.truth, each) for each in (before, after))
    metrics = {"temperature": bundle.temperature or 1.0}
    for name in ("log_loss", "expected_calibration_error"):
        metrics |= {f"{name}, before": of_before[name]["value"], f"{name}, after": of_after[name]["value"]}
    change = metrics["log_loss, after"] - metrics["log_loss, before"]
    return {**metrics, "log_loss, change": change}


def rejected(run: Path, ood: Path, coverages: list[float]) -> Metrics:
    """Return the shares of the test images and of the out-of-distribution images that a model rejects."""
    finished = FinishedRun.read(run)
    model = load(str(run))
    assert isinstance(model, FeatureModel)
    assert model.rejection_file is not None
    rejection = Rejection.load(model.rejection_file)
    own = [str(finished.root / path) for path in finished.predictions_of("test").predictions.paths]
    features, ood_features = features_of(model, own), features_of(model, list(expand_paths([str(ood)])))
    probabilities, ood_probabilities = model.classify(features), model.classify(ood_features)
    wrong = probabilities.argmax(axis=1) != finished.predictions_of("test").truth
    scores, ood_scores = rejection.scores(probabilities, features), rejection.scores(ood_probabilities, ood_features)
    metrics: Metrics = {}
    for coverage in coverages:
        threshold = rejection.threshold_for(coverage).score
        kept = scores >= threshold
        metrics |= {
            f"{coverage:.0%} of val: test images with a label": float(kept.mean()),
            f"{coverage:.0%} of val: error rate of these": float(wrong[kept].mean()),
            f"{coverage:.0%} of val: out-of-distribution images rejected": float((ood_scores < threshold).mean()),
        }
        lowest = np.quantile(rejection.confidence, 1 - coverage)
        unsure = ood_probabilities.max(axis=1) < lowest
        metrics[f"{coverage:.0%} of val: the same, by confidence alone"] = float(unsure.mean())
    return metrics


def features_of(model: FeatureModel, paths: list[str]) -> np.ndarray:
    """Return the features of images, float32 of shape (n, width)."""
    read = batches(paths, size=model.image_size, resize=model.resize, batch_size=32)
    return np.concatenate([model.features(batch.images) for batch in read if len(batch.images)])


if __name__ == "__main__":
    main()
