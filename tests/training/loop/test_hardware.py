"""What the machine can do, half the digits, little memory, several cards, and what it must not change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.conftest import COLOURS, REPOSITORY, TINY, TINY_SIZE
from tests.finetuning import WORDS, network_of, rows_of, run_on
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import quiet_imports
from transfer_cli.catalog.backbones import find
from transfer_cli.data.decoding import batches
from transfer_cli.errors import InputError, RecipeError
from transfer_cli.io.array_store import Scratch
from transfer_cli.models.backbone import build
from transfer_cli.models.classifier_network import Network
from transfer_cli.models.compile import inference_function as run_network
from transfer_cli.progress import Silent
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.loop import mixed_precision, stage_trainer
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.gradient_accumulation import GradientAccumulator
from transfer_cli.training.loop.images import Pictures
from transfer_cli.training.loop.messages import what_computes
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.mixed_precision import computing_in

STILL = (
    *("augmentation.rotation_range=0", "augmentation.width_shift_range=0", "augmentation.height_shift_range=0"),
    *("augmentation.zoom_range=0", "augmentation.horizontal_flip=false"),
)
PLAIN = (
    *("stage.1.epochs=2", "stage.1.unfreeze=last:6", "stage.1.optimizer=sgd", "stage.1.learning_rate=0.05"),
    *("stage.1.ema=0.5", "head.l2=1e-2", "refit.when=never", "early_stopping.patience=0", "split.val=0.2", *STILL),
)
COUNT, CLASSES = 27, 3
Weights = list[NDArray[Any]]


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


def stage_of(weights: Path, *words: str) -> stage_trainer.StageTrainer:
    """Return a stage on noisy colours, ready to train, beside all that is around it in a run."""
    recipe = FinetuneRecipe.load(None, [*PLAIN, *words], WORDS).resolved()
    rows = np.arange(COUNT + 3)
    plain = np.array([*COLOURS.values()])[rows % CLASSES, None, None]
    noise = np.random.default_rng(3).normal(0, 8, (len(rows), TINY_SIZE, TINY_SIZE, 3))
    images = np.clip(plain + noise, 0, 255).astype(np.uint8)
    data = Pictures(images, rows, rows % CLASSES, rows[:COUNT], rows[COUNT:])
    shown = AugmentedImages(recipe.augmentation, recipe.seed, images, rows, data.truth, data.train, CLASSES)
    network = Network(build(find(TINY), weights=str(weights), size=TINY_SIZE), recipe.head, CLASSES, recipe.seed)
    micro_batches = MicroBatches(recipe.batch_size, recipe.hardware.accumulate)
    return stage_trainer.StageTrainer(network, recipe.stage[0], recipe, data, shown, Scratch(Path()), micro_batches)


def learn(training: stage_trainer.StageTrainer, *epochs: int) -> tuple[float, float]:
    """Train some epochs, counted from 1; return the loss and the accuracy of the last."""
    for epoch in epochs:
        trained = training.epoch(epoch, State(split_digest="", done=epoch - 1), lambda count: None)
    return trained


def learnt(training: stage_trainer.StageTrainer) -> Weights:
    """Return the weights that learn, and their averages."""
    return [np.asarray(variable) for variable in [*training.variables, *training._averages]]


def apart(one: Weights, other: Weights) -> float:
    return max(float(np.abs(first - second).max()) for first, second in zip(one, other, strict=True))


def checkpoint_of(run: Path) -> Weights:
    with np.load(run / "checkpoints/last.npz") as last:
        return [last[name] for name in last.files if name != "facts"]


def events_of(run: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_the_digits_come_to_nearly_the_same_weights(
    policy: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So low that no step is left out: these few would show it.
    made = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(mixed_precision.keras.optimizers, "LossScaleOptimizer", lambda inner: made(inner, 16.0))
    words = ("batch_size=4", "stage.1.learning_rate=1e-5")
    exact, mixed = (stage_of(weights, *words, f"hardware.precision={each}") for each in ("float32", policy))
    begun = learnt(exact)
    losses = [learn(training, 1, 2)[0] for training in (exact, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1), policy
    ways = [
        np.concatenate([(end - start).ravel() for start, end in zip(begun, learnt(each), strict=True)])
        for each in (exact, mixed)
    ]
    cosine = float(ways[0] @ ways[1] / np.linalg.norm(ways[0]) / np.linalg.norm(ways[1]))
    assert 0.9 < cosine < 0.999999
    assert {variable.dtype for variable in mixed.variables} == {"float32"}


def test_half_the_digits_are_of_learning_alone(colours: Path, weights: Path, tmp_path: Path) -> None:
    words = (f"backbone.weights={weights}", "hardware.precision=mixed_bfloat16")
    run_on(colours, tmp_path / "run", *PLAIN, *words)
    assert_exact(tmp_path / "run", colours)


def assert_exact(run: Path, colours: Path) -> None:
    """Assert that a bundle is one of float32, and that it was scored as it predicts."""
    network = network_of(run)
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert {variable.dtype for variable in network.weights} == {"float32"}
    rows = rows_of(run / "predictions_test.csv")
    paths = [str(colours / row["path"]) for row in rows]
    images = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images
    said = np.array([[float(row[f"p_{name}"]) for name in ("blue", "green", "red")] for row in rows])
    np.testing.assert_allclose(said, run_network(network)(images), atol=1e-6)


def test_a_network_that_is_left_with_half_the_digits_is_found_out(
    colours: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the test above."""

    class Left:
        def __init__(self, policy: str, layers: Any) -> None:
            for layer in layers:
                if not isinstance(layer, keras.layers.InputLayer):
                    layer.dtype_policy = policy

        def __enter__(self) -> None: ...
        def __exit__(self, *args: Any) -> None: ...

    monkeypatch.setattr(stage_trainer, "computing_in", Left)
    words = (f"backbone.weights={weights}", "hardware.precision=mixed_bfloat16")
    run_on(colours, tmp_path / "run", *PLAIN, *words)
    with pytest.raises(AssertionError):
        assert_exact(tmp_path / "run", colours)


