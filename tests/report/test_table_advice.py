"""The lines of a report that merge or leave out classes and images can be copied, also for a run that has tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.report.test_diagnostics import PLANTED, healthy, with_test
from tests.untrained_runs import planted
from transfer_cli.data.omission import Omission
from transfer_cli.report.diagnostics import diagnose
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.report.suspects import write_suspects
from transfer_cli.runs.completed_run import FinishedRun

TABLES = ("--class-map", "runs/pets/class_map.csv", "--omit", "runs/pets/omit.csv")


def next_step(name: str, facts: RunFacts) -> str:
    (found,) = [finding.next_step for finding in diagnose(facts) if finding.name == name]
    return found


def test_confused_classes_are_merged_by_a_class_map() -> None:
    facts = replace(healthy(), **PLANTED["two classes confused with each other"])
    assert next_step("two classes confused with each other", facts) == (
        "Look at both cells under Mistakes. Correct the labels, or merge the two classes: write the two lines from,to "
        "and cat,dog into classes.csv, then `transfer-cli finetune 'my pets' --class-map classes.csv -o "
        "runs/pets-merged`"
    )
    of_map = next_step("two classes confused with each other", replace(facts, tables=TABLES))
    assert of_map.endswith(
        "merge the two classes: copy runs/pets/class_map.csv to classes.csv and give cat and all that becomes it the "
        "new name dog, then `transfer-cli finetune 'my pets' --omit runs/pets/omit.csv --class-map classes.csv -o "
        "runs/pets-merged`"
    )


def test_confused_class_with_fewer_images_comes_first_and_names_are_quoted() -> None:
    facts = replace(healthy(), **with_test([[170, 30, 0], [15, 85, 0], [0, 0, 100]]), class_names=("a,b", "dog", "owl"))
    assert facts.most_confused() == ("dog", "a,b")
    assert 'and dog,"a,b" into classes.csv' in next_step("two classes confused with each other", facts)


def test_smallest_class_is_left_out_by_a_class_map() -> None:
    facts = replace(healthy(), images={"train": np.array([9, 0, 5])})
    assert facts.smallest_class() == "owl"
    assert (
        "To train without the smallest: write the two lines from,to and owl, into classes.csv (no name after the "
        "comma), then `transfer-cli finetune 'my pets' --class-map classes.csv -o runs/pets-classes`"
    ) in next_step("few training images", facts)


def test_confident_mistakes_are_omitted_by_the_table_of_the_report() -> None:
    facts = replace(healthy(), **PLANTED["confident mistakes"])
    line = "`transfer-cli finetune 'my pets' --omit runs/pets/suspects.csv -o runs/pets-cleaned`"
    assert next_step("confident mistakes", facts).endswith(
        f"in runs/pets/suspects.csv keep only the rows whose label is wrong, then {line}"
    )
    assert next_step("confident mistakes", replace(facts, tables=TABLES)).endswith(
        "keep only the rows whose label is wrong and add those of runs/pets/omit.csv, then `transfer-cli finetune "
        "'my pets' --class-map runs/pets/class_map.csv --omit runs/pets/suspects.csv -o runs/pets-cleaned`"
    )


def test_leaking_images_are_omitted_by_the_table_of_leaks() -> None:
    for name in ("leakage: near-duplicates", "conflicting labels"):
        assert next_step(name, replace(healthy(), **PLANTED[name])).endswith(
            "`transfer-cli leaks runs/pets`, then `transfer-cli finetune 'my pets' --omit runs/pets/leaks.csv -o "
            "runs/pets-cleaned`"
        )


def test_other_commands_keep_the_tables_of_the_run() -> None:
    facts = replace(healthy(), **PLANTED["class imbalance"], tables=TABLES)
    assert (
        "`transfer-cli finetune 'my pets' --class-map runs/pets/class_map.csv --omit runs/pets/omit.csv --recipe "
        "imbalanced`" in next_step("class imbalance", facts)
    )


def test_suspects_table_lists_confident_mistakes_and_is_a_list_to_omit(tmp_path: Path) -> None:
    run = FinishedRun.read(planted(tmp_path).path)
    test = run.predictions_of("test")
    first, second = np.flatnonzero(test.predicted != test.truth)[:2]
    for place, confidence in ((first, 0.97), (second, 0.99)):
        predicted, true = test.predicted[place], test.truth[place]
        test.predictions.probabilities[place] = 0
        test.predictions.probabilities[place, [predicted, true]] = (confidence, 1 - confidence)
    write_suspects(run, {"test": test})
    table = run.directory.suspects
    paths, names = test.predictions.paths, test.predictions.class_names
    rows = [
        f"{paths[place]},{names[test.truth[place]]},{names[test.predicted[place]]},{score},yes"
        for place, score in ((second, 0.01), (first, 0.03))
    ]
    assert table.read_text().splitlines() == ["path,label,suggested_label,score,confident", *rows]
    omission = Omission.read(table)
    assert omission.lists_suspects
    assert [row.paths[0].split("/")[0] for row in omission.rows] == ["test", "test"]
    write_suspects(run, {})
    assert not table.exists()
