"""An ensemble merged into one network predicts like the ensemble; each rule has a twin that breaks it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import TINY
from tests.hostile_files import reseal
from transfer_cli.bundle.bundle import EnsembleMember, ModelBundle, OpenedBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.catalog import export_formats
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import ModelError
from transfer_cli.export.export import export
from transfer_cli.export.format_selection import select_formats
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.float_layers import Operation
from transfer_cli.export.merged_network import _apply_temperature, _majority, merge_ensemble
from transfer_cli.export.output_folder import TABLE
from transfer_cli.export.parity import compare
from transfer_cli.export.results import check_results
from transfer_cli.inference.ensemble_model import majority
from transfer_cli.inference.exported_model import exported_metadata
from transfer_cli.inference.load import load

pytestmark = pytest.mark.integration

Join = Callable[..., Path]
GATES = [
    ("average", ("litert",)),
    ("stack", ("onnx",)),
    pytest.param("average", ("keras", "litert", "onnx"), marks=pytest.mark.slow),
    pytest.param("vote", ("onnx",), marks=pytest.mark.slow),
]
METHODS = ["vote", *(pytest.param(method, marks=pytest.mark.slow) for method in ("average", "stack"))]
"""The quick tests below check the other methods by their weights and by the parity check."""


@pytest.fixture(scope="session")
def images(colours: Path) -> NDArray[np.uint8]:
    paths = sorted(map(str, colours.rglob("*.png")))
    return next(batches(paths, size=32, resize="squash", batch_size=len(paths))).images


def with_weights(opened: OpenedBundle, weights: Sequence[float], temperature: float | None) -> OpenedBundle:
    members = tuple(
        EnsembleMember(name=member.name, digest=member.digest, weight=weight)
        for member, weight in zip(opened.bundle.members, weights, strict=True)
    )
    changed = opened.bundle.model_copy(update={"members": members, "temperature": temperature})
    return replace(opened, bundle=changed)


@pytest.mark.parametrize("method", METHODS)
def test_merge_ensemble_predicts_like_the_ensemble(method: str, join: Join, images: NDArray[np.uint8]) -> None:
    run = join(method, "plain", "linear", "finetuned")
    expected = load(str(run), runtime="keras").predict_proba(images)
    network = merge_ensemble(ModelBundle.open(run))
    parity = compare(expected, np.asarray(network(images)))
    assert parity.is_exact, parity.summary
    # The twin: the predictions without one member.
    single = load(str(ModelBundle.open(run).members[2].directory)).predict_proba(images)
    assert not compare(expected, single).is_exact


def test_merge_ensemble_applies_weights_and_temperature(join: Join, images: NDArray[np.uint8]) -> None:
    opened = ModelBundle.open(join("average", "plain", "linear", "finetuned"))
    members = [load(str(member.directory), runtime="keras").predict_proba(images) for member in opened.members]
    weights = (0.5, 0.2, 0.3)
    mean = np.tensordot(weights, np.stack(members).astype(np.float64), axes=1).astype(np.float32)
    predicted = np.asarray(merge_ensemble(with_weights(opened, weights, 2.5))(images))
    np.testing.assert_allclose(predicted, apply_temperature(mean, 2.5), atol=1e-4)
    assert np.abs(predicted - apply_temperature(mean, None)).max() > 0.01
    assert np.abs(predicted - apply_temperature(np.mean(members, axis=0), 2.5)).max() > 0.001


def test_merge_ensemble_includes_a_shared_network_once(join: Join) -> None:
    opened = ModelBundle.open(join("average", "plain", "linear"))
    first = opened.members[0]
    own = keras.saving.load_model(first.directory / "backbone.keras", compile=False).count_params()
    assert own < merge_ensemble(replace(opened, members=(first, first))).count_params() < 1.1 * own
    # The twin: another digest is another network.
    files = dict(first.bundle.files)
    files["backbone.keras"] = files["backbone.keras"].model_copy(update={"sha256": "0" * 64})
    other = replace(first, bundle=first.bundle.model_copy(update={"files": files}))
    assert merge_ensemble(replace(opened, members=(first, other))).count_params() > 1.9 * own


def test_majority_and_temperature_equal_their_numpy_versions() -> None:
    random = np.random.default_rng(0)
    predictions = random.dirichlet(np.full(5, 0.3), (4, 200)).astype(np.float32)
    predictions[:, :, 3] = 0
    inputs = [keras.Input((5,)) for _ in predictions]
    votes = keras.Model(inputs, _majority(inputs))([*predictions])
    np.testing.assert_allclose(np.asarray(votes), majority(predictions), atol=1e-6)
    for temperature in (0.2, 0.87, 3.0, 15.0):
        network = keras.Model(inputs[0], _apply_temperature(inputs[0], temperature))
        # Compiled, where sums with constants may be reordered.
        predicted = network.predict(predictions[0], verbose=0)
        np.testing.assert_allclose(predicted, apply_temperature(predictions[0], temperature), atol=2e-6)
        # A class that is impossible for all members stays impossible.
        assert not predicted[:, 3].any()


@pytest.mark.parametrize(("method", "formats"), GATES)
def test_export_ensemble_passes_the_parity_check(
    method: str, formats: tuple[str, ...], join: Join, colours: Path, tmp_path: Path
) -> None:
    bundle = str(shutil.copytree(join(method, "plain", "linear", "finetuned") / "model", tmp_path / "bundle"))
    if method == "average":
        reseal(tmp_path / "bundle", temperature=0.8)
    target = tmp_path / "exported"
    check_results(export(bundle, select_formats(bundle, formats), target, images=colours))
    table = json.loads((target / TABLE).read_text())
    assert [row["format"] for row in table["formats"]] == list(formats)
    facts = exported_metadata(target / ("model.tflite" if formats == ("litert",) else "model.onnx"))
    assert (facts.class_names, facts.image_size, facts.backbone) == (("blue", "green", "red"), 32, TINY)
    assert facts.bundle == ModelBundle.open(tmp_path / "bundle").bundle.digest
    assert (target / "labels.txt").read_text() == "blue\ngreen\nred\n"


def test_select_formats_members_with_other_image_sizes_are_rejected(join: Join) -> None:
    run = str(join("average", "plain", "large"))
    with pytest.raises(ModelError, match=r"plain reads 32 x 32 \(squash\); large reads 48 x 48 \(crop\)") as caught:
        select_formats(run, ["litert"])
    assert f"transfer-cli export {run}/model/member-01 --images DIR" in str(caught.value.hint)
    with pytest.raises(ModelError, match="in different sizes"):
        select_formats(run, [export_formats.ALL])


def test_select_formats_nonlinear_member_is_rejected(join: Join) -> None:
    with pytest.raises(ModelError, match="The classifier of neighbours is not linear"):
        select_formats(str(join("average", "plain", "neighbours")), ["onnx"])


def test_float_layers_of_two_networks_and_their_combination() -> None:
    """Two networks of convolutions, a dense layer and a softmax each, whose mean is the input of a dense layer."""
    chain = [("convolution", 1), ("convolution", 99), ("dense", 0), ("other", 0), ("probabilities", 0)]
    operations: list[Operation] = []
    for start in (0, 5):
        for at, (kind, weights) in enumerate(chain):
            operations.append(Operation(kind, (start + at - 1,) if at else (), weights))  # type: ignore[arg-type]
    operations += [Operation("other", (4, 9)), Operation("dense", (10,)), Operation("probabilities", (11,))]
    assert float_layers.logit_layers(operations) == [2, 7, 11]
    assert float_layers.tail(operations) == [2, 3, 4, 7, 8, 9, 10, 11, 12]
    assert float_layers.early(operations) == [0, 5]
    # One network: its last dense layer and the operations after it.
    assert float_layers.tail(operations[:5]) == [2, 3, 4]
    assert float_layers.early(operations[:5]) == [0]
    hidden = [
        Operation("convolution", ()),
        Operation("dense", (0,)),
        Operation("dense", (1,)),
        Operation("probabilities", (2,)),
    ]
    assert float_layers.tail(hidden) == [2, 3]
