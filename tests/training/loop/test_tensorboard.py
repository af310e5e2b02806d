"""TensorBoard logs and events.jsonl have the numbers of history.csv, each epoch once, however often a run stopped."""

from __future__ import annotations

import importlib.util
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tests.conftest import TINY_WORDS
from tests.finetuning import rows_of, run_on
from tests.training.test_resume import stop_before_each_epoch
from transfer_cli.cli.main import main
from transfer_cli.errors import InputError, MissingExtraError
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop import tensorboard

pytestmark = pytest.mark.integration

WORDS = ("early_stopping.patience=0", "split.val=0.2")


def read(run: Path, name: str) -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard" / name), size_guidance={"tensors": 0}).Reload()


def points(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each curve, read by TensorBoard."""
    found = {}
    for name, prefix in (("train", ""), ("val", "val_")):
        board = read(run, name)
        for tag in set(board.Tags()["tensors"]) - {"recipe", "command", "preview"}:
            found[prefix + tag] = [
                (event.step, float(make_ndarray(event.tensor_proto))) for event in board.Tensors(tag)
            ]
    return found


def expected(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of history.csv."""
    rows = rows_of(run / "history.csv")
    found = {}
    for column in ("loss", "accuracy", "learning_rate", "stage", "val_loss", "val_accuracy", "val_balanced_accuracy"):
        of_val = column.startswith("val_")
        trained = [row for row in rows if row[column] and (of_val or row["loss"])]
        found[column] = [(int(row["epoch"]), float(row[column])) for row in trained]
    return found


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def check_each_epoch_is_written_once(run: Path) -> None:
    written = points(run)
    for column, values in expected(run).items():
        assert [step for step, _ in written[column]] == [step for step, _ in values], column
        assert [value for _, value in written[column]] == pytest.approx([value for _, value in values], rel=1e-5)
    epochs = [event for event in events_of(run) if event["event"] == "epoch"]
    history = rows_of(run / "history.csv")
    assert [event["epoch"] for event in epochs] == [int(row["epoch"]) for row in history]
    for event, row in zip(epochs, history, strict=True):
        for column in set(row) - {"refit"}:
            assert event.get(column, "") == (pytest.approx(float(row[column]), rel=1e-5) if row[column] else "")
        assert event["refit"] == (row["refit"] == "yes")


@pytest.mark.parametrize("fault", [None, "points forgotten", "events forgotten"])
def test_tensorboard_stopped_run_writes_each_epoch_once(
    fault: str | None, colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice, leaving half a record and half a line, and once a checkpoint without its event."""
    run = tmp_path / "run"
    if fault == "points forgotten":
        monkeypatch.setattr(tensorboard, "_written_points", lambda folder: set())
    stopped = stop_before_each_epoch(monkeypatch)
    # The runs with planted faults are stopped once.
    stopped += [1, 2, 4] if fault else [1, 4]
    for _ in range(1 if fault else 2):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, run, *WORDS, source=str(two_stages), tensorboard=True)
        for file in (run / "tensorboard/train").glob("events.out.tfevents.*"):
            file.write_bytes(file.read_bytes() + file.read_bytes()[-40:-7])
        lines = (run / "events.jsonl").read_text()
        if stopped[-1] == 3:
            # Killed after the checkpoint, before its event.
            lines = "".join(line for line in lines.splitlines(keepends=True) if '"epoch": 2' not in line)
        (run / "events.jsonl").write_text(lines + '{"event": "ep')
    if fault == "events forgotten":
        monkeypatch.setattr(RunDirectory, "read_events", lambda self: [{"event": "epoch", "epoch": 2}])
    run_on(colours, run, *WORDS, source=str(two_stages), tensorboard=True)
    assert sorted(stopped) == [1, 2, 3, 4]
    if fault:
        with pytest.raises(AssertionError):
            check_each_epoch_is_written_once(run)
        return
    check_each_epoch_is_written_once(run)
    counts = Counter(event["event"] for event in events_of(run))
    assert (counts["begin"], counts["resume"], counts["end"], counts["stage"]) == (3, 2, 1, 2)
    assert events_of(run)[-1]["event"] == "end"
    assert all(event["time"].endswith("+00:00") for event in events_of(run))


def test_tensorboard_complete_run_is_written_later_with_recipe_and_preview(
    colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ("stage.2.epochs=1", *WORDS)
    run_on(colours, run, *words, source=str(two_stages))
    assert not (run / "tensorboard").exists()
    for _ in range(2):
        assert run_on(colours, run, *words, source=str(two_stages), tensorboard=True).was_complete
        check_each_epoch_is_written_once(run)
    board = read(run, "train")
    (recipe,) = board.Tensors("recipe")
    assert (run / "recipe.toml").read_text() in make_ndarray(recipe.tensor_proto).item().decode()
    (preview,) = board.Tensors("preview")
    with (
        Image.open(io.BytesIO(make_ndarray(preview.tensor_proto)[2])) as logged,
        Image.open(run / "plots/preview.png") as drawn,
    ):
        assert np.array_equal(np.asarray(logged), np.asarray(drawn))
    plugins = {tag: board.SummaryMetadata(tag).plugin_data.plugin_name for tag in ("recipe", "preview", "loss")}
    assert plugins == {"recipe": "text", "preview": "images", "loss": "scalars"}


def test_finetune_tensorboard_not_installed_raises(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="which is not installed") as missing:
        run_on(colours, tmp_path / "run", tensorboard=True)
    assert missing.value.hint == "Install it: pip install 'transfer-cli[tensorboard]'"
    assert not (tmp_path / "run").exists()


def test_extract_tensorboard_raises(colours: Path, tmp_path: Path) -> None:
    from transfer_cli import ExtractRecipe, ImageFolder, TrainingRequest
    from transfer_cli.training.extract import extract

    with pytest.raises(InputError, match="has no epochs"):
        extract(
            TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), tensorboard=True),
            ExtractRecipe(),
        )
    assert not (tmp_path / "run").exists()


def test_events_of_extract_equal_its_history(trained: Path) -> None:
    trials = [event for event in events_of(trained) if event["event"] == "trial"]
    history = rows_of(trained / "history.csv")
    assert len(trials) == len(history) > 0
    for event, row in zip(trials, history, strict=True):
        assert f"{event['log_loss']:.6f}" == row["log_loss"]
        assert f"{event['accuracy']:.6f}" == row["accuracy"]
        assert event["chosen"] == (row["chosen"] == "yes")


def test_finetune_command_tensorboard_option(colours: Path, two_stages: Path, tmp_path: Path) -> None:
    words = ["finetune", colours, "--recipe", two_stages, *TINY_WORDS, "--runtime", "keras", "-o", tmp_path / "run"]
    words += ["--set", "split.val=0.2", "--set", "stage.2.epochs=1", "--tensorboard"]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 0, done.stderr
    check_each_epoch_is_written_once(tmp_path / "run")
