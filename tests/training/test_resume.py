"""A fine-tuning that was stopped, killed or changed under: it ends as an unbroken one, or says why not."""

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

from tests.conftest import FINETUNE_WORDS, run_command, save_picture
from tests.finetuning import AS_MADE, network_of, rows_of, run_on, weights_of
from transfer_cli.errors import RunError
from transfer_cli.models.classifier_network import Network
from transfer_cli.training.loop import stage_trainer, trainer
from transfer_cli.training.loop.frozen_activations import Views

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
def test_a_stopped_run_ends_as_an_unbroken_one(
    number: signal.Signals, unbroken: Path, colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(colours), "--recipe", str(two_stages), *SLOW_STAGES, "-o", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-m", "transfer_cli", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
    again = run_command(*words)
    assert again.code == 0, again.err
    assert "going on after epoch" in again.err
    resumed = [json.loads(line) for line in events.read_text().splitlines() if '"resume"' in line]
    assert resumed[0]["stage"] == 2
    assert stopped_after - 1 <= resumed[0]["epoch"] <= stopped_after
    assert not list(run.rglob(".*"))

    expected, given = weights_of(unbroken), weights_of(run)
    assert expected.keys() == given.keys()
    for path in expected:
        np.testing.assert_array_equal(expected[path], given[path], err_msg=path)
    for name in ("metrics.json", "predictions_test.csv", "split.csv"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes()
    assert same_end(unbroken, run)
    columns = ("epoch", "stage", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")
    histories = [
        [[row[name] for name in columns] for row in rows_of(folder / "history.csv")] for folder in (unbroken, run)
    ]
    assert histories[0] == histories[1]


def test_two_processes_on_one_run(colours: Path, two_stages: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(colours), "--recipe", str(two_stages), *SLOW_STAGES, "-o", str(run)]
    first = subprocess.Popen([sys.executable, "-m", "transfer_cli", *words], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (run / "recipe.toml").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = run_command(*words)
        assert first.poll() is None
        assert second.code == 3
        assert f"Another process is writing the run {run} at this moment." in second.err
    finally:
        first.kill()
        first.wait()


def test_the_layers_of_the_last_stage_are_trainable_after_a_resume(unbroken: Path, finetuned: Path) -> None:
    for run in (unbroken, finetuned):
        network = network_of(run)
        trainable = [layer.name for layer in network.layers if layer.trainable and layer.weights]
        assert trainable[0] == "conv_dw_13"
        assert trainable[-1] == "logits"
        assert not network.get_layer("conv_pw_12_bn").trainable


@pytest.mark.slow
def test_a_run_goes_on_in_the_middle_of_any_stage(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every single epoch and gone on with, as often as there are epochs."""
    words = ("stage.1.epochs=2", "stage.2.epochs=2", "early_stopping.patience=0", "stage.2.ema=0.9")
    words += ("stage.1.schedule=plateau", "stage.2.layer_decay=0.7", "augmentation.mixup=0.2")
    straight = run_on(colours, tmp_path / "straight", *words, source=str(two_stages)).run
    stopped = stop_before_each_epoch(monkeypatch)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    assert stopped == [1, 2, 3, 4]
    assert same_end(straight.path, tmp_path / "run")
    epochs = [row["epoch"] for row in rows_of(tmp_path / "run/history.csv")]
    assert epochs == [row["epoch"] for row in rows_of(straight.history)] == ["0", "1", "2", "3", "4"]


def stop_before_each_epoch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each epoch be stopped before it begins, the first time; return which were."""
    train = stage_trainer.StageTrainer.epoch
    stopped: list[int] = []

    def once(self: Any, epoch: int, *others: Any) -> Any:
        if epoch not in stopped:
            stopped.append(epoch)
            raise KeyboardInterrupt
        return train(self, epoch, *others)

    monkeypatch.setattr(stage_trainer.StageTrainer, "epoch", once)
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
def test_a_resume_that_loses_something_is_found_out(
    lost: str, colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the tests above and below."""
    words = ("stage.1.epochs=3", "stage.2.epochs=1", "batch_size=4", "early_stopping.patience=0", "trunk.views=2")
    words += ("stage.1.ema=0.9",)
    straight = run_on(colours, tmp_path / "straight", *words, source=str(two_stages)).run
    stopped = stop_before_each_epoch(monkeypatch)
    stopped += [1, 2, 4]
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    if lost == "optimizer":
        monkeypatch.setattr(stage_trainer.StageTrainer, "set_optimizer_state", lambda self, state: None)
    elif lost == "average":
        set_state = stage_trainer.StageTrainer.set_optimizer_state

        def without_average(self: Any, state: Any) -> None:
            kept = [average.numpy() for average in self._averages]
            set_state(self, state)
            for average, value in zip(self._averages, kept, strict=True):
                average.assign(value)

        monkeypatch.setattr(stage_trainer.StageTrainer, "set_optimizer_state", without_average)
    elif lost == "dropout":
        monkeypatch.setattr(Network, "set_dropout", lambda self, seed: None)
    elif lost == "views":
        take = Views.take
        monkeypatch.setattr(Views, "take", lambda self, chosen, epoch: take(self, chosen, 0))
    else:
        batches_of = stage_trainer.StageTrainer._batches
        monkeypatch.setattr(
            stage_trainer.StageTrainer, "_batches", lambda self, order, epoch: batches_of(self, np.sort(order), epoch)
        )
    run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    assert not same_end(straight.path, tmp_path / "run")


def test_a_process_that_dies_before_its_last_line(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("stage.1.epochs=1", "stage.2.epochs=1", "early_stopping.patience=0")
    write = trainer.write_table

    def dies(path: Path, header: Any, rows: Any) -> None:
        rows = list(rows)
        if len(rows) == 3:
            raise KeyboardInterrupt
        write(path, header, rows)

    monkeypatch.setattr(trainer, "write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    monkeypatch.setattr(trainer, "write_table", write)
    # What a process leaves that dies while it writes a checkpoint.
    (tmp_path / "run/checkpoints/.last.0123abcd.npz").write_bytes(b"half")
    (tmp_path / "run/plots/.curves.0123abcd.png").write_bytes(b"half")
    run_on(colours, tmp_path / "run", *words, source=str(two_stages))
    assert [row["epoch"] for row in rows_of(tmp_path / "run/history.csv")] == ["0", "1", "2"]
    assert not list(tmp_path.rglob(".*"))


def test_changed_pictures_under_a_stopped_run(colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(colours, tmp_path / "colours"))
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    (run / "metrics.json").unlink()
    (run / "folder.txt").write_text(f"{mine}\n")
    save_picture(mine / "red" / "new.png", (220, 30, 30), np.random.default_rng(1))
    before = (run / "split.csv").read_bytes()
    with pytest.raises(RunError, match=r"was stopped with other pictures than .*: 1 new, 0 gone, 0 changed"):
        run_on(mine, run, *AS_MADE, source=str(two_stages))
    assert (run / "split.csv").read_bytes() == before
    (mine / "red" / "new.png").unlink()
    assert not run_on(mine, run, *AS_MADE, source=str(two_stages)).was_complete


def test_a_damaged_checkpoint(colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    (run / "metrics.json").unlink()
    checkpoint = run / "checkpoints/last.npz"
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 255
    checkpoint.write_bytes(data)
    with pytest.raises(RunError, match=r"last\.npz is not a checkpoint that can be read"):
        run_on(colours, run, *AS_MADE, source=str(two_stages))


@pytest.mark.slow
def test_layers_that_keras_numbers(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process such layers get other names each time the network is built."""
    words = ("backbone.name=inception_v3", "images.size=75", "stage.1.unfreeze=last:5%", "stage.1.epochs=1")
    stopped = stop_before_each_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "run", *words, "stage.1.warmup=0")
    run_on(colours, tmp_path / "run", *words, "stage.1.warmup=0")
    assert stopped == [1]
