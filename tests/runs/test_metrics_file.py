from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main
from transfer_cli.errors import RunError
from transfer_cli.runs.metrics_file import check_metrics
from transfer_cli.runs.run_directory import RunDirectory

VALUE = {"value": 0.5, "low": None, "high": 1}
GOOD = {"test": {"images": {**VALUE, "value": 3}, "accuracy": VALUE, "log_loss": VALUE}}
ODD: dict[str, Any] = {
    "number": 5,
    "list": [],
    "empty": {},
    "part is a list": {"val": [], "test": []},
    "part is null": {"val": None, "test": None},
    "no images": {"val": GOOD["test"], "test": {"accuracy": VALUE}},
    "no headline": {"val": GOOD["test"], "test": {"images": VALUE}},
    "metric is a number": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": 0.5}},
    "metric is text": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": {"value": "good"}}},
    "metric has no value": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": {"low": 0.1}}},
    "interval is text": {"val": GOOD["test"], "test": GOOD["test"] | {"log_loss": {**VALUE, "low": "x"}}},
    "number is too large": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": {**VALUE, "value": 10**400}}},
    "negative images": {"val": GOOD["test"], "test": GOOD["test"] | {"images": {**VALUE, "value": -1}}},
    "part is missing": {"val": GOOD["test"]},
    "metric without its interval": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": {"value": 0.5}}},
    "no log loss": {"val": GOOD["test"], "test": {"images": VALUE, "accuracy": VALUE}},
    "no metrics of labels": {"val": GOOD["test"], "test": GOOD["test"] | {"mean_average_precision": VALUE}},
    "copies without their score": {"val": GOOD["test"], "test": GOOD["test"] | {"images_with_near_duplicates": VALUE}},
    "number of copies is null": {
        "val": GOOD["test"],
        "test": GOOD["test"]
        | {"images_with_near_duplicates": {**VALUE, "value": None}, "accuracy_without_near_duplicates": VALUE},
    },
    "reason is a number": {"val": GOOD["test"], "test": GOOD["test"] | {"accuracy": {**VALUE, "reason": 7}}},
}


def test_check_metrics_written_by_a_training_are_accepted(trained: Path) -> None:
    assert check_metrics(GOOD, ["test"]) == GOOD
    assert RunDirectory(trained).read_metrics() == json.loads((trained / "metrics.json").read_text())


@pytest.mark.parametrize("kind", ODD)
def test_read_metrics_odd_content_is_a_run_error(kind: str, copy_of_trained: Path) -> None:
    (copy_of_trained / "metrics.json").write_text(json.dumps(ODD[kind]))
    with pytest.raises(RunError, match=r"metrics.json cannot be read: "):
        RunDirectory(copy_of_trained).read_metrics()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "NaN", '{"test": {}, "test": {}}', "", "\0", "{}" + " " * 10, "[[],"]
)
def test_read_metrics_that_are_not_json_are_a_run_error(text: str, copy_of_trained: Path) -> None:
    (copy_of_trained / "metrics.json").write_text(text)
    with pytest.raises(RunError, match=r"metrics.json cannot be read: "):
        RunDirectory(copy_of_trained).read_metrics()


@pytest.mark.parametrize("kind", ["number", "part is a list", "metric is text", "part is missing", "no headline"])
@pytest.mark.parametrize("command", ["compare", "report"])
def test_commands_answer_odd_metrics_with_exit_code_3(
    kind: str, command: str, copy_of_trained: Path, trained: Path
) -> None:
    (copy_of_trained / "metrics.json").write_text(json.dumps(ODD[kind]))
    words = [command, str(copy_of_trained), *([str(trained)] if command == "compare" else [])]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 3, result.output
    assert "metrics.json cannot be read: " in result.stderr
