"""Every diagnostic finds the problem that is planted for it, and none in a good run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from transfer_cli.metrics import metrics_table
from transfer_cli.report.diagnostic_checks import DiagnosticCheck
from transfer_cli.report.diagnostics import CHECKS, diagnose
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.run_facts import PartScores, RunFacts
from transfer_cli.runs.history import Epoch

NAMES = ("cat", "dog", "owl")


def scores_of(confusion: list[list[int]], confidence: float = 0.9) -> PartScores:
    """Return the scores of predictions with this confusion matrix, all of the same confidence."""
    table = np.array(confusion)
    truth = np.repeat(np.arange(3), table.sum(axis=1))
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in table])
    probabilities = np.full((len(truth), 3), (1 - confidence) / 2, np.float32)
    probabilities[np.arange(len(truth)), predicted] = confidence
    return PartScores.of(truth, probabilities, metrics_table.score(truth, probabilities), None)


GOOD = [[95, 3, 2], [5, 90, 5], [6, 4, 90]]


def history_of(best: int, accuracy: float | None = 0.97, events: tuple[str, ...] = ()) -> TrainingHistory:
    """Return the history of twelve epochs."""
    epochs = tuple(Epoch(number, 1, 1e-3, 0.1, accuracy, 0.3, 0.9, 1.0) for number in range(13))
    return TrainingHistory(epochs, epochs[best], events=tuple({"event": name} for name in events))


def healthy() -> RunFacts:
    return RunFacts(
        method="finetune",
        run="runs/pets",
        folder="my pets",
        class_names=NAMES,
        images={"train": np.array([500, 480, 510]), "val": np.full(3, 100), "test": np.full(3, 100)},
        scores={"val": scores_of(GOOD), "test": scores_of(GOOD)},
        recipe={"backbone": {"name": "mobilenet_v2", "weights": "imagenet"}, "balance": {"method": "none"}},
        history=history_of(7),
        short_sides=np.array([300, 400, 500]),
    )


def with_test(confusion: list[list[int]], **options: Any) -> dict[str, Any]:
    return {"scores": {"val": scores_of(GOOD), "test": scores_of(confusion, **options)}}


PLANTED: dict[str, dict[str, Any]] = {
    "only one class predicted": with_test([[100, 0, 0], [100, 0, 0], [100, 0, 0]]),
    "not better than the largest class": with_test([[90, 5, 5], [50, 3, 2], [50, 2, 3]]),
    "leakage: identical files": {"exact_duplicates": 2},
    "leakage: images of an earlier run": {"trained_earlier": 2},
    "class never predicted correctly": with_test([[98, 2, 0], [2, 98, 0], [2, 2, 0]]),
    "class missing from a split": {"images": {"train": np.array([500, 0, 500]), "test": np.full(3, 100)}},
    "random weights": {"recipe": {"backbone": {"weights": "none"}}},
    "leakage: near-duplicates": {"near_duplicates": 2},
    "conflicting labels": {"conflicting_pairs": 1},
    "class not better than chance": with_test([[10, 85, 5], [60, 30, 10], [5, 5, 90]]),
    "test accuracy below validation accuracy": with_test([[75, 20, 5], [20, 75, 5], [5, 15, 80]], confidence=0.75),
    "overfitting": {
        "history": history_of(7, accuracy=0.999),
        "scores": {"val": scores_of([[80, 12, 8], [8, 82, 10], [9, 11, 80]], 0.8)},
    },
    "underfitting": {
        "history": history_of(7, accuracy=0.55),
        "scores": {"val": scores_of([[50, 30, 20], [20, 60, 20], [25, 25, 50]], 0.55)},
    },
    "class imbalance": {"images": {"train": np.array([500, 100, 510])}},
    "few training images": {"images": {"train": np.array([9, 9, 9])}},
    "two classes confused with each other": with_test([[85, 15, 0], [15, 85, 0], [0, 0, 100]]),
    "class often predicted as another": with_test([[70, 30, 0], [0, 100, 0], [0, 0, 100]]),
    "confident mistakes": with_test(GOOD, confidence=0.96),
    "poor calibration": with_test(GOOD, confidence=0.6),
    "log loss worse than class frequencies": with_test([[60, 30, 10], [20, 60, 20], [20, 20, 60]], confidence=0.9999),
    "no test set": {"scores": {"val": scores_of(GOOD)}},
    "unreadable images": {"skipped": 200},
    "low-resolution images": {"short_sides": np.array([32, 32, 300])},
    "last epoch was the best": {"history": history_of(12)},
    "training diverged": {"history": history_of(7, events=("halved",))},
    "small test set": with_test([[10, 1, 0], [0, 11, 1], [1, 0, 9]]),
    "perfect test accuracy": with_test([[100, 0, 0], [0, 100, 0], [0, 0, 100]]),
    "missing images": {"missing_images": 1},
    "fine-tuning did not beat the linear probe": {"history": history_of(0)},
    "time budget exhausted": {"history": history_of(7, events=("budget used up",))},
    "small validation set": {
        "scores": {"val": scores_of([[10, 1, 0], [0, 11, 1], [1, 0, 9]]), "test": scores_of(GOOD)}
    },
}


def test_diagnose_healthy_run_has_no_finding() -> None:
    assert diagnose(healthy()) == []


def test_checks_all_have_a_planted_problem() -> None:
    assert [check.name for check in CHECKS] == list(PLANTED)


def test_underfitting_is_neither_overfitting_nor_harder_augmented_images() -> None:
    """Planted fault: a low training accuracy alone, as augmentation makes it, is no finding."""
    low_on_both = PLANTED["underfitting"]
    names = {finding.name for finding in diagnose(replace(healthy(), **low_on_both))}
    assert "overfitting" not in names
    augmented = {"history": history_of(7, accuracy=0.6)}
    assert diagnose(replace(healthy(), **augmented)) == []


@pytest.mark.parametrize("name", PLANTED)
def test_diagnose_planted_problem_is_found(name: str) -> None:
    facts = healthy()
    findings = {finding.name: finding for finding in diagnose(replace(facts, **PLANTED[name]))}
    assert name in findings
    assert findings[name].evidence.endswith((".", ")."))
    assert "{" not in findings[name].next_step
    check = next(check for check in CHECKS if check.name == name)
    assert check.evidence(facts) is None


def test_diagnose_most_severe_first_and_paths_are_quoted() -> None:
    findings = diagnose(replace(healthy(), **PLANTED["only one class predicted"], **PLANTED["time budget exhausted"]))
    assert findings[0].severity == "serious"
    assert findings[-1].severity == "info"
    assert "transfer-cli finetune 'my pets' " in findings[0].next_step
    assert "99 %" not in findings[0].evidence
    assert "33 %" in findings[0].evidence


def test_diagnose_early_stop_at_best_epoch_is_no_finding() -> None:
    assert diagnose(replace(healthy(), history=history_of(12, events=("early stop",)))) == []


def test_diagnose_fixed_number_of_epochs_does_not_ask_for_more() -> None:
    recipe = {"early_stopping": {"keep": "last"}}
    assert diagnose(replace(healthy(), history=history_of(12), recipe=recipe)) == []


@pytest.mark.parametrize(("share", "found"), [(1.0, True), (1 / 3, False)])
def test_diagnose_pretrained_weights_that_were_kept(share: float, found: bool) -> None:
    history = replace(history_of(7), events=({"event": "share", "probe": share},))
    names = {finding.name for finding in diagnose(replace(healthy(), history=history))}
    assert ("fine-tuning did not beat the linear probe" in names) == found


def test_diagnose_network_from_scratch_does_not_ask_for_pretrained_weights() -> None:
    recipe = {"backbone": {"name": "lenet5", "weights": "none"}}
    assert diagnose(replace(healthy(), recipe=recipe, from_scratch=True)) == []


def test_diagnose_multi_label_passes_every_check() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((200, 3)) < 0.4).astype(np.int64)
    probabilities = np.clip(truth * 0.9 + 0.05, 0, 1).astype(np.float32)
    metrics = metrics_table.score(truth, probabilities, np.full(3, 0.5))
    scores = PartScores.of(truth, probabilities, metrics, (0.5, 0.5, 0.5))
    assert scores.confusion is None
    np.testing.assert_array_equal(scores.correct, truth.sum(axis=0))
    facts = replace(healthy(), scores={"test": scores}, history=history_of(7, accuracy=None))
    assert [finding.name for finding in diagnose(facts)] == ["perfect test accuracy"]
    probabilities[:, 1] = 0.1
    metrics = metrics_table.score(truth, probabilities, np.full(3, 0.5))
    lost = PartScores.of(truth, probabilities, metrics, None)
    names = [finding.name for finding in diagnose(replace(facts, scores={"test": lost}))]
    assert "class never predicted correctly" in names


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_next_step_commands_are_complete(check: DiagnosticCheck) -> None:
    """The user can copy each command as it is."""
    for command in re.findall(r"`([^`]*)`", check.next_step):
        assert command.startswith(("transfer-cli ", "{repeat}")), command


def test_next_step_repeats_the_command_of_the_run() -> None:
    """A known command keeps its options; otherwise one is composed."""
    leaking = replace(healthy(), exact_duplicates=2)
    (known,) = diagnose(replace(leaking, command="transfer-cli extract photos --seed 3"))
    assert "`transfer-cli extract photos --seed 3 --overwrite`" in known.next_step
    (unknown,) = diagnose(leaking)
    assert "`transfer-cli finetune 'my pets' -o runs/pets --overwrite`" in unknown.next_step


CONFUSED = [[60, 40, 0], [40, 60, 0], [0, 0, 100]]


@pytest.mark.parametrize("place", ["recipe", "networks"])
def test_diagnose_embedded_backbone_comes_first_and_no_classes_are_merged(place: str) -> None:
    embedded = {"recipe": {"backbone": {"name": "embedded", "weights": "embedded"}}, "networks": ("embedded",)}
    facts = replace(healthy(), **with_test(CONFUSED), **{place: embedded[place]})
    findings = diagnose(facts)
    assert findings[0].name == "small network of the program"
    assert "real weights" in findings[0].next_step
    assert not any("merge" in finding.next_step for finding in findings)
    # The same confusion by a network with real weights.
    ordinary = diagnose(replace(healthy(), **with_test(CONFUSED)))
    assert any("merge the two classes" in finding.next_step for finding in ordinary)
    assert ordinary[0].name != findings[0].name


@pytest.mark.parametrize("confusion", [[[0, 0, 0], [0, 50, 0], [0, 0, 0]], [[20, 10, 0], [0, 0, 0], [0, 0, 0]]])
def test_diagnose_test_set_of_one_class_is_reported(confusion: list[list[int]]) -> None:
    names = [finding.name for finding in diagnose(replace(healthy(), **with_test(confusion)))]
    assert names[0] == "a test set of one class"
