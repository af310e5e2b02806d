"""Several devices train the same weights as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import REPOSITORY
from tests.finetuning import run_on
from tests.stage_training import PLAIN
from transfer_cli import quiet_imports
from transfer_cli.errors import RecipeError

pytestmark = pytest.mark.integration

TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.stage_training import max_abs_diff, stage_of, train, trained_weights
from transfer_cli.training.loop import multi_gpu
# Two halves of the CPU in place of two GPUs.
names = [device.name for device in tf.config.list_logical_devices("CPU")]
multi_gpu.find_gpus = lambda count: names[:count]
weights, *overrides = sys.argv[1:]
one, two = (stage_of(Path(weights), *overrides, f"hardware.gpus={count}") for count in (1, 2))
losses = [train(trainer, 1, 2) for trainer in (one, two)]
nodes = two.step.compiled.get_concrete_function().graph.as_graph_def().node
devices = {node.device for node in nodes if node.op == "Conv2D"}
print(max_abs_diff(trained_weights(one), trained_weights(two)), abs(losses[0][0] - losses[1][0]), *sorted(devices))
"""


def test_two_devices_train_the_same_weights(weights: Path) -> None:
    # 27 images: two steps of two micro-batches, and one of one.
    overrides = ["batch_size=6", "hardware.accumulate=2", "trunk.views=fresh", "augmentation.rotation_range=9"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(weights), *overrides],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    weights_diff, loss_diff, *devices = done.stdout.split()
    # Sums are rounded in another order; a difference of 0 would mean that the work was not split.
    assert 0 < float(weights_diff) < 1e-5
    assert float(loss_diff) < 1e-5
    assert devices == ["/device:CPU:0", "/device:CPU:1"]


def test_finetune_more_gpus_than_available_raises(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"hardware.gpus is 64, but TensorFlow finds") as caught:
        run_on(colours, tmp_path / "run", *PLAIN, "hardware.gpus=64")
    assert "gpus=auto" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_import_tensorflow_lets_gpu_memory_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, bool]] = []

    def set_memory_growth(gpu: str, enable: bool) -> None:
        calls.append((gpu, enable))
        if gpu == "second":
            raise RuntimeError("TensorFlow has been started before")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    assert "CPU" in quiet_imports.import_tensorflow()
    assert calls == [("first", True), ("second", True)]
