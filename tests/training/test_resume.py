"""Resume: an interrupted or killed fine-tuning ends as an uninterrupted one, or raises if images have changed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import FINETUNE_WORDS, run_command, save_image
from tests.finetuning import AS_MADE, network_of, rows_of, run_on, weights_of
from transfer_cli.errors import RunError
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.training.loop import checkpoints
from transfer_cli.training.loop.frozen_activations import CachedViews
from transfer_cli.training.loop.stage_inputs import StageInputs
from transfer_cli.training.loop.stage_trainer import StageTrainer

pytestmark = pytest.mark.integration

SLOW_STAGES = [
    *FINETUNE_WORDS,
    *("--set", "stage.2.epochs=12", "--set", "early_stopping.patience=0", "--set", "batch_size=2"),
]


@pytest.fixture(scope="module")
def unbroken(colours: Path, two_stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    done = run_command("finetune", colours, "--recipe", two_stages, *SLOW_STAGES, "-o", run)
    assert done.code == 0, done.err
    return run


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_killed_run_resumes_and_ends_with_the_same_weights(
    number: signal.Signals, unbroken: Path, colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["finetune", str(colours), "--recipe", str(two_stages), *SLOW_STAGES, "-o", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-m", "transfer_cli", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    events = run / "events.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if events.is_file() and events.read_text().count('"stage": 2') >= 3:
            break
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), err
    assert not (run / "metrics.json").exists()
    stopped_after = len(rows_of(run / "history.csv")) - 1
    again = run_command(*arguments)
    assert again.code == 0, again.err
    assert "resuming after epoch" in again.err
    resumed = [json.loads(line) for line in events.read_text().splitlines() if '"resume"' in line]
    assert resumed[0]["stage"] == 2
    assert stopped_after - 1 <= resumed[0]["epoch"] <= stopped_after
    assert not list(run.rglob(".*"))

    expected, resulting = weights_of(unbroken), weights_of(run)
    assert expected.keys() == resulting.keys()
    for path in expected:
        np.testing.assert_array_equal(expected[path], resulting[path], err_msg=path)
    for name in ("metrics.json", "predictions_test.csv", "split.csv"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes()
    assert same_end(unbroken, run)
    columns = ("epoch", "stage", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")
    histories = [
        [[row[name] for name in columns] for row in rows_of(folder / "history.csv")] for folder in (unbroken, run)
    ]
    assert histories[0] == histories[1]


def test_second_process_on_one_run_raises(colours: Path, two_stages: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["finetune", str(colours), "--recipe", str(two_stages), *SLOW_STAGES, "-o", str(run)]
    first = subprocess.Popen([sys.executable, "-m", "transfer_cli", *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (run / "recipe.toml").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = run_command(*arguments)
        assert first.poll() is None
        assert second.code == 3
        assert f"Another process is writing the run {run}." in second.err
    finally:
        first.kill()
        first.wait()


def test_resume_keeps_the_trainable_layers_of_the_last_stage(unbroken: Path, finetuned: Path) -> None:
    for run in (unbroken, finetuned):
        network = network_of(run)
        trainable = [layer.name for layer in network.layers if layer.trainable and layer.weights]
        assert trainable[0] == "conv_dw_13"
        assert trainable[-1] == "logits"
        assert not network.get_layer("conv_pw_12_bn").trainable


@pytest.mark.slow
def test_resume_after_every_epoch_ends_with_the_same_weights(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is interrupted before each epoch, and resumed as often."""
    overrides = ("stage.1.epochs=2", "stage.2.epochs=2", "early_stopping.patience=0", "stage.2.ema=0.9")
    overrides += ("stage.1.schedule=plateau", "stage.2.layer_decay=0.7", "augmentation.mixup=0.2")
    overrides += ("stage.1.weight_decay=0.1", "stage.2.schedule=inverse-time", "stage.2.inverse_time_decay=0.5")
    straight = run_on(colours, tmp_path / "straight", *overrides, source=str(two_stages)).run
    stopped = stop_before_each_epoch(monkeypatch)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    assert stopped == [1, 2, 3, 4]
    assert same_end(straight.path, tmp_path / "run")
    epochs = [row["epoch"] for row in rows_of(tmp_path / "run/history.csv")]
    assert epochs == [row["epoch"] for row in rows_of(straight.history)] == ["0", "1", "2", "3", "4"]


