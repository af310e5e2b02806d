"""Checks for problems that may matter: each function returns its finding, a sentence, or None."""

from __future__ import annotations

import math

import numpy as np

from transfer_cli.metrics.scores import UNEVEN
from transfer_cli.rendering.html import percent
from transfer_cli.report.diagnostic_checks import DiagnosticChecks
from transfer_cli.report.run_facts import RunFacts, list_names
from transfer_cli.report.serious_checks import one_class_predicted
from transfer_cli.text import counted

CHECKS = DiagnosticChecks("check")
_MIN_TRAIN_IMAGES = 10
_OVERFITTING = 0.15
"""Difference of training and validation accuracy."""
_UNDERFITTING = 0.75
"""Accuracy that neither reaches; augmentation alone makes training images harder, but not val."""


@CHECKS.add(
    "random weights",
    "Transfer learning needs a pretrained network; random features are little better than chance.",
    "`transfer-cli {method} {folder} --weights imagenet`",
)
def random_weights(facts: RunFacts) -> str | None:
    """Check whether the backbone is not pretrained."""
    is_random = not facts.from_scratch and facts.setting("backbone.weights") == "none"
    name = facts.setting("backbone.name", "")
    return f"The backbone {name} has random weights (--weights none)." if is_random else None


@CHECKS.add(
    "leakage: near-duplicates",
    "Frames of one film, crops or re-encoded versions of one photograph make the score better than on new images.",
    "Look at the pairs under Leakage. To keep near-duplicates in one split: "
    "`transfer-cli {method} {folder} --group-by near-duplicates -o {run}-grouped`. To leave out one image of each "
    "pair: `transfer-cli leaks {run}`, then "
    "`transfer-cli {method} {folder_to_omit} --omit {run}/leaks.csv -o {run}-cleaned`",
)
def leaked_near_duplicates(facts: RunFacts) -> str | None:
    """Check whether near-duplicates are in the training set and in another split."""
    images = counted(facts.near_duplicates, "validation or test image")
    return f"A near-duplicate is in the training set: {images}." if facts.near_duplicates else None


@CHECKS.add(
    "conflicting labels",
    "One of the two labels is wrong, or the classes overlap; one of the images always counts as a mistake.",
    "Look at the pairs under Leakage and keep the file with the correct label. To leave out both images of each pair: "
    "`transfer-cli leaks {run}`, then `transfer-cli {method} {folder_to_omit} --omit {run}/leaks.csv -o {run}-cleaned`",
)
def conflicting_labels(facts: RunFacts) -> str | None:
    """Check whether the same image has two labels."""
    pairs = counted(facts.conflicting_pairs, "pair")
    return f"Duplicates with different labels: {pairs}." if facts.conflicting_pairs else None


@CHECKS.add(
    "class not better than chance",
    "The model predicts these classes as often for other images as for their own.",
    "Under Mistakes, see what these classes are confused with: are the labels correct and the classes distinct?",
)
def class_at_chance(facts: RunFacts) -> str | None:
    """Check whether the recall of a class does not exceed the share of images predicted as it."""
    part, scores = facts.evaluated
    if scores.confusion is None:
        return None
    chance = scores.predicted / max(scores.images, 1)
    weak = [
        f"{name} (recall {percent(recall, 0)}, at random {percent(share, 0)})"
        for name, recall, share, count in zip(facts.class_names, scores.recall, chance, scores.support, strict=True)
        if count >= 5 and 0 < recall <= share
    ]
    return f"On {part} recall is not better than random guessing for {list_names(weak)}." if weak else None


@CHECKS.add(
    "test accuracy below validation accuracy",
    "The test images differ from the training images, or too many choices were made on the validation set.",
    "Compare the images of both sets (camera, background, place, time), and add images like those of the test set "
    "to the training set.",
)
def test_below_val(facts: RunFacts) -> str | None:
    """Check whether test accuracy is below validation accuracy, and their intervals do not overlap."""
    val, test = facts.scores.get("val"), facts.scores.get("test")
    if not val or not test or test.high >= val.low:
        return None
    return (
        f"{test.metric.capitalize()} is {percent(test.accuracy, 0)} on test and {percent(val.accuracy, 0)} on val; "
        "chance does not explain the gap."
    )


@CHECKS.add(
    "overfitting",
    "The network memorises its training images instead of what their classes have in common.",
    "More training images help most. Else try more augmentation: "
    "`transfer-cli finetune {folder} --recipe classic-augmentation`, or train fewer layers: "
    "`transfer-cli finetune {folder} --recipe last-block`",
)
def overfitting(facts: RunFacts) -> str | None:
    """Check whether training accuracy is far above validation accuracy."""
    val, best = facts.scores.get("val"), facts.history.best
    train = best.accuracy if best and best.val_accuracy is not None else None
    if train is None or val is None or val.confusion is None or train - val.accuracy < _OVERFITTING:
        return None
    return (
        f"In the epoch that was kept, accuracy is {percent(train, 0)} on the training set and "
        f"{percent(val.accuracy, 0)} on the validation set."
    )


