"""What may be wrong with a run: a table of checks, each of which looks at one thing and says what to do about it.

A row is a function of symptoms.py, which returns what it saw in a `RunFacts` or None; why that matters; and what to do or
type next. To add one, write both, and a planted case for it in tests/test_doctor.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.report import diagnostic_checks
from transfer_cli.report.run_facts import RunFacts

Weight = Literal["bad", "warn", "plain"]


@dataclass(frozen=True)
class Check:
    """A row: what it is called, how grave it is, what it looks for, why that matters and what to do next."""

    name: str
    weight: Weight
    seen: Callable[[RunFacts], str | None]
    why: str
    next: str


@dataclass(frozen=True)
class Finding:
    """What a check found in a run."""

    name: str
    weight: Weight
    seen: str
    why: str
    next: str


def findings(case: RunFacts) -> list[Finding]:
    """Return what was found in a run, the gravest first."""
    words = {
        "folder": shlex.quote(case.folder),
        "run": shlex.quote(case.run),
        # An ensemble learns by its members.
        "method": "extract" if case.method == ENSEMBLE else case.method,
        "first": "each member by its own command with `--overwrite`, then " if case.method == ENSEMBLE else "",
        "again": _again(case),
    }
    found = [
        Finding(check.name, check.weight, seen, check.why, check.next.format_map(words))
        for check in CHECKS
        if (seen := check.seen(case))
    ]
    return sorted(found, key=lambda finding: ("bad", "warn", "plain").index(finding.weight))


def _again(case: RunFacts) -> str:
    """Return the command that makes a run anew."""
    place = shlex.quote(case.run)
    return f"{case.command or f'transfer-cli {case.method} {shlex.quote(case.folder)} -o {place}'} --overwrite"


CHECKS: tuple[Check, ...] = (
    Check(
        "one class only",
        "bad",
        diagnostic_checks.one_class,
        "A network that gives one answer has learnt nothing of use, however good its accuracy looks.",
        "Start from pretrained weights and from the probe, and learn more slowly: "
        "`transfer-cli finetune {folder} --set head.start=probe --set stage.1.learning_rate=1e-4`",
    ),
    Check(
        "no better than the largest class",
        "bad",
        diagnostic_checks.no_better_than_the_largest,
        "What it says carries no more than the name of the largest class.",
        "Look at the pictures below: are they of the classes that their folders name? Then try a larger network: "
        "`transfer-cli {method} {folder} --backbone efficientnet_v2_b0`",
    ),
    Check(
        "random weights",
        "warn",
        diagnostic_checks.random_weights,
        "Transfer needs something to transfer: random features are little better than chance.",
        "`transfer-cli {method} {folder} --weights imagenet`",
    ),
    Check(
        "duplicates across parts",
        "bad",
        diagnostic_checks.duplicates,
        "They are remembered, not recognised, so the score is better than it will be on new pictures.",
        "Remove one of each pair (they are listed under Leaks), then train again: {first}`{again}`",
    ),
    Check(
        "near duplicates across parts",
        "warn",
        diagnostic_checks.near_duplicates,
        "Frames of one film, crops or copies of one photograph are remembered, not recognised.",
        "Look at them under Leaks. To keep copies in one part: "
        "`transfer-cli {method} {folder} --group-by near-duplicates -o {run}-grouped`",
    ),
    Check(
        "one picture in two classes",
        "warn",
        diagnostic_checks.two_classes,
        "One of the two labels is wrong, or the classes overlap; whichever it answers, one is counted as a mistake.",
        "They are shown under Leaks: keep the right one of each pair.",
    ),
    Check(
        "class never found",
        "bad",
        diagnostic_checks.never_found,
        "For these classes the classifier is of no use, which the accuracy over all classes hides.",
        "Look at their pictures in the table of mistakes. More of them help most; where they are rare: "
        "`transfer-cli finetune {folder} --recipe imbalanced`",
    ),
    Check(
        "class below chance",
        "warn",
        diagnostic_checks.below_chance,
        "It names this class as often for other pictures as for its own.",
        "Look at what it is taken for in the table of mistakes: are the labels right, and are the classes distinct?",
    ),
    Check(
        "class missing from a part",
        "bad",
        diagnostic_checks.missing_class,
        "A class that is not learnt from is never said; one that is not tested may be wrong every time unnoticed.",
        "Add pictures of it to that part.",
    ),
    Check(
        "test below val",
        "warn",
        diagnostic_checks.test_below_val,
        "The pictures of the test are of another kind than those it learnt from, or val was used to choose too much.",
        "Compare the pictures of both parts: camera, background, place, time. Add some of the test's kind to train.",
    ),
    Check(
        "overfitting",
        "warn",
        diagnostic_checks.overfitting,
        "It remembers its pictures more than what they have in common.",
        "More pictures help most; then more augmentation: "
        "`transfer-cli finetune {folder} --recipe classic-augmentation`, or fewer layers that learn: "
        "`transfer-cli finetune {folder} --recipe last-block`",
    ),
    Check(
        "unequal classes",
        "warn",
        diagnostic_checks.unequal,
        "What is rare is seldom said: leaving it out costs little in accuracy.",
        "`transfer-cli finetune {folder} --recipe imbalanced`, or "
        "`transfer-cli extract {folder} --set balance.method=class-weights -o {run}-weighted`",
    ),
    Check(
        "too few to learn from",
        "warn",
        diagnostic_checks.few_to_learn_from,
        "From a handful of pictures one learns their backgrounds as well.",
        "Add pictures of these classes: the cheapest way to a better classifier.",
    ),
    Check(
        "two classes look the same",
        "warn",
        diagnostic_checks.alike,
        "Either the pictures do not show what tells them apart, or people did not agree on the labels.",
        "Look at both cells of the table of mistakes. Mend the labels, or make one class of the two.",
    ),
    Check(
        "one class taken for another",
        "warn",
        diagnostic_checks.swallowed,
        "One kind of mistake that is this frequent is worth more than all the others together.",
        "Look at that cell of the table of mistakes; add pictures of the class as they are there.",
    ),
    Check(
        "certain and wrong",
        "warn",
        diagnostic_checks.certain_mistakes,
        "Where a classifier is sure and wrong, often the label is (Northcutt et al. 2021).",
        "Go through the worst mistakes below, and mend the labels that are wrong.",
    ),
    Check(
        "badly calibrated",
        "warn",
        diagnostic_checks.badly_calibrated,
        "Its probabilities cannot be read as odds, and a threshold on them will surprise.",
        "The temperature that was fitted on val did not help here: val has too few pictures for one, or is unlike the "
        "others. Use probabilities to put pictures in order, and choose thresholds on your own pictures.",
    ),
    Check(
        "worse than knowing the shares",
        "warn",
        diagnostic_checks.worse_than_shares,
        "It is so sure of its mistakes that the probabilities harm.",
        "Train from pretrained weights and for less long, or take stronger regularisation.",
    ),
    Check(
        "no test part",
        "warn",
        diagnostic_checks.no_test,
        "Without pictures that nothing was chosen on, nobody knows how good it is.",
        "`transfer-cli {method} {folder} --set split.test=0.2 -o {run}-tested`",
    ),
    Check(
        "too few test pictures",
        "plain",
        diagnostic_checks.few_test_pictures,
        "A better and a worse classifier cannot be told apart on so few.",
        "Add pictures to the test part. Until then, read every difference smaller than the interval as none.",
    ),
    Check(
        "suspiciously good",
        "plain",
        diagnostic_checks.too_good,
        "It may be that easy. More often something gives the class away: a background, a border, a copy.",
        "Try it on pictures from elsewhere: `transfer-cli predict {run} NEW_PICTURES --format table`",
    ),
    Check(
        "unreadable pictures",
        "warn",
        diagnostic_checks.unreadable,
        "If they are of one class or one camera, that is missing from what was learnt.",
        "They are listed at the end of this page, with the reason. Repair or remove them.",
    ),
    Check(
        "pictures that are gone",
        "plain",
        diagnostic_checks.gone,
        "The figures are those of the run; only the pictures cannot be shown.",
        "Bring them back to where they were, or say where they are now: `transfer-cli report {run} --images FOLDER`",
    ),
    Check(
        "tiny pictures",
        "warn",
        diagnostic_checks.tiny,
        "Blown-up pictures have no detail, and look unlike those that the network knows.",
        "Use the originals if there are any, or a smaller input: "
        "`transfer-cli {method} {folder} --set images.size=128 -o {run}-128`",
    ),
    Check(
        "the last epoch was the best",
        "warn",
        diagnostic_checks.last_is_best,
        "With more epochs it may get better still.",
        "`transfer-cli finetune {folder} --overwrite -o {run} --set stage.1.epochs=40`",
    ),
    Check(
        "the probe won",
        "plain",
        diagnostic_checks.probe_won,
        "Training the network did not help; what predicts is the classifier on its features.",
        "Look for a better learning rate (`transfer-cli lr-find {folder}`), or stay with extract, which takes seconds.",
    ),
    Check(
        "time budget used up",
        "plain",
        diagnostic_checks.budget_used_up,
        "It may not have learnt all it could.",
        "Give it more time: `transfer-cli finetune {folder} --time-budget 30m`",
    ),
    Check(
        "small val part",
        "plain",
        diagnostic_checks.small_val,
        "On so few the best epoch is a matter of luck, and the accuracy on val flatters.",
        "Believe the test. With more pictures, keep more for val: "
        "`transfer-cli {method} {folder} --set split.val=0.2 -o {run}-val`",
    ),
    Check(
        "weights ran away",
        "warn",
        diagnostic_checks.halved,
        "The learning rate is too high for this network and these pictures.",
        "`transfer-cli lr-find {folder}` suggests one; or clip: "
        "`transfer-cli finetune {folder} --set stage.1.gradient_clip=1 -o {run}-clipped`",
    ),
)