def test_layers_compute_so_within_the_block_only() -> None:
    network = build(find(TINY), weights="none", size=TINY_SIZE)
    layers = network.layers[3:]
    for policy, dtype in {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16", "float32": "float32"}.items():
        with computing_in(policy, layers):
            assert network(np.zeros((1, TINY_SIZE, TINY_SIZE, 3), np.uint8)).dtype == dtype
        assert network(np.zeros((1, TINY_SIZE, TINY_SIZE, 3), np.uint8)).dtype == "float32"
    with pytest.raises(ZeroDivisionError), computing_in("mixed_float16", layers):
        raise ZeroDivisionError
    assert {layer.compute_dtype for layer in layers} == {"float32"}


# --- a loss that is scaled ------------------------------------------------------------------------------------------

FLOAT16 = ("hardware.precision=mixed_float16", "batch_size=1", "hardware.accumulate=2", "stage.1.learning_rate=1e-3")


@pytest.fixture
def too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loss scale begin where gradients overflow, so that the first steps are left out."""
    made = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(mixed_precision.keras.optimizers, "LossScaleOptimizer", lambda inner: made(inner, 2.0**22))


@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize("lost", [None, "scale"])
def test_a_loss_scale_is_part_of_what_a_stage_goes_on_from(lost: str | None, weights: Path) -> None:
    straight = stage_of(weights, *FLOAT16)
    begun = learnt(straight)
    loss, _ = learn(straight, 1)
    # Steps were left out, the scale went down, and that is no weight that ran away.
    assert np.isfinite(loss)
    assert 1 < float(straight.optimizer.dynamic_scale) < 2.0**22
    assert apart(begun, learnt(straight)) > 0
    assert all(np.isfinite(array).all() for array in learnt(straight))
    state, values = straight.optimizer_state(), [np.asarray(variable) for variable in straight.variables]
    learn(straight, 2)

    resumed = stage_of(weights, *FLOAT16)
    for variable, value in zip(resumed.variables, values, strict=True):
        variable.assign(value)
    resumed.set_optimizer_state(state)
    if lost:
        resumed.optimizer.dynamic_scale.assign(2.0**22)
    learn(resumed, 2)
    same = all(np.array_equal(*pair) for pair in zip(learnt(straight), learnt(resumed), strict=True))
    assert same == (lost is None)


@pytest.mark.parametrize("lost", [10, 17])
def test_weights_that_run_away_are_told_from_steps_left_out(
    lost: int, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most losses are no numbers any more, it is no matter of the scale."""
    go, told = stage_trainer.StageTrainer._learn, iter(range(COUNT))

    def planted(self: Any, *words: Any) -> Any:
        for loss, hits in go(self, *words):
            yield (np.nan if next(told) < lost else loss), hits

    monkeypatch.setattr(stage_trainer.StageTrainer, "_learn", planted)
    loss, _ = learn(stage_of(weights, "hardware.precision=mixed_float16", "batch_size=1"), 1)
    assert np.isfinite(loss) == (lost < COUNT / 2)


# --- portions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_batches_of_half_the_size_are_one_step(
    optimizer: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"stage.1.optimizer={optimizer}", "stage.1.learning_rate=0.01", "stage.1.gradient_clip=0.5")
    words += ("stage.1.label_smoothing=0.1", "balance.method=class-weights", "stage.1.schedule=cosine")
    one, two, half = (
        stage_of(weights, *words, *more)
        for more in (["batch_size=16"], ["batch_size=8", "hardware.accumulate=2"], ["batch_size=8"])
    )
    # 27 pictures: the last step of an epoch is smaller, and its last portion still smaller.
    assert (one.steps, two.steps, half.steps) == (2, 2, 4)
    results = [learn(training, 1, 2) for training in (one, two, half)]
    assert apart(learnt(one), learnt(two)) < 1e-5
    assert apart(learnt(one), learnt(half)) > 1e-4
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)

    # The twin: every portion counts alike, as Keras's own accumulation has it.
    gather = GradientAccumulator.gather
    monkeypatch.setattr(
        GradientAccumulator,
        "gather",
        lambda self, inputs, truth, rows: gather(self, inputs, truth, len(inputs) * -(-rows // 8)),
    )
    alike = stage_of(weights, *words, "batch_size=8", "hardware.accumulate=2")
    learn(alike, 1, 2)
    assert apart(learnt(one), learnt(alike)) > 1e-4


def test_portions() -> None:
    micro_batches = MicroBatches(6, 2)
    assert micro_batches.cut(27) == [[6, 6], [6, 6], [3]]
    sizes = []
    for _ in range(3):
        micro_batches.halve()
        sizes.append((micro_batches.size, micro_batches.cut(13)))
    assert sizes == [
        (3, [[3, 3, 3, 3], [1]]),
        (2, [[2] * 6, [1]]),
        (1, [[1] * 12, [1]]),
    ]
    with pytest.raises(InputError, match="too small for one picture at a time") as caught:
        micro_batches.halve()
    assert caught.value.exit_code == 3
    assert "images.size" in str(caught.value.hint)


# --- too little memory ----------------------------------------------------------------------------------------------


def out_of_memory_above(bound: list[int], inputs: tf.Tensor) -> tf.Tensor:
    """Return a batch as it is, or let the graph fail as an allocator does that has nothing left."""

    def allocate(rows: tf.Tensor) -> Any:
        if rows > bound[0]:
            raise MemoryError(f"no memory for {rows} pictures")
        return np.int32(0)

    nothing = tf.py_function(allocate, [tf.shape(inputs)[0]], tf.int32)
    with tf.control_dependencies([nothing]):
        return tf.identity(inputs)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every compiled step, and what answers for val, fail above a number of pictures."""
    forward, bound = stage_trainer.StageTrainer._forward, [1000]
    monkeypatch.setattr(
        stage_trainer.StageTrainer,
        "_forward",
        lambda self, inputs, training=False: forward(self, out_of_memory_above(bound, inputs), training),
    )
    return bound


SMALL = (*PLAIN, "stage.1.unfreeze=head", "batch_size=16", "head.dropout=0.3", "head.kind=mlp")


def test_less_memory_is_the_same_recipe_with_smaller_batches(
    colours: Path, weights: Path, tmp_path: Path, little_memory: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SMALL, f"backbone.weights={weights}")
    run_on(colours, tmp_path / "hand", *words, "batch_size=4", "hardware.accumulate=4")
    little_memory[0], heard = 4, Heard()
    run_on(colours, tmp_path / "run", *words, progress=heard)
    assert apart(checkpoint_of(tmp_path / "hand"), checkpoint_of(tmp_path / "run")) < 1e-6
    said = [line for line in heard.lines if "memory" in line]
    assert said[1:] == [
        "memory was too small for 8 pictures at a time: going on with batch_size = 4, hardware.accumulate = 4; "
        "a step learns from 16 as before"
    ]
    assert events_of(tmp_path / "run").count("out of memory") == len(said) == 2

    # Stopped after an epoch: what was found out about the memory is not found out again.
    heard, stopped = Heard(), stop_before_each_epoch(monkeypatch)
    stopped.append(1)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "stopped", *words, progress=heard)
    run_on(colours, tmp_path / "stopped", *words, progress=heard)
    assert same_end(tmp_path / "run", tmp_path / "stopped")
    assert [line for line in heard.lines if "memory" in line] == said


@pytest.mark.parametrize("taken_back", [True, False])
def test_memory_that_becomes_too_small_in_the_middle(
    taken_back: bool,
    colours: Path,
    weights: Path,
    tmp_path: Path,
    little_memory: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The epoch is begun again from where it began; the twin goes on from where it was."""
    words = (*PLAIN, "stage.1.unfreeze=head", "batch_size=4", f"backbone.weights={weights}")
    run_on(colours, tmp_path / "unbroken", *words)
    go, steps = stage_trainer.StageTrainer._learn, iter(range(1000))

    def shrinking(self: Any, *words: Any) -> Any:
        little_memory[0] = 2 if next(steps) >= 7 else 4
        return go(self, *words)

    monkeypatch.setattr(stage_trainer.StageTrainer, "_learn", shrinking)
    if not taken_back:
        set_weights, calls = Network.set_weights, iter(range(1000))
        monkeypatch.setattr(
            Network, "set_weights", lambda self, *words: set_weights(self, *words) if next(calls) else None
        )
    run_on(colours, tmp_path / "run", *words)
    assert events_of(tmp_path / "run").count("out of memory") == 1
    assert (apart(checkpoint_of(tmp_path / "unbroken"), checkpoint_of(tmp_path / "run")) < 1e-5) == taken_back


def test_no_memory_for_one_picture(colours: Path, weights: Path, tmp_path: Path, little_memory: list[int]) -> None:
    little_memory[0] = 0
    with pytest.raises(InputError, match="too small for one picture at a time"):
        run_on(colours, tmp_path / "run", *SMALL, f"backbone.weights={weights}")
    assert events_of(tmp_path / "run").count("out of memory") == 4


def test_a_frozen_network_is_run_in_portions() -> None:
    run = tf.function(lambda batch: out_of_memory_above([3], batch) * 2.0)
    micro_batches, batch = MicroBatches(16), np.arange(14, dtype=np.float32).reshape(7, 2)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        run(batch)
    np.testing.assert_array_equal(micro_batches.run_in_chunks(run)(batch), batch * 2)
    assert (micro_batches.size, micro_batches.halvings) == (2, 3)


# --- several cards --------------------------------------------------------------------------------------------------

TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.training.loop.test_hardware import apart, learn, learnt, stage_of
from transfer_cli.engine import devices
# Two halves of the processor stand for two cards.
names = [device.name for device in tf.config.list_logical_devices("CPU")]
devices.cards = lambda asked: names[:asked]
weights, *words = sys.argv[1:]
one, two = (stage_of(Path(weights), *words, f"hardware.gpus={asked}") for asked in (1, 2))
losses = [learn(training, 1, 2) for training in (one, two)]
placed = {node.device for node in two._step.get_concrete_function().graph.as_graph_def().node if node.op == "Conv2D"}
print(apart(learnt(one), learnt(two)), abs(losses[0][0] - losses[1][0]), *sorted(placed))
"""


def test_two_devices_come_to_the_same_weights(weights: Path) -> None:
    # 27 pictures: two steps of two portions, and one of one.
    words = ["batch_size=6", "hardware.accumulate=2", "trunk.views=fresh", "augmentation.rotation_range=9"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(weights), *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    weights_apart, losses_apart, *placed = done.stdout.split()
    # Sums in another order: not the same bits, or nothing was shared out.
    assert 0 < float(weights_apart) < 1e-5
    assert float(losses_apart) < 1e-5
    assert placed == ["/device:CPU:0", "/device:CPU:1"]


def test_more_cards_than_there_are(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"hardware.gpus is 64, but TensorFlow finds") as caught:
        run_on(colours, tmp_path / "run", *PLAIN, "hardware.gpus=64")
    assert "gpus=auto" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_a_card_is_not_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[tuple[str, bool]] = []

    def grow(card: str, growing: bool) -> None:
        grown.append((card, growing))
        if card == "second":
            raise RuntimeError("TensorFlow has been started before")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    assert "CPU" in quiet_imports.start_tensorflow()
    assert grown == [("first", True), ("second", True)]


def test_what_is_learnt_on_is_said() -> None:
    assert what_computes([], "float32") == ""
    assert what_computes([], "mixed_bfloat16") == "learns on the processor, in mixed_bfloat16"
    cards = ["/device:GPU:0", "/device:GPU:1"]
    assert what_computes(cards, "float32") == "learns on GPU:0 and GPU:1, in float32"
