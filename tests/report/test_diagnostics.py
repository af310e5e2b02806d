from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from transfer_cli.metrics import metrics_table
from transfer_cli.report.diagnostics import CHECKS, Check, findings
from transfer_cli.report.run_facts import RunFacts, scored

NAMES = ("cat", "dog", "owl")


def answered(confusion: list[list[int]], sure: float = 0.9) -> Any:
    """Return what is scored of pictures with this table of truth and answers, each said with a probability."""
    table = np.array(confusion)
    truth = np.repeat(np.arange(3), table.sum(axis=1))
    said = np.concatenate([np.repeat(np.arange(3), row) for row in table])
    probabilities = np.full((len(truth), 3), (1 - sure) / 2, np.float32)
    probabilities[np.arange(len(truth)), said] = sure
    return scored(truth, probabilities, metrics_table.score(truth, probabilities), None)


GOOD = [[95, 3, 2], [5, 90, 5], [6, 4, 90]]


def healthy() -> RunFacts:
    return RunFacts(
        method="finetune",
        run="runs/pets",
        folder="my pets",
        class_names=NAMES,
        images={"train": np.array([500, 480, 510]), "val": np.full(3, 100), "test": np.full(3, 100)},
        scored={"val": answered(GOOD), "test": answered(GOOD)},
        recipe={"backbone": {"name": "mobilenet_v2", "weights": "imagenet"}, "balance": {"method": "none"}},
        best=7,
        last=12,
        best_train=0.97,
        short_sides=np.array([300, 400, 500]),
    )


def with_test(confusion: list[list[int]], **words: Any) -> dict[str, Any]:
    return {"scored": {"val": answered(GOOD), "test": answered(confusion, **words)}}


PLANTED: dict[str, dict[str, Any]] = {
    "one class only": with_test([[100, 0, 0], [100, 0, 0], [100, 0, 0]]),
    "no better than the largest class": with_test([[90, 5, 5], [50, 3, 2], [50, 2, 3]]),
    "random weights": {"recipe": {"backbone": {"weights": "none"}}},
    "duplicates across parts": {"duplicates": 2},
    "near duplicates across parts": {"near_duplicates": 2},
    "one picture in two classes": {"two_classes": 1},
    "class never found": with_test([[98, 2, 0], [2, 98, 0], [2, 2, 0]]),
    "class below chance": with_test([[10, 85, 5], [60, 30, 10], [5, 5, 90]]),
    "class missing from a part": {"images": {"train": np.array([500, 0, 500]), "test": np.full(3, 100)}},
    "test below val": with_test([[75, 20, 5], [20, 75, 5], [5, 15, 80]], sure=0.75),
    "overfitting": {"best_train": 0.999, "scored": {"val": answered([[80, 12, 8], [8, 82, 10], [9, 11, 80]], 0.8)}},
    "unequal classes": {"images": {"train": np.array([500, 100, 510])}},
    "too few to learn from": {"images": {"train": np.array([9, 9, 9])}},
    "two classes look the same": with_test([[85, 15, 0], [15, 85, 0], [0, 0, 100]]),
    "one class taken for another": with_test([[70, 30, 0], [0, 100, 0], [0, 0, 100]]),
    "certain and wrong": with_test(GOOD, sure=0.96),
    "badly calibrated": with_test(GOOD, sure=0.6),
    "worse than knowing the shares": with_test([[60, 30, 10], [20, 60, 20], [20, 20, 60]], sure=0.9999),
    "no test part": {"scored": {"val": answered(GOOD)}},
    "too few test pictures": with_test([[10, 1, 0], [0, 11, 1], [1, 0, 9]]),
    "suspiciously good": with_test([[100, 0, 0], [0, 100, 0], [0, 0, 100]]),
    "unreadable pictures": {"skipped": 200},
    "pictures that are gone": {"gone": 1},
    "tiny pictures": {"short_sides": np.array([32, 32, 300])},
    "the last epoch was the best": {"best": 12},
    "the probe won": {"best": 0},
    "time budget used up": {"budget_used_up": True},
    "small val part": {"scored": {"val": answered([[10, 1, 0], [0, 11, 1], [1, 0, 9]]), "test": answered(GOOD)}},
    "weights ran away": {"halved": 1},
}


def test_a_healthy_run_has_no_finding() -> None:
    assert findings(healthy()) == []


def test_every_check_has_a_planted_case() -> None:
    assert [check.name for check in CHECKS] == list(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str) -> None:
    case = healthy()
    found = {finding.name: finding for finding in findings(replace(case, **PLANTED[name]))}
    assert name in found
    assert found[name].seen.endswith((".", ")."))
    assert "{" not in found[name].next
    check = next(check for check in CHECKS if check.name == name)
    assert check.seen(case) is None


def test_the_gravest_comes_first_and_commands_can_be_typed() -> None:
    case = replace(healthy(), **PLANTED["one class only"], budget_used_up=True)
    found = findings(case)
    assert found[0].weight == "bad"
    assert found[-1].weight == "plain"
    assert "transfer-cli finetune 'my pets' " in found[0].next
    assert "99 %" not in found[0].seen
    assert "33 %" in found[0].seen


def test_stopped_early_is_no_last_epoch() -> None:
    assert findings(replace(healthy(), best=12, stopped_early=True)) == []


def test_a_network_from_scratch_has_no_weights_to_ask_for() -> None:
    recipe = {"backbone": {"name": "lenet5", "weights": "none"}}
    assert findings(replace(healthy(), recipe=recipe, from_scratch=True)) == []


def test_several_labels_a_picture_go_through_every_check() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((200, 3)) < 0.4).astype(np.int64)
    given = np.clip(truth * 0.9 + 0.05, 0, 1).astype(np.float32)
    whole = metrics_table.score(truth, given, np.full(3, 0.5))
    part = scored(truth, given, whole, (0.5, 0.5, 0.5))
    assert part.confusion is None
    np.testing.assert_array_equal(part.right, truth.sum(axis=0))
    case = replace(healthy(), scored={"test": part}, best_train=None)
    assert [finding.name for finding in findings(case)] == ["suspiciously good"]
    given[:, 1] = 0.1
    lost = scored(truth, given, metrics_table.score(truth, given, np.full(3, 0.5)), None)
    assert "class never found" in [finding.name for finding in findings(replace(case, scored={"test": lost}))]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_what_to_type_next_is_a_whole_command(check: Check) -> None:
    """Nothing that a person would have to complete."""
    for typed in re.findall(r"`([^`]*)`", check.next):
        assert typed.startswith(("transfer-cli ", "{again}")), typed


def test_a_run_is_made_again_by_its_own_command() -> None:
    """Where the command is known it keeps its options; elsewhere one is put together."""
    doubled = replace(healthy(), duplicates=2)
    (known,) = findings(replace(doubled, command="transfer-cli extract photos --seed 3"))
    assert "`transfer-cli extract photos --seed 3 --overwrite`" in known.next
    (unknown,) = findings(doubled)
    assert "`transfer-cli finetune 'my pets' -o runs/pets --overwrite`" in unknown.next