def stop_before_each_epoch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Interrupt each epoch once, before it starts; return the list of interrupted epochs."""
    train = StageTrainer.epoch
    stopped: list[int] = []

    def interrupt_once(self: Any, epoch: int, *others: Any) -> Any:
        if epoch not in stopped:
            stopped.append(epoch)
            raise KeyboardInterrupt
        return train(self, epoch, *others)

    monkeypatch.setattr(StageTrainer, "epoch", interrupt_once)
    return stopped


def same_end(one: Path, other: Path) -> bool:
    """Return whether two runs have the same last epoch, bit for bit."""
    last = [np.load(run / "checkpoints/last.npz") for run in (one, other)]
    names = [name for name in last[0].files if name != "facts"]
    assert last[0].files == last[1].files
    return all(np.array_equal(last[0][name], last[1][name]) for name in names)


@pytest.mark.parametrize(
    "lost",
    ["optimizer", *(pytest.param(each, marks=pytest.mark.slow) for each in ("dropout", "order", "views", "average"))],
)
def test_resume_that_loses_state_ends_with_other_weights(
    lost: str, colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted faults, which the other tests of this file must detect."""
    overrides = ("stage.1.epochs=3", "stage.2.epochs=1", "batch_size=4", "early_stopping.patience=0", "trunk.views=2")
    overrides += ("stage.1.ema=0.9",)
    straight = run_on(colours, tmp_path / "straight", *overrides, source=str(two_stages)).run
    stopped = stop_before_each_epoch(monkeypatch)
    stopped += [1, 2, 4]
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    if lost == "optimizer":
        monkeypatch.setattr(StageTrainer, "set_optimizer_state", lambda self, state: None)
    elif lost == "average":
        set_state = StageTrainer.set_optimizer_state

        def without_average(self: Any, state: Any) -> None:
            before = [average.numpy() for average in self.step.averages]
            set_state(self, state)
            for average, value in zip(self.step.averages, before, strict=True):
                average.assign(value)

        monkeypatch.setattr(StageTrainer, "set_optimizer_state", without_average)
    elif lost == "dropout":
        monkeypatch.setattr(ClassifierNetwork, "set_dropout", lambda self, seed: None)
    elif lost == "views":
        take = CachedViews.take
        monkeypatch.setattr(CachedViews, "take", lambda self, positions, epoch: take(self, positions, 0))
    else:
        batches = StageInputs.batches
        monkeypatch.setattr(
            StageInputs, "batches", lambda self, sizes, order, epoch: batches(self, sizes, np.sort(order), epoch)
        )
    run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    assert not same_end(straight.path, tmp_path / "run")


def test_resume_after_a_kill_before_the_last_history_line(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("stage.1.epochs=1", "stage.2.epochs=1", "early_stopping.patience=0")
    write = checkpoints.write_table

    def dies(path: Path, header: Any, rows: Any) -> None:
        rows = list(rows)
        if len(rows) == 3:
            raise KeyboardInterrupt
        write(path, header, rows)

    monkeypatch.setattr(checkpoints, "write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    monkeypatch.setattr(checkpoints, "write_table", write)
    # Drafts of a process that was killed while it wrote a checkpoint.
    (tmp_path / "run/checkpoints/.last.0123abcd.npz").write_bytes(b"half")
    (tmp_path / "run/plots/.curves.0123abcd.png").write_bytes(b"half")
    run_on(colours, tmp_path / "run", *overrides, source=str(two_stages))
    assert [row["epoch"] for row in rows_of(tmp_path / "run/history.csv")] == ["0", "1", "2"]
    assert not list(tmp_path.rglob(".*"))


def test_resume_with_changed_images_raises(colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(colours, tmp_path / "colours"))
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    (run / "metrics.json").unlink()
    (run / "folder.txt").write_text(f"{mine}\n")
    save_image(mine / "red" / "new.png", (220, 30, 30), np.random.default_rng(1))
    before = (run / "split.csv").read_bytes()
    with pytest.raises(RunError, match=r"cannot be resumed: the images of .* \(1 new, 0 missing, 0 changed"):
        run_on(mine, run, *AS_MADE, source=str(two_stages))
    assert (run / "split.csv").read_bytes() == before
    (mine / "red" / "new.png").unlink()
    assert not run_on(mine, run, *AS_MADE, source=str(two_stages)).was_complete


def test_resume_from_a_damaged_checkpoint_raises(
    colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    (run / "metrics.json").unlink()
    checkpoint = run / "checkpoints/last.npz"
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 255
    checkpoint.write_bytes(data)
    with pytest.raises(RunError, match=r"last\.npz is not a readable checkpoint"):
        run_on(colours, run, *AS_MADE, source=str(two_stages))


@pytest.mark.slow
def test_resume_with_layers_that_keras_numbers(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process the names of such layers change each time the network is built."""
    overrides = ("backbone.name=inception_v3", "images.size=75", "stage.1.unfreeze=last:5%", "stage.1.epochs=1")
    overrides += ("refit.when=never",)
    stopped = stop_before_each_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *overrides, "stage.1.warmup=0")
    run_on(colours, tmp_path / "run", *overrides, "stage.1.warmup=0")
    assert stopped == [1]
