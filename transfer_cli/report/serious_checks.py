"""Checks for problems that make a run or its score useless: each function returns its finding, a sentence, or None."""

from __future__ import annotations

from transfer_cli.rendering.html import percent
from transfer_cli.report.diagnostic_checks import DiagnosticChecks
from transfer_cli.report.run_facts import RunFacts, list_names
from transfer_cli.text import counted

CHECKS = DiagnosticChecks("serious")
PREMISES = DiagnosticChecks("serious")
"""Checks of what all others rest on; they come first."""


@PREMISES.add(
    "small network of the program",
    "It was trained on generated images only. A network with ImageNet weights recognises far more of a photograph, so "
    "most other findings may be due to this one.",
    "Use real weights: `transfer-cli {method} {folder} --backbone mobilenet_v2 -o {run}-imagenet`. Without an internet "
    "connection, install them from another machine: `transfer-cli weights install KIT.tar`",
)
def embedded_backbone(facts: RunFacts) -> str | None:
    """Check whether the network started from the weights that are part of the program."""
    return "The backbone is embedded, which is part of the program." if facts.is_embedded else None


@PREMISES.add(
    "a test set of one class",
    "Such a score does not show whether the model tells the classes apart.",
    "Add test images of the other classes.",
)
def one_class_evaluated(facts: RunFacts) -> str | None:
    """Check whether all images of the evaluated split are of one class."""
    part, scores = facts.evaluated
    if scores.confusion is None or (scores.support > 0).sum() != 1 or len(facts.class_names) < 2:
        return None
    name = facts.class_names[int(scores.support.argmax())]
    return f"All {counted(scores.images, facts.noun(part))} are of the class {name}."


@CHECKS.add(
    "only one class predicted",
    "The model does not distinguish the classes at all, however high its accuracy looks.",
    "Start from pretrained weights and a linear probe, with a lower learning rate: "
    "`transfer-cli finetune {folder} --set head.start=probe --lr 1e-4`",
)
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


@CHECKS.add(
    "not better than the largest class",
    "A model that always predicts the largest class would be as accurate.",
    "Check the labels of the images below. Then try a larger network: "
    "`transfer-cli {method} {folder} --backbone efficientnet_v2_b0`",
)
def majority_class_baseline(facts: RunFacts) -> str | None:
    """Check whether accuracy does not exceed that of always predicting the largest class."""
    part, scores = facts.evaluated
    largest, baseline = scores.majority_class()
    has_classes = scores.confusion is not None and (scores.support > 0).sum() > 1
    if not has_classes or scores.low > baseline or one_class_predicted(facts):
        return None
    return (
        f"Accuracy on {part} is {percent(scores.accuracy, 0)} (95 % interval {percent(scores.low, 0)} to "
        f"{percent(scores.high, 0)}). Always predicting {facts.class_names[largest]} would reach "
        f"{percent(baseline, 0)}."
    )


@CHECKS.add(
    "leakage: identical files",
    "The network has memorised these images, so the score is better than on new images.",
    "Remove one file of each pair (see Leakage below), then train again: {members_first}`{repeat}`",
)
def leaked_files(facts: RunFacts) -> str | None:
    """Check whether files are in the training set and in another split."""
    images = counted(facts.exact_duplicates, "validation or test image")
    return f"The file is also in the training set: {images}." if facts.exact_duplicates else None


@CHECKS.add(
    "leakage: images of an earlier run",
    "The network was trained on them before this training began, so the score is better than on new images.",
    "Train again with the split of the earlier run, or test on images that it has not seen: "
    "`{repeat} --split EARLIER_RUN/split.csv`",
)
def trained_earlier(facts: RunFacts) -> str | None:
    """Check whether held-out images were training images of a run that the network started from."""
    images, earlier = counted(facts.trained_earlier, "validation or test image"), facts.setting("backbone.weights", "")
    return f"Training images of {earlier}: {images}." if facts.trained_earlier else None


@CHECKS.add(
    "class never predicted correctly",
    "The model is useless for these classes, which the overall accuracy hides.",
    "Look at their images under Mistakes. More training images help most. If these classes are rare: "
    "`transfer-cli finetune {folder} --recipe imbalanced`",
)
def class_never_correct(facts: RunFacts) -> str | None:
    """Check whether a class has recall 0."""
    if one_class_predicted(facts):
        return None
    part, scores = facts.evaluated
    lost = [
        f"{name} (0 of {count})"
        for name, count, correct in zip(facts.class_names, scores.support, scores.correct, strict=True)
        if count >= 3 and correct == 0
    ]
    return f"No {facts.noun(part)} of these classes is predicted correctly: {list_names(lost)}." if lost else None


@CHECKS.add(
    "class missing from a split",
    "A class without training images is never predicted; one without test images is never evaluated.",
    "Add images of this class to that split.",
)
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
