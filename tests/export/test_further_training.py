"""An exported ``.keras`` file can be trained further: what its last stage trained is trainable, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.export.merged_network import merge_model

pytestmark = pytest.mark.integration


def as_exported(run: Path, folder: Path) -> Any:
    """Return the network of a run after it was written to a file and read again."""
    ExportableModel(str(run), folder).network.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def layers(network: Any) -> Iterator[Any]:
    """Yield the layers of a network and of the networks in it."""
    for layer in network.layers:
        yield from layers(layer) if isinstance(layer, keras.Model) else [layer]


def trainable_layers(network: Any) -> set[str]:
    return {layer.name for layer in layers(network) if layer.trainable_variables}


def loss_after_fit(network: Any, images: NDArray[np.uint8], epochs: int = 5) -> tuple[float, float]:
    """Return the loss before and after some epochs, on the images of three classes in their order."""
    truth = np.repeat(np.arange(3), len(images) // 3)
    network.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    before = network.evaluate(images, truth, verbose=0)
    network.fit(images, truth, epochs=epochs, shuffle=False, verbose=0)
    return before, network.evaluate(images, truth, verbose=0)


def test_exported_extract_run_fit_trains_the_classifier_alone(
    trained: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = as_exported(trained, tmp_path)
    assert trainable_layers(network) == {"logits"}
    frozen = [np.asarray(variable) for variable in network.non_trainable_variables]
    # Moved away from the optimum, so that there is something to learn.
    network.get_layer("logits").kernel.assign(network.get_layer("logits").kernel * 0.1)
    before, after = loss_after_fit(network, images)
    assert after < before
    for array, variable in zip(frozen, network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(array, np.asarray(variable))


def test_exported_finetuned_run_fit_trains_the_layers_of_the_last_stage(
    finetuned: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = as_exported(finetuned, tmp_path)
    saved = keras.saving.load_model(finetuned / "model" / "network.keras", compile=False)
    # The last stage of the recipe is from:conv_dw_13.
    expected = {"conv_dw_13", "conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn", "logits"}
    assert trainable_layers(network) == trainable_layers(saved) == expected
    kernel = network.get_layer("conv_pw_13").kernel
    before = np.asarray(kernel)
    loss_after_fit(network, images, epochs=1)
    assert not np.array_equal(before, np.asarray(kernel))


def test_exported_ensemble_has_the_trainable_layers_of_its_members(
    join: Callable[..., Path], images: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = as_exported(join("average", "plain", "finetuned"), tmp_path)
    names = trainable_layers(network)
    assert "conv_pw_13" in names
    assert "conv_pw_12" not in names
    assert sum(name.startswith("logits") for name in names) == 2


def test_frozen_network_fit_learns_nothing(trained: Path, images: NDArray[np.uint8]) -> None:
    # The planted fault beside the tests above: what all exported files were before.
    network = merge_model(ModelBundle.open(trained))
    network.trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        before, after = loss_after_fit(network, images, epochs=1)
    assert after == before


@pytest.mark.parametrize("fixture", ["trained", "finetuned"])
def test_exported_input_is_called_images_and_has_bytes(
    fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tensor,) = as_exported(request.getfixturevalue(fixture), tmp_path).inputs
    assert (tensor.name, tensor.dtype) == ("images", "uint8")
