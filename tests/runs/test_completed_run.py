from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.errors import InputError, RunError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.completed_run import FinishedRun


def test_finished_run_reads_split_metrics_and_predictions(trained: Path, colours: Path) -> None:
    run = FinishedRun.read(trained)
    assert run.root == colours.resolve()
    assert run.parts == ("val", "test")
    assert run.metrics == json.loads((trained / "metrics.json").read_text())
    test = run.predictions_of("test")
    table = read_table(trained / "predictions_test.csv", ("path", "true_label", "label"))
    assert [run.split.class_names[column] for column in test.truth] == [row["true_label"] for row in table]
    assert [run.split.class_names[column] for column in test.predicted] == [row["label"] for row in table]
    assert [run.split.rows[row].path for row in test.rows] == list(test.predictions.paths)
    assert np.mean(test.predicted == test.truth) == pytest.approx(run.metrics["test"]["accuracy"]["value"])


def test_finished_run_missing_or_incomplete_raises(copy_of_trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run at"):
        FinishedRun.read(tmp_path / "nothing")
    with pytest.raises(RunError, match="is not a run"):
        FinishedRun.read(tmp_path)
    (copy_of_trained / "metrics.json").unlink()
    with pytest.raises(RunError, match="is not complete"):
        FinishedRun.read(copy_of_trained)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "{}", '{"versions": ["keras"]}', '{"versions": null}', "\0"])
def test_read_environment_odd_content_is_a_run_error(text: str, copy_of_trained: Path) -> None:
    (copy_of_trained / "environment.json").write_text(text)
    run = FinishedRun.read(copy_of_trained).directory
    with pytest.raises(RunError, match=r"environment.json cannot be read: "):
        run.read_environment()
    with pytest.raises(RunError, match=r"environment.json cannot be read: "):
        run.versions()


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="a file of Linux that waits for ever")
@pytest.mark.parametrize("name", ["folder.txt", "events.jsonl"])
def test_files_of_a_run_that_link_to_the_system_are_refused(name: str, copy_of_trained: Path) -> None:
    (copy_of_trained / name).unlink()
    (copy_of_trained / name).symlink_to("/proc/kmsg")
    run = FinishedRun.read(copy_of_trained)
    with pytest.raises((RunError, OSError), match=r"file of the operating system|not permitted|Permission"):
        _ = run.source if name == "folder.txt" else run.directory.read_events()


def test_predictions_of_another_split_raise(copy_of_trained: Path) -> None:
    path = copy_of_trained / "predictions_test.csv"
    path.write_text(path.read_text().replace("blue 0", "azure 0"))
    with pytest.raises(InputError, match="is not in"):
        FinishedRun.read(copy_of_trained).predictions_of("test")


def test_finished_run_with_a_class_that_is_not_utf_8(copy_of_trained: Path) -> None:
    path = copy_of_trained / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b'"recall/red"', b'"recall/r\xe9d"'))
    metric_values = FinishedRun.read(copy_of_trained).metrics["test"]
    assert "recall/r\udce9d" in metric_values