@CHECKS.add(
    "underfitting",
    "The network does not even learn its training images: it may not change enough, for too short, or see too little.",
    "Train more layers for longer: `transfer-cli finetune {folder} --recipe gentle-two-stage -o {run}-gentle`, "
    "or try a larger network: `transfer-cli rank {folder}`. If both are no better, look for wrong labels: "
    "`transfer-cli data check {folder}`",
)
def underfitting(facts: RunFacts) -> str | None:
    """Check whether accuracy is low on the training images, too."""
    val, best = facts.scores.get("val"), facts.history.best
    train = best.accuracy if best and best.val_accuracy is not None else None
    if train is None or val is None or val.confusion is None or max(train, val.accuracy) >= _UNDERFITTING:
        return None
    if train - val.accuracy >= _OVERFITTING:
        return None
    return (
        f"In the epoch that was kept, accuracy is {percent(train, 0)} on the training set, as low as "
        f"{percent(val.accuracy, 0)} on the validation set."
    )


@CHECKS.add(
    "class imbalance",
    "The model predicts rare classes too seldom, because this costs little accuracy.",
    "`transfer-cli finetune {folder} --recipe imbalanced`, or "
    "`transfer-cli extract {folder} --set balance.method=class-weights -o {run}-weighted`",
)
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


@CHECKS.add(
    "few training images",
    "From so few images a model also learns accidental details such as the background.",
    "Add images of these classes; this usually improves a model most. To train without the smallest: {drop}, then "
    "`transfer-cli {method} {folder_to_map} --class-map classes.csv -o {run}-classes`",
)
def few_training_images(facts: RunFacts) -> str | None:
    """Check whether a class has fewer than 10 training images."""
    counts = zip(facts.class_names, facts.images["train"], strict=True)
    few = [f"{name} ({count})" for name, count in counts if 0 < count < _MIN_TRAIN_IMAGES]
    return f"Classes with fewer than {_MIN_TRAIN_IMAGES} training images: {list_names(few)}." if few else None


@CHECKS.add(
    "two classes confused with each other",
    "The images do not show the difference, or the labels are inconsistent.",
    "Look at both cells under Mistakes. Correct the labels, or merge the two classes: {merge}, then "
    "`transfer-cli {method} {folder_to_map} --class-map classes.csv -o {run}-merged`",
)
def confused_pair(facts: RunFacts) -> str | None:
    """Check whether two classes are each predicted as the other, by a network that could tell them apart."""
    if facts.is_embedded:
        return None
    part, scores = facts.evaluated
    if (confusion := scores.confusion) is None:
        return None
    if (pair := facts.most_confused()) is None:
        return None
    first, second = pair
    one, other = map(facts.class_names.index, pair)
    return (
        f"On {part}, {confusion[one, other]} of {scores.support[one]} {first} are predicted as {second}, and "
        f"{confusion[other, one]} of {scores.support[other]} {second} as {first}."
    )


@CHECKS.add(
    "class often predicted as another",
    "Fixing a mistake this frequent improves the accuracy more than all others.",
    "Look at this cell under Mistakes, and add training images like those shown there.",
)
def frequent_confusion(facts: RunFacts) -> str | None:
    """Check whether at least a quarter of a class is predicted as one other class."""
    part, scores = facts.evaluated
    if (confusion := scores.confusion) is None or one_class_predicted(facts):
        return None
    share = confusion / np.maximum(scores.support, 1)[:, None] * (scores.support >= 5)[:, None]
    np.fill_diagonal(share, 0)
    if share.max(initial=0) < 0.25:
        return None
    one, other = np.unravel_index(share.argmax(), share.shape)
    return (
        f"On {part} {confusion[one, other]} of {scores.support[one]} {facts.class_names[one]} "
        f"({percent(share[one, other], 0)}) are predicted as {facts.class_names[other]}."
    )


@CHECKS.add(
    "confident mistakes",
    "If a model is confident and wrong, the label is often wrong (Northcutt et al. 2021).",
    "Go through the confident mistakes below and correct wrong labels. To leave out these images instead: in "
    "{run}/suspects.csv keep only the rows whose label is wrong{and_omitted}, then "
    "`transfer-cli {method} {folder_to_omit} --omit {run}/suspects.csv -o {run}-cleaned`",
)
def confident_mistakes(facts: RunFacts) -> str | None:
    """Check whether wrong predictions have a confidence of at least 95 %."""
    for part, scores in facts.scores.items():
        if scores.confusion is not None and scores.confident_mistakes >= max(3, 0.01 * scores.images):
            images = counted(scores.confident_mistakes, facts.noun(part))
            return f"Predicted incorrectly with a confidence of at least 95 %: {images}."
    return None


