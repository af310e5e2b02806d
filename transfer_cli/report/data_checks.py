"""Diagnostics of the images and splits of a run: each function returns its finding, a sentence, or None."""

from __future__ import annotations

import math

import numpy as np

from transfer_cli.metrics.scores import UNEVEN
from transfer_cli.rendering.html import percent
from transfer_cli.report.run_facts import RunFacts, list_names
from transfer_cli.text import counted

_MIN_TRAIN_IMAGES = 10
_MIN_VAL_IMAGES = 50


def no_test_set(facts: RunFacts) -> str | None:
    """Check whether there is no test set."""
    return None if "test" in facts.scores else "The run has no test images."


def small_test_set(facts: RunFacts) -> str | None:
    """Check whether the interval of the test accuracy is wider than 10 points."""
    test = facts.scores.get("test")
    if not test or test.high - test.low <= 0.10:
        return None
    share = min(max(test.accuracy, 0.05), 0.95)
    needed = math.ceil(3.84 * share * (1 - share) / 0.05**2)
    return (
        f"With {counted(test.images, 'test image')} the 95 % interval of the {test.metric} is {percent(test.low, 0)} "
        f"to {percent(test.high, 0)}. With about {needed} test images it would be 10 points wide."
    )


def small_validation_set(facts: RunFacts) -> str | None:
    """Check whether the best epoch was selected on few images."""
    val = facts.scores.get("val")
    if facts.method != "finetune" or val is None or val.images >= _MIN_VAL_IMAGES:
        return None
    return f"The best epoch was selected on {counted(val.images, 'validation image')}."


def missing_class(facts: RunFacts) -> str | None:
    """Check whether a split has no image of a class."""
    for part in ("train", "test", "val"):
        counts = facts.images.get(part)
        if counts is None or not counts.sum():
            continue
        missing = [name for name, count in zip(facts.class_names, counts, strict=True) if not count]
        if missing:
            return f"{part} has no image of {list_names(missing)}."
    return None


def class_imbalance(facts: RunFacts) -> str | None:
    """Check whether class sizes differ strongly, and the recipe does not balance them."""
    counts = facts.images["train"]
    present = counts[counts > 0]
    balanced = facts.setting("balance.method", "none") != "none"
    if balanced or len(present) < 2 or present.max() < UNEVEN * present.min():
        return None
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    return (
        f"The training set has {counted(int(counts[most]), 'image')} of {facts.class_names[most]} and {counts[least]} "
        f"of {facts.class_names[least]}, and the recipe does not balance the classes."
    )


def few_training_images(facts: RunFacts) -> str | None:
    """Check whether a class has fewer than 10 training images."""
    counts = zip(facts.class_names, facts.images["train"], strict=True)
    few = [f"{name} ({count})" for name, count in counts if 0 < count < _MIN_TRAIN_IMAGES]
    return f"Classes with fewer than {_MIN_TRAIN_IMAGES} training images: {list_names(few)}." if few else None


def leaked_files(facts: RunFacts) -> str | None:
    """Check whether files are in the training set and in another split."""
    if not facts.exact_duplicates:
        return None
    return f"The file is also in the training set: {counted(facts.exact_duplicates, 'validation or test image')}."


def leaked_near_duplicates(facts: RunFacts) -> str | None:
    """Check whether near-duplicates are in the training set and in another split."""
    if not facts.near_duplicates:
        return None
    images = counted(facts.near_duplicates, "validation or test image")
    return f"A near-duplicate is in the training set: {images}."


def conflicting_labels(facts: RunFacts) -> str | None:
    """Check whether the same image has two labels."""
    if not facts.conflicting_pairs:
        return None
    return f"Duplicates with different labels: {counted(facts.conflicting_pairs, 'pair')}."


def unreadable_images(facts: RunFacts) -> str | None:
    """Check whether at least 2 % of the files could not be read."""
    files = facts.skipped + sum(int(counts.sum()) for counts in facts.images.values())
    if not facts.skipped or facts.skipped < 0.02 * files:
        return None
    return f"{facts.skipped} of {files} files could not be read ({percent(facts.skipped / files, 0)})."


def missing_images(facts: RunFacts) -> str | None:
    """Check whether images of the report cannot be read any more."""
    if not facts.missing_images:
        return None
    return f"Not in {facts.folder} any more: {counted(facts.missing_images, 'image')} of this report."


def low_resolution(facts: RunFacts) -> str | None:
    """Check whether half of the images are smaller than half the input size of the network."""
    sides = facts.short_sides
    if not len(sides) or np.median(sides) >= facts.image_size / 2:
        return None
    return (
        f"The median shorter side of the images is {int(np.median(sides))} pixels. They are scaled up to the input "
        f"size of the network, {facts.image_size} pixels."
    )
