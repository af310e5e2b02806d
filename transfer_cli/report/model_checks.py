"""Diagnostics of the predictions and the training of a run: each function returns its finding, a sentence, or None."""

from __future__ import annotations

import math

import numpy as np

from transfer_cli.rendering.html import percent
from transfer_cli.report.run_facts import RunFacts, list_names
from transfer_cli.text import counted


def one_class_predicted(facts: RunFacts) -> str | None:
    """Check whether all images of a split get the same prediction."""
    for part, scores in facts.scores.items():
        if scores.confusion is not None and (scores.predicted > 0).sum() == 1 and (scores.support > 0).sum() > 1:
            name = facts.class_names[int(scores.predicted.argmax())]
            return (
                f"Every {facts.noun(part)} is predicted as {name}. The accuracy of {percent(scores.accuracy, 0)} is "
                f"only the share of {name} among the images."
            )
    return None


def majority_class_baseline(facts: RunFacts) -> str | None:
    """Check whether accuracy does not exceed that of always predicting the largest class."""
    if not facts.evaluated or one_class_predicted(facts):
        return None
    part, scores = facts.evaluated
    if scores.confusion is None or (scores.support > 0).sum() < 2:
        return None
    largest, baseline = scores.majority_class()
    if scores.low > baseline:
        return None
    return (
        f"Accuracy on {part} is {percent(scores.accuracy, 0)} (95 % interval {percent(scores.low, 0)} to "
        f"{percent(scores.high, 0)}). Always predicting {facts.class_names[largest]} would reach "
        f"{percent(baseline, 0)}."
    )


def random_weights(facts: RunFacts) -> str | None:
    """Check whether the backbone is not pretrained."""
    if facts.from_scratch or facts.setting("backbone.weights") != "none":
        return None
    return f"The backbone {facts.setting('backbone.name', '')} has random weights (--weights none)."


