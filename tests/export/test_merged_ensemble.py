"""An ensemble as one graph says what its members say together; each rule has a graph that breaks it."""

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
from transfer_cli.bundle.bundle import Member, ModelBundle, OpenedBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.catalog import export_formats
from transfer_cli.data.decoding import batches
from transfer_cli.errors import ModelError
from transfer_cli.export.export import export, formats_for, judge
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.float_layers import Step
from transfer_cli.export.merged_ensemble import _majority, _tempered, whole_ensemble
from transfer_cli.export.output_folder import TABLE
from transfer_cli.export.parity import compare
from transfer_cli.inference.combine import majority
from transfer_cli.inference.exported_model import facts_of
from transfer_cli.inference.load import load

Join = Callable[..., Path]
GATES = [
    ("average", ("litert",)),
    ("stack", ("onnx",)),
    pytest.param("average", ("keras", "litert", "onnx"), marks=pytest.mark.slow),
    pytest.param("vote", ("onnx",), marks=pytest.mark.slow),
]
METHODS = ["vote", *(pytest.param(method, marks=pytest.mark.slow) for method in ("average", "stack"))]
"""Of the others it is seen quickly below that they are what they should be: by the weights, and by the gate."""


@pytest.fixture(scope="session")
def images(colours: Path) -> NDArray[np.uint8]:
    paths = sorted(map(str, colours.rglob("*.png")))
    return next(batches(paths, size=32, resize="squash", batch_size=len(paths))).images


def with_weights(opened: OpenedBundle, weights: Sequence[float], temperature: float | None) -> OpenedBundle:
    members = tuple(
        Member(name=member.name, digest=member.digest, weight=weight)
        for member, weight in zip(opened.bundle.members, weights, strict=True)
    )
    changed = opened.bundle.model_copy(update={"members": members, "temperature": temperature})
    return replace(opened, bundle=changed)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_says_what_the_ensemble_says(method: str, join: Join, images: NDArray[np.uint8]) -> None:
    run = join(method, "plain", "linear", "finetuned")
    expected = load(str(run), runtime="keras").predict_proba(images)
    network = whole_ensemble(ModelBundle.open(run))
    given = np.asarray(network(images))
    assert compare(expected, given, None).is_exact, compare(expected, given, None).summary
    # The twin: what it would say if one member were missing.
    lone = load(str(ModelBundle.open(run).members[2].directory)).predict_proba(images)
    assert not compare(expected, lone, None).is_exact


def test_weights_and_the_temperature_are_in_it(join: Join, images: NDArray[np.uint8]) -> None:
    opened = ModelBundle.open(join("average", "plain", "linear", "finetuned"))
    members = [load(str(member.directory), runtime="keras").predict_proba(images) for member in opened.members]
    weights = (0.5, 0.2, 0.3)
    mean = np.tensordot(weights, np.stack(members).astype(np.float64), axes=1).astype(np.float32)
    given = np.asarray(whole_ensemble(with_weights(opened, weights, 2.5))(images))
    np.testing.assert_allclose(given, apply_temperature(mean, 2.5), atol=1e-4)
    assert np.abs(given - apply_temperature(mean, None)).max() > 0.01
    assert np.abs(given - apply_temperature(np.mean(members, axis=0), 2.5)).max() > 0.001


def test_a_network_that_several_members_have_is_in_it_once(join: Join) -> None:
    opened = ModelBundle.open(join("average", "plain", "linear"))
    first = opened.members[0]
    own = keras.saving.load_model(first.directory / "backbone.keras", compile=False).count_params()
    assert own < whole_ensemble(replace(opened, members=(first, first))).count_params() < 1.1 * own
    # The twin: as another file it is another network.
    files = dict(first.bundle.files)
    files["backbone.keras"] = files["backbone.keras"].model_copy(update={"sha256": "0" * 64})
    other = replace(first, bundle=first.bundle.model_copy(update={"files": files}))
    assert whole_ensemble(replace(opened, members=(first, other))).count_params() > 1.9 * own


