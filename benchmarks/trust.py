"""Whether probabilities are as sure as they are right, and whether foreign pictures are told: means over splits.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/trust.py ../shared/data/clothing --foreign ../shared/data/sign_digits/test
    python benchmarks/trust.py ../shared/data/clothing --foreign ../shared/data/sign_digits/test --only-train

The folder needs train and test. All of its pictures are put together and parted anew by each seed, a fifth for the
test; with --only-train the pictures of train alone, by which something can be chosen. The log loss before calibration
is that of the same answers with the temperature taken out again. Of each bar: which share of the test pictures is kept,
how often a kept one is wrong, and which share of the foreign pictures is unknown, also by a bar on the probability
alone that keeps the same share of val.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from measuring import trained

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.rejection import Rejection
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.data.image_batches import batches
from transfer_cli.inference.load import load
from transfer_cli.inference.models import FeatureModel
from transfer_cli.io.discovery import expand_paths
from transfer_cli.metrics.metrics_table import score
from transfer_cli.runs.completed_run import FinishedRun

Figures = dict[str, float]


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--foreign", type=Path, required=True, help="pictures of something else")
    parser.add_argument("--method", choices=["extract", "finetune"], default="extract")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only-train", action="store_true")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.8, 0.9, 0.92, 0.95])
    arguments = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        folder = together(arguments.folder, Path(place) / "images", ["train"] if arguments.only_train else None)
        for seed in range(arguments.splits):
            run = Path(place) / f"run-{seed}"
            trained(arguments.method, folder, run, arguments.backbone, 0, f"split.seed={seed}")
            for name, value in {**calibrated(run), **rejected(run, arguments.foreign, arguments.coverage)}.items():
                found[name].append(value)
    print(f"| {arguments.method}, {arguments.backbone}, {arguments.splits} splits | mean | least | most |")
    print("|---|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {statistics.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


def together(folder: Path, target: Path, parts: list[str] | None) -> Path:
    """Make a folder of classes out of one of parts; return `target`."""
    for part in parts or ["train", "test"]:
        for group in sorted((folder / part).iterdir()):
            (target / group.name).mkdir(parents=True, exist_ok=True)
            for image in group.iterdir():
                (target / group.name / f"{part}-{image.name}").symlink_to(image.resolve())
    return target


def calibrated(run: Path) -> Figures:
    """Return what the temperature of a run changes on its test pictures."""
    finished = FinishedRun.read(run)
    bundle, _ = ModelBundle.read(run)
    test = finished.predictions_of("test")
    after = test.predictions.probabilities
    before = apply_temperature(after, None if bundle.temperature is None else 1 / bundle.temperature)
    of_before, of_after = (score(test.truth, each) for each in (before, after))
    figures = {"temperature": bundle.temperature or 1.0}
    for name in ("log_loss", "expected_calibration_error"):
        figures |= {f"{name}, before": of_before[name]["value"], f"{name}, after": of_after[name]["value"]}
    worse = figures["log_loss, after"] - figures["log_loss, before"]
    return {**figures, "log_loss, by how much worse": worse}


def rejected(run: Path, foreign: Path, coverages: list[float]) -> Figures:
    """Return what is unknown to the model of a run, of its own test pictures and of foreign ones."""
    finished = FinishedRun.read(run)
    model = load(str(run))
    assert isinstance(model, FeatureModel)
    assert model.rejection_file is not None
    rejection = Rejection.load(model.rejection_file)
    own = [str(finished.root / path) for path in finished.predictions_of("test").predictions.paths]
    features, strange = features_of(model, own), features_of(model, list(expand_paths([str(foreign)])))
    probabilities, odd = model.classify(features), model.classify(strange)
    wrong = probabilities.argmax(axis=1) != finished.predictions_of("test").truth
    scores, foreign_scores = rejection.scores(probabilities, features), rejection.scores(odd, strange)
    figures: Figures = {}
    for coverage in coverages:
        bar = rejection.threshold_for(coverage).score
        kept = scores >= bar
        figures |= {
            f"{coverage:.0%} of val: kept of test": float(kept.mean()),
            f"{coverage:.0%} of val: wrong of those": float(wrong[kept].mean()),
            f"{coverage:.0%} of val: foreign unknown": float((foreign_scores < bar).mean()),
        }
        least = np.quantile(rejection.confidence, 1 - coverage)
        figures[f"{coverage:.0%} of val: foreign unknown, by probability alone"] = float((odd.max(1) < least).mean())
    return figures


def features_of(model: FeatureModel, paths: list[str]) -> np.ndarray:
    """Return the features of pictures, float32 of shape (n, width)."""
    read = batches(paths, size=model.image_size, resize=model.resize, batch_size=32)
    return np.concatenate([model.features(batch.images) for batch in read if len(batch.images)])


if __name__ == "__main__":
    main()
