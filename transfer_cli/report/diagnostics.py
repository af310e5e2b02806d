"""Diagnostics of a run: a table of checks, each with its severity, why it matters, and what to do next.

To add one, write a function in `data_checks` or `model_checks`, a row here, and a run that fails the check in
tests/report/test_diagnostics.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.report import data_checks, model_checks
from transfer_cli.report.run_facts import RunFacts

Severity = Literal["serious", "check", "info"]
SEVERITIES: tuple[Severity, ...] = ("serious", "check", "info")


@dataclass(frozen=True)
class DiagnosticCheck:
    """A row of the table; `next_step` may hold placeholders, see `diagnose`."""

    name: str
    severity: Severity
    evidence: Callable[[RunFacts], str | None]
    why: str
    next_step: str


@dataclass(frozen=True)
class Finding:
    """A problem of a run: what was found, why it matters, and what to do next."""

    name: str
    severity: Severity
    evidence: str
    why: str
    next_step: str


def diagnose(facts: RunFacts) -> list[Finding]:
    """Return the problems of a run, the most severe first."""
    is_ensemble = facts.method == ENSEMBLE
    values = {
        "folder": shlex.quote(facts.folder),
        "run": shlex.quote(facts.run),
        # Only the members of an ensemble are trained.
        "method": "extract" if is_ensemble else facts.method,
        "members_first": "each member with its own command and `--overwrite`, then " if is_ensemble else "",
        "repeat": _repeat_command(facts),
        "smaller_size": 128 if facts.image_size > 128 else 64,
    }
    findings = [
        Finding(check.name, check.severity, evidence, check.why, check.next_step.format_map(values))
        for check in CHECKS
        if (evidence := check.evidence(facts))
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _repeat_command(facts: RunFacts) -> str:
    """Return the command that replaces a run."""
    default = f"transfer-cli {facts.method} {shlex.quote(facts.folder)} -o {shlex.quote(facts.run)}"
    return f"{facts.command or default} --overwrite"


CHECKS: tuple[DiagnosticCheck, ...] = (
    DiagnosticCheck(
        "only one class predicted",
        "serious",
        model_checks.one_class_predicted,
        "The model does not distinguish the classes at all, however high its accuracy looks.",
        "Start from pretrained weights and a linear probe, with a lower learning rate: "
        "`transfer-cli finetune {folder} --set head.start=probe --set stage.1.learning_rate=1e-4`",
    ),
    DiagnosticCheck(
        "not better than the largest class",
        "serious",
        model_checks.majority_class_baseline,
        "A model that always predicts the largest class would be as accurate.",
        "Check the labels of the images below. Then try a larger network: "
        "`transfer-cli {method} {folder} --backbone efficientnet_v2_b0`",
    ),
    DiagnosticCheck(
        "random weights",
        "check",
        model_checks.random_weights,
        "Transfer learning needs a pretrained network; random features are little better than chance.",
        "`transfer-cli {method} {folder} --weights imagenet`",
    ),
    DiagnosticCheck(
        "leakage: identical files",
        "serious",
        data_checks.leaked_files,
        "The network has memorised these images, so the score is better than on new images.",
        "Remove one file of each pair (see Leakage below), then train again: {members_first}`{repeat}`",
    ),
    DiagnosticCheck(
        "leakage: near-duplicates",
        "check",
        data_checks.leaked_near_duplicates,
        "Frames of one film, crops or re-encoded versions of one photograph make the score better than on new images.",
        "Look at the pairs under Leakage. To keep near-duplicates in one split: "
        "`transfer-cli {method} {folder} --group-by near-duplicates -o {run}-grouped`",
    ),
    DiagnosticCheck(
        "conflicting labels",
        "check",
        data_checks.conflicting_labels,
        "One of the two labels is wrong, or the classes overlap; one of the images always counts as a mistake.",
        "Look at the pairs under Leakage and keep the file with the correct label.",
    ),
    DiagnosticCheck(
        "class never predicted correctly",
        "serious",
        model_checks.class_never_correct,
        "The model is useless for these classes, which the overall accuracy hides.",
        "Look at their images under Mistakes. More training images help most. If these classes are rare: "
        "`transfer-cli finetune {folder} --recipe imbalanced`",
    ),
    DiagnosticCheck(
        "class not better than chance",
        "check",
        model_checks.class_at_chance,
        "The model predicts these classes as often for other images as for their own.",
        "Under Mistakes, see what these classes are confused with: are the labels correct and the classes distinct?",
    ),
    DiagnosticCheck(
        "class missing from a split",
        "serious",
        data_checks.missing_class,
        "A class without training images is never predicted; one without test images is never evaluated.",
        "Add images of this class to that split.",
    ),
    DiagnosticCheck(
        "test accuracy below validation accuracy",
        "check",
        model_checks.test_below_val,
        "The test images differ from the training images, or too many choices were made on the validation set.",
        "Compare the images of both sets (camera, background, place, time), and add images like those of the test set "
        "to the training set.",
    ),
    DiagnosticCheck(
        "overfitting",
        "check",
        model_checks.overfitting,
        "The network memorises its training images instead of what their classes have in common.",
        "More training images help most. Else try more augmentation: "
        "`transfer-cli finetune {folder} --recipe classic-augmentation`, or train fewer layers: "
        "`transfer-cli finetune {folder} --recipe last-block`",
    ),
    DiagnosticCheck(
        "class imbalance",
        "check",
        data_checks.class_imbalance,
        "The model predicts rare classes too seldom, because this costs little accuracy.",
        "`transfer-cli finetune {folder} --recipe imbalanced`, or "
        "`transfer-cli extract {folder} --set balance.method=class-weights -o {run}-weighted`",
    ),
    DiagnosticCheck(
        "few training images",
        "check",
        data_checks.few_training_images,
        "From so few images a model also learns accidental details such as the background.",
        "Add images of these classes; this usually improves a model most.",
    ),
    DiagnosticCheck(
        "two classes confused with each other",
        "check",
        model_checks.confused_pair,
        "The images do not show the difference, or the labels are inconsistent.",
        "Look at both cells under Mistakes. Correct the labels, or merge the two classes.",
    ),
    DiagnosticCheck(
        "class often predicted as another",
        "check",
        model_checks.frequent_confusion,
        "Fixing a mistake this frequent improves the accuracy more than all others.",
        "Look at this cell under Mistakes, and add training images like those shown there.",
    ),
    DiagnosticCheck(
        "confident mistakes",
        "check",
        model_checks.confident_mistakes,
        "If a model is confident and wrong, the label is often wrong (Northcutt et al. 2021).",
        "Go through the confident mistakes below and correct wrong labels.",
    ),
    DiagnosticCheck(
        "poor calibration",
        "check",
        model_checks.poor_calibration,
        "The probabilities are not reliable, and a threshold on them will not behave as expected.",
        "The temperature fitted on the validation set does not help here: that set is too small, or unlike the others. "
        "Use the probabilities for ranking only, and choose thresholds on your own images.",
    ),
    DiagnosticCheck(
        "log loss worse than class frequencies",
        "check",
        model_checks.log_loss_above_baseline,
        "The model is so confident in its mistakes that its probabilities do harm.",
        "Train from pretrained weights for fewer epochs, or with stronger regularisation.",
    ),
    DiagnosticCheck(
        "no test set",
        "check",
        data_checks.no_test_set,
        "Without images that nothing was selected on, the true accuracy is unknown.",
        "`transfer-cli {method} {folder} --set split.test=0.2 -o {run}-tested`",
    ),
    DiagnosticCheck(
        "small test set",
        "info",
        data_checks.small_test_set,
        "So few images cannot show whether one model is better than another.",
        "Add test images. Until then, ignore differences smaller than the interval.",
    ),
    DiagnosticCheck(
        "perfect test accuracy",
        "info",
        model_checks.perfect_test_accuracy,
        "The task may be easy. More often something reveals the class: a background, a border, or leakage.",
        "Try the model on images from another source: `transfer-cli predict {run} NEW_IMAGES --format table`",
    ),
    DiagnosticCheck(
        "unreadable images",
        "check",
        data_checks.unreadable_images,
        "If they are all of one class or one camera, the model was not trained on it.",
        "See the list with reasons under Run details. Repair or remove the files.",
    ),
    DiagnosticCheck(
        "missing images",
        "info",
        data_checks.missing_images,
        "The metrics are those of the run; only the images cannot be shown.",
        "Move the images back, or name their new folder: `transfer-cli report {run} --images DIR`",
    ),
    DiagnosticCheck(
        "low-resolution images",
        "check",
        data_checks.low_resolution,
        "Enlarged images lack detail and differ from the images that the network was pretrained on.",
        "Use the original images if possible, or a smaller input size: "
        "`transfer-cli {method} {folder} --set images.size={smaller_size} -o {run}-{smaller_size}`",
    ),
    DiagnosticCheck(
        "last epoch was the best",
        "check",
        model_checks.last_epoch_best,
        "More epochs may improve the model.",
        "`transfer-cli finetune {folder} --overwrite -o {run} --set stage.1.epochs=40`",
    ),
    DiagnosticCheck(
        "fine-tuning did not beat the linear probe",
        "info",
        model_checks.probe_not_beaten,
        "Training the network did not help; the final model is a linear classifier on its pretrained features.",
        "Search a better learning rate (`transfer-cli lr-find {folder}`), or use extract, which takes seconds.",
    ),
    DiagnosticCheck(
        "time budget exhausted",
        "info",
        model_checks.budget_exhausted,
        "Longer training may improve the model.",
        "`transfer-cli finetune {folder} --time-budget 30m`",
    ),
    DiagnosticCheck(
        "small validation set",
        "info",
        data_checks.small_validation_set,
        "With so few images the best epoch is partly a matter of luck, and validation accuracy is too optimistic.",
        "Rely on the test accuracy. With more images, use a larger validation set: "
        "`transfer-cli {method} {folder} --set split.val=0.2 -o {run}-val`",
    ),
    DiagnosticCheck(
        "training diverged",
        "check",
        model_checks.diverged,
        "The learning rate is too high for this network and these images.",
        "`transfer-cli lr-find {folder}` suggests a learning rate; or clip the gradient: "
        "`transfer-cli finetune {folder} --set stage.1.gradient_clip=1 -o {run}-clipped`",
    ),
)