@CHECKS.add(
    "poor calibration",
    "The probabilities are not reliable, and a threshold on them will not behave as expected.",
    "The temperature fitted on the validation set does not help here: that set is too small, or unlike the others. "
    "Use the probabilities for ranking only, and choose thresholds on your own images.",
)
def poor_calibration(facts: RunFacts) -> str | None:
    """Check whether confidence and accuracy differ."""
    part, scores = facts.evaluated
    # Sampling gives a perfectly calibrated model an error, too: about 0.06 on 372 images.
    expected = 0.05 + 1.16 / math.sqrt(max(scores.images, 1))
    if scores.calibration_error is None or not scores.images or scores.calibration_error < expected:
        return None
    which = "overconfident" if scores.mean_confidence > scores.accuracy else "underconfident"
    return (
        f"On {part} confidence and accuracy differ by {100 * scores.calibration_error:.0f} points on average (expected "
        f"calibration error): the model is {which}."
    )


@CHECKS.add(
    "log loss worse than class frequencies",
    "The model is so confident in its mistakes that its probabilities do harm.",
    "Train from pretrained weights for fewer epochs, or with stronger regularisation.",
)
def log_loss_above_baseline(facts: RunFacts) -> str | None:
    """Check whether the log loss is above the entropy of the class frequencies."""
    part, scores = facts.evaluated
    shares = scores.support[scores.support > 0] / max(scores.images, 1)
    entropy = float(-(shares * np.log(shares)).sum())
    if scores.confusion is None or len(shares) < 2 or scores.log_loss <= entropy:
        return None
    return (
        f"On {part} the log loss is {scores.log_loss:.2f}; predicting the class frequencies for every image would give "
        f"{entropy:.2f}."
    )


@CHECKS.add(
    "no test set",
    "Without images that nothing was selected on, the true accuracy is unknown.",
    "`transfer-cli {method} {folder} --set split.test=0.2 -o {run}-tested`",
)
def no_test_set(facts: RunFacts) -> str | None:
    """Check whether there is no test set."""
    return None if "test" in facts.scores else "The run has no test images."


@CHECKS.add(
    "unreadable images",
    "If they are all of one class or one camera, the model was not trained on it.",
    "See the list with reasons under Run details. Repair or remove the files.",
)
def unreadable_images(facts: RunFacts) -> str | None:
    """Check whether at least 2 % of the files could not be read."""
    files = facts.skipped + sum(int(counts.sum()) for counts in facts.images.values())
    if not facts.skipped or facts.skipped < 0.02 * files:
        return None
    return f"{facts.skipped} of {counted(files, 'file')} could not be read ({percent(facts.skipped / files, 0)})."


@CHECKS.add(
    "low-resolution images",
    "Enlarged images lack detail and differ from the images that the network was pretrained on.",
    "Use the original images if possible, or a smaller input size: "
    "`transfer-cli {method} {folder} --set images.size={smaller_size} -o {run}-{smaller_size}`",
)
def low_resolution(facts: RunFacts) -> str | None:
    """Check whether half of the images are smaller than half the input size of the network."""
    sides = facts.short_sides
    if not len(sides) or np.median(sides) >= facts.image_size / 2:
        return None
    return (
        f"The median shorter side of the images is {int(np.median(sides))} pixels. They are scaled up to the input "
        f"size of the network, {facts.image_size} pixels."
    )


@CHECKS.add(
    "last epoch was the best",
    "More epochs may improve the model.",
    "`transfer-cli finetune {folder} --overwrite -o {run} --epochs 40`",
)
def last_epoch_best(facts: RunFacts) -> str | None:
    """Check whether the last epoch was the best."""
    best, last = facts.history.best, facts.history.last_epoch
    is_fixed = facts.setting("early_stopping.keep", "best") == "last"
    if is_fixed or best is None or best.epoch < max(last, 2) or facts.history.count("early stop"):
        return None
    return f"The last epoch, {last}, was the best: the validation score was still improving."


@CHECKS.add(
    "training diverged",
    "The learning rate is too high for this network and these images.",
    "`transfer-cli lr-find {folder}` suggests a learning rate; or clip the gradient: "
    "`transfer-cli finetune {folder} --set stage.1.gradient_clip=1 -o {run}-clipped`",
)
def diverged(facts: RunFacts) -> str | None:
    """Check whether the training diverged."""
    count = facts.history.count("halved")
    times = counted(count, "time")
    return f"The training diverged {times}; the learning rate was halved each time." if count else None
