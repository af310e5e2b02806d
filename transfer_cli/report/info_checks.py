"""Checks for what is good to know about a run: each function returns its finding, a sentence, or None."""

from __future__ import annotations

import math

from transfer_cli.rendering.html import percent
from transfer_cli.report.diagnostic_checks import DiagnosticChecks
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.text import counted

CHECKS = DiagnosticChecks("info")
_MIN_VAL_IMAGES = 50


@CHECKS.add(
    "small test set",
    "So few images cannot show whether one model is better than another.",
    "Add test images. Until then, ignore differences smaller than the interval.",
)
def small_test_set(facts: RunFacts) -> str | None:
    """Check whether the interval of the test accuracy is wider than 10 points."""
    test = facts.scores.get("test")
    if not test or test.high - test.low <= 0.10:
        return None
    share = min(max(test.accuracy, 0.05), 0.95)
    needed = math.ceil(3.84 * share * (1 - share) / 0.05**2)
    return (
        f"With {counted(test.images, 'test image')} the 95 % interval of the {test.metric} is {percent(test.low, 0)} "
        f"to {percent(test.high, 0)}. With about {counted(needed, 'test image')} it would be 10 points wide."
    )


@CHECKS.add(
    "perfect test accuracy",
    "The task may be easy. More often something reveals the class: a background, a border, or leakage.",
    "Try the model on images from another source: `transfer-cli predict {run} NEW_IMAGES --format table`",
)
def perfect_test_accuracy(facts: RunFacts) -> str | None:
    """Check whether all images of a test set of some size are predicted correctly."""
    test = facts.scores.get("test")
    if not test or test.images < 50 or test.accuracy < 1:
        return None
    return f"All {test.images} test images are predicted correctly."


@CHECKS.add(
    "missing images",
    "The metrics are those of the run; only the images cannot be shown.",
    "Move the images back, or name their new folder: `transfer-cli report {run} --images DIR`",
)
def missing_images(facts: RunFacts) -> str | None:
    """Check whether images of the report cannot be read any more."""
    images = counted(facts.missing_images, "image")
    return f"Not in {facts.folder} any more: {images} of this report." if facts.missing_images else None


@CHECKS.add(
    "fine-tuning did not beat the linear probe",
    "Training the network did not help; the final model is a linear classifier on its pretrained features.",
    "Search a better learning rate (`transfer-cli lr-find {folder}`), or use extract, which takes seconds.",
)
def probe_not_beaten(facts: RunFacts) -> str | None:
    """Check whether no epoch was better on val than the linear probe, or the pretrained weights were kept."""
    best, last = facts.history.best, facts.history.last_epoch
    if any(event.get("event") == "share" and event["probe"] == 1 for event in facts.history.events):
        return "On val the linear probe alone is better than its mean with the trained network."
    if best is None or best.epoch > 0 or last == 0:
        return None
    return f"None of {counted(last, 'epoch')} was better on val than a linear classifier on the frozen network."


@CHECKS.add(
    "time budget exhausted",
    "Longer training may improve the model.",
    "`transfer-cli finetune {folder} --time-budget 30m`",
)
def budget_exhausted(facts: RunFacts) -> str | None:
    """Check whether the time budget ended the training."""
    is_exhausted = facts.history.count("budget used up") > 0
    return "The training stopped because its time budget was exhausted." if is_exhausted else None


@CHECKS.add(
    "small validation set",
    "With so few images it is partly luck which network is kept, and validation accuracy is too optimistic.",
    "Rely on the test accuracy. With more images, use a larger validation set: "
    "`transfer-cli {method} {folder} --set split.val=0.2 -o {run}-val`",
)
def small_validation_set(facts: RunFacts) -> str | None:
    """Check whether the network was selected on few images."""
    val = facts.scores.get("val")
    if facts.method != "finetune" or val is None or val.images >= _MIN_VAL_IMAGES:
        return None
    return f"The network was selected on {counted(val.images, 'validation image')}."