def overfitting(facts: RunFacts) -> str | None:
    """Check whether training accuracy is far above validation accuracy."""
    val, train = facts.scores.get("val"), facts.best_train_accuracy
    if train is None or val is None or val.confusion is None or train - val.accuracy < 0.15:
        return None
    return (
        f"In the best epoch, accuracy is {percent(train, 0)} on the training set and {percent(val.accuracy, 0)} on the "
        "validation set."
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


def class_never_correct(facts: RunFacts) -> str | None:
    """Check whether a class has recall 0."""
    if not facts.evaluated or one_class_predicted(facts):
        return None
    part, scores = facts.evaluated
    lost = [
        f"{name} (0 of {count})"
        for name, count, correct in zip(facts.class_names, scores.support, scores.correct, strict=True)
        if count >= 3 and correct == 0
    ]
    return f"No {facts.noun(part)} of these classes is predicted correctly: {list_names(lost)}." if lost else None


def class_at_chance(facts: RunFacts) -> str | None:
    """Check whether the recall of a class does not exceed the share of images predicted as it."""
    if not facts.evaluated or facts.evaluated[1].confusion is None:
        return None
    part, scores = facts.evaluated
    chance = scores.predicted / max(scores.images, 1)
    weak = [
        f"{name} (recall {percent(recall, 0)}, at random {percent(share, 0)})"
        for name, recall, share, count in zip(facts.class_names, scores.recall, chance, scores.support, strict=True)
        if count >= 5 and 0 < recall <= share
    ]
    return f"On {part} recall is not better than random guessing for {list_names(weak)}." if weak else None


def perfect_test_accuracy(facts: RunFacts) -> str | None:
    """Check whether all images of a test set of some size are predicted correctly."""
    test = facts.scores.get("test")
    if not test or test.images < 50 or test.accuracy < 1:
        return None
    return f"All {test.images} test images are predicted correctly."


def poor_calibration(facts: RunFacts) -> str | None:
    """Check whether confidence and accuracy differ."""
    if not facts.evaluated or facts.evaluated[1].calibration_error is None or not facts.evaluated[1].images:
        return None
    part, scores = facts.evaluated
    assert scores.calibration_error is not None
    # Sampling gives a perfectly calibrated model an error, too: about 0.06 on 372 images.
    if scores.calibration_error < 0.05 + 1.16 / math.sqrt(scores.images):
        return None
    which = "overconfident" if scores.mean_confidence > scores.accuracy else "underconfident"
    return (
        f"On {part} confidence and accuracy differ by {100 * scores.calibration_error:.0f} points on average (expected "
        f"calibration error): the model is {which}."
    )


def log_loss_above_baseline(facts: RunFacts) -> str | None:
    """Check whether the log loss is above the entropy of the class frequencies."""
    if not facts.evaluated or facts.evaluated[1].confusion is None:
        return None
    part, scores = facts.evaluated
    shares = scores.support[scores.support > 0] / max(scores.images, 1)
    entropy = float(-(shares * np.log(shares)).sum())
    if len(shares) < 2 or scores.log_loss <= entropy:
        return None
    return (
        f"On {part} the log loss is {scores.log_loss:.2f}; predicting the class frequencies for every image would give "
        f"{entropy:.2f}."
    )


def confident_mistakes(facts: RunFacts) -> str | None:
    """Check whether wrong predictions have a confidence of at least 95 %."""
    for part, scores in facts.scores.items():
        if scores.confusion is not None and scores.confident_mistakes >= max(3, 0.01 * scores.images):
            images = counted(scores.confident_mistakes, facts.noun(part))
            return f"Predicted incorrectly with a confidence of at least 95 %: {images}."
    return None


def last_epoch_best(facts: RunFacts) -> str | None:
    """Check whether the last epoch was the best."""
    best, last = facts.best_epoch, facts.last_epoch
    if best is None or last is None or best < last or best < 2 or facts.stopped_early:
        return None
    return f"The last epoch, {last}, was the best: the validation score was still improving."


def probe_not_beaten(facts: RunFacts) -> str | None:
    """Check whether no epoch was better on val than the linear probe."""
    if facts.best_epoch != 0 or not facts.last_epoch:
        return None
    epochs = counted(facts.last_epoch, "epoch")
    return f"None of {epochs} was better on val than a linear classifier on the frozen network."


def budget_exhausted(facts: RunFacts) -> str | None:
    """Check whether the time budget ended the training."""
    return "The training stopped because its time budget was exhausted." if facts.budget_exhausted else None


def diverged(facts: RunFacts) -> str | None:
    """Check whether the training diverged."""
    if not facts.divergences:
        return None
    return f"The training diverged {counted(facts.divergences, 'time')}; the learning rate was halved each time."


def confused_pair(facts: RunFacts) -> str | None:
    """Check whether two classes are each predicted as the other."""
    if not facts.evaluated or (confusion := facts.evaluated[1].confusion) is None:
        return None
    part, scores = facts.evaluated
    share = confusion / np.maximum(scores.support, 1)[:, None]
    both = np.triu(np.minimum(share, share.T) * ((confusion >= 2) & (confusion.T >= 2)), 1)
    if both.max(initial=0) < 0.10:
        return None
    one, other = (int(place) for place in np.unravel_index(both.argmax(), both.shape))
    first, second = facts.class_names[one], facts.class_names[other]
    return (
        f"On {part}, {confusion[one, other]} of {scores.support[one]} {first} are predicted as {second}, and "
        f"{confusion[other, one]} of {scores.support[other]} {second} as {first}."
    )


def frequent_confusion(facts: RunFacts) -> str | None:
    """Check whether at least a quarter of a class is predicted as one other class."""
    if not facts.evaluated or (confusion := facts.evaluated[1].confusion) is None or one_class_predicted(facts):
        return None
    part, scores = facts.evaluated
    share = confusion / np.maximum(scores.support, 1)[:, None] * (scores.support >= 5)[:, None]
    np.fill_diagonal(share, 0)
    if share.max(initial=0) < 0.25:
        return None
    one, other = (int(place) for place in np.unravel_index(share.argmax(), share.shape))
    return (
        f"On {part} {confusion[one, other]} of {scores.support[one]} {facts.class_names[one]} "
        f"({percent(share[one, other], 0)}) are predicted as {facts.class_names[other]}."
    )
