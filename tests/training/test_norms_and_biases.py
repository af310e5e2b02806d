"""unfreeze = norms-and-biases trains no kernel and no moving statistic, and is resumed exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from tests.finetuning import network_of, run_on
from tests.stage_training import RecordingProgress
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli.catalog import backbones
from transfer_cli.models import freezing
from transfer_cli.models.backbone import build
from transfer_cli.models.freezing import FrozenSplit
from transfer_cli.recipe.stages import Stage

pytestmark = pytest.mark.integration

STAGE = (
    *("stage.1.unfreeze=norms-and-biases", "stage.1.epochs=2", "stage.1.learning_rate=0.01", "batch_size=8"),
    *("stage.1.layer_decay=0.9", "split.val=0.0", "final.classifier=head", "final.probe=0"),
)


def changed_by(run: Path, weights: Path) -> set[str]:
    """Return the names of the backbone's variables that a training changed."""
    before, after = build(backbones.find(TINY), weights=str(weights), size=TINY_SIZE), network_of(run)
    return {
        variable.name
        for layer in before.layers
        for variable, trained in zip(layer.weights, after.get_layer(layer.name).weights, strict=True)
        if layer.weights and not np.array_equal(variable, trained)
    }


def test_norms_and_biases_train_alone_and_resume_exactly(
    colours: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, progress = (*STAGE, f"backbone.weights={weights}"), RecordingProgress()
    straight = run_on(colours, tmp_path / "straight", *words, progress=progress).run
    assert changed_by(straight.path, weights) == {"gamma", "beta"}
    network = build(backbones.find(TINY), weights="none", size=TINY_SIZE)
    norms = [layer for layer in network.layers if freezing.norms_and_biases(layer)]
    count = sum(2 * layer.gamma.shape[0] for layer in norms) + 3 * (256 + 1)
    assert f"stage 1 of 1, normalisation layers and biases: {count:,} trainable parameters, 2 epochs of 3 steps" in (
        progress.notes
    )
    stopped = stop_before_each_epoch(monkeypatch)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, tmp_path / "run", *words)
    run = run_on(colours, tmp_path / "run", *words).run
    assert stopped == [1, 2]
    assert same_end(straight.path, run.path)
    assert run.predictions("test").read_bytes() == straight.predictions("test").read_bytes()
    trained, expected = (network_of(each.path).get_weights() for each in (run, straight))
    assert all(one.tobytes() == other.tobytes() for one, other in zip(trained, expected, strict=True))


def test_kernels_that_train_are_detected(
    colours: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: the layers from the lowest normalisation on train as wholes."""
    split_at = freezing.split_at

    def whole(network: Any, unfreeze: str) -> FrozenSplit:
        return split_at(network, "all" if unfreeze == "norms-and-biases" else unfreeze)

    monkeypatch.setattr(freezing, "split_at", whole)
    run = run_on(colours, tmp_path / "run", *STAGE, "stage.1.epochs=1", f"backbone.weights={weights}").run
    assert changed_by(run.path, weights) == {"kernel", "gamma", "beta"}


def test_norms_and_biases_summary() -> None:
    stage = Stage(unfreeze="norms-and-biases", epochs=2, learning_rate=0.1)
    assert stage.summary() == "normalisation layers and biases"