def test_arithmetic_is_that_of_the_ensemble() -> None:
    random = np.random.default_rng(0)
    given = random.dirichlet(np.full(5, 0.3), (4, 200)).astype(np.float32)
    given[:, :, 3] = 0
    inputs = [keras.Input((5,)) for _ in given]
    votes = keras.Model(inputs, _majority(inputs))([*given])
    np.testing.assert_allclose(np.asarray(votes), majority(given), atol=1e-6)
    for temperature in (0.2, 0.87, 3.0, 15.0):
        cooled = keras.Model(inputs[0], _tempered(inputs[0], temperature))
        # Compiled, where constants may be added up in another order.
        answer = cooled.predict(given[0], verbose=0)
        np.testing.assert_allclose(answer, apply_temperature(given[0], temperature), atol=2e-6)
        # What no member holds for possible stays impossible.
        assert not answer[:, 3].any()


@pytest.mark.parametrize(("method", "formats"), GATES)
def test_each_format_passes_the_gate(
    method: str, formats: tuple[str, ...], join: Join, colours: Path, tmp_path: Path
) -> None:
    bundle = str(shutil.copytree(join(method, "plain", "linear", "finetuned") / "model", tmp_path / "bundle"))
    if method == "average":
        reseal(tmp_path / "bundle", temperature=0.8)
    target = tmp_path / "exported"
    judge(export(bundle, formats_for(bundle, formats), target, images=colours))
    table = json.loads((target / TABLE).read_text())
    assert [row["format"] for row in table["formats"]] == list(formats)
    facts = facts_of(target / ("model.tflite" if formats == ("litert",) else "model.onnx"))
    assert (facts.class_names, facts.image_size, facts.backbone) == (("blue", "green", "red"), 32, TINY)
    assert facts.bundle == ModelBundle.open(tmp_path / "bundle").bundle.digest
    assert (target / "labels.txt").read_text() == "blue\ngreen\nred\n"


def test_members_that_see_pictures_otherwise_are_told(join: Join) -> None:
    run = str(join("average", "plain", "large"))
    with pytest.raises(ModelError, match=r"plain sees 32 x 32 \(squash\); large sees 48 x 48 \(crop\)") as caught:
        formats_for(run, ["litert"])
    assert f"transfer-cli export {run}/model/member-01 --images FOLDER" in str(caught.value.hint)
    with pytest.raises(ModelError, match="in several ways"):
        formats_for(run, [export_formats.ALL])


def test_a_classifier_that_is_no_layer_is_told(join: Join) -> None:
    with pytest.raises(ModelError, match="The classifier of neighbours is not linear"):
        formats_for(str(join("average", "plain", "neighbours")), ["onnx"])


def test_what_stays_exact_of_two_networks_and_what_joins_them() -> None:
    """Two chains of convolutions, a dense layer and a softmax each, whose mean is read by one dense layer more."""
    chain = [("convolution", 1), ("convolution", 99), ("dense", 0), ("other", 0), ("probabilities", 0)]
    steps: list[Step] = []
    for start in (0, 5):
        for at, (kind, weights) in enumerate(chain):
            steps.append(Step(kind, (start + at - 1,) if at else (), weights))  # type: ignore[arg-type]
    steps += [Step("other", (4, 9)), Step("dense", (10,)), Step("probabilities", (11,))]
    assert float_layers.read_outs(steps) == [2, 7, 11]
    assert float_layers.tail(steps) == [2, 3, 4, 7, 8, 9, 10, 11, 12]
    assert float_layers.early(steps) == [0, 5]
    # One network: its last dense layer, and what is behind it.
    assert float_layers.tail(steps[:5]) == [2, 3, 4]
    assert float_layers.early(steps[:5]) == [0]
    hidden = [Step("convolution", ()), Step("dense", (0,)), Step("dense", (1,)), Step("probabilities", (2,))]
    assert float_layers.tail(hidden) == [2, 3]
