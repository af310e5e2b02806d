from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Outcome
from tests.hostile_files import reseal
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import InputError, ModelError
from transfer_cli.features import table
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel, FeatureModel, NetworkModel
from transfer_cli.inference.reject import Rejector
from transfer_cli.runs.completed_run import FinishedRun

COLOURS = ("blue", "green", "red")


@pytest.fixture(params=["trained", "finetuned"])
def run(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def decoded(paths: list[str], model: AbstractModel) -> np.ndarray:
    read = batches(paths, size=model.image_size, resize=model.resize, batch_size=32)
    return np.concatenate([batch.images for batch in read])


def test_model_reproduces_features_and_probabilities_of_its_run(run: Path) -> None:
    model, finished = load(str(run)), FinishedRun.read(run)
    assert isinstance(model, FeatureModel)
    paths = [str(finished.root / row.path) for row in finished.split.rows]
    images = decoded(paths, model)
    matrix = table.read(run / "features.parquet")
    assert model.features(images) == pytest.approx(matrix, rel=1e-4, abs=1e-5)
    test = finished.predictions_of("test")
    assert model.classify(matrix[test.rows]) == pytest.approx(test.predictions.probabilities, abs=1e-6)
    # Control: features of other images give other probabilities.
    assert model.classify(matrix[test.rows[::-1]]) != pytest.approx(test.predictions.probabilities, abs=1e-3)


def test_model_on_keras_agrees_with_the_keras_file(finetuned: Path) -> None:
    from tests.finetuning import network_of

    model, finished = load(str(finetuned), runtime="keras"), FinishedRun.read(finetuned)
    bundle, _ = ModelBundle.read(finetuned)
    paths = [str(finished.root / row.path) for row in finished.split.rows]
    images = decoded(paths, model)
    whole = np.asarray(network_of(finetuned)(images, training=False))
    assert model.predict_proba(images) == pytest.approx(apply_temperature(whole, bundle.temperature), abs=1e-5)


def test_network_without_linear_layer_predicts_but_cannot_reject(finetuned: Path, tmp_path: Path) -> None:
    from tests.finetuning import network_of

    copy = Path(shutil.copytree(finetuned, tmp_path / "copy"))
    files = json.loads((copy / "model/bundle.json").read_text())["files"]
    reseal(copy / "model", files={"network.keras": files["network.keras"]}, temperature=None)
    model = load(str(copy))
    assert isinstance(model, NetworkModel)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    whole = np.asarray(network_of(copy)(images, training=False))
    assert model.predict_proba(images) == pytest.approx(whole, abs=1e-5)
    with pytest.raises(ModelError, match="cannot detect images that are unlike the training images"):
        Rejector(model, coverage=0.9)
    with pytest.raises(ModelError, match="has no features"):
        model.features(images)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of random tiles, which are out of distribution."""
    place = tmp_path_factory.mktemp("strange")
    random = np.random.default_rng(3)
    for number in range(6):
        tiles = random.integers(0, 2, (8, 8, 3)) * 255
        Image.fromarray(np.kron(tiles, np.ones((5, 5, 1))).astype(np.uint8)).save(place / f"{number}.png")
    return place


def test_predict_unknown_rejects_out_of_distribution_images(
    run: Path, colours: Path, strange: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    done = transfer_cli("predict", run, strange, "--unknown")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(done.out.splitlines()))
    unknown = [row["label"] for row in rows].count("unknown")
    assert unknown >= 5
    assert all(float(row["confidence"]) == float(row[f"p_{row['guess']}"]) for row in rows)
    assert all(float(row["confidence"]) == max(float(row[f"p_{name}"]) for name in COLOURS) for row in rows)
    assert all(
        (row["reason"] in ("unlike training images", "low confidence")) == (row["label"] == "unknown") for row in rows
    )
    assert all(row["label"] == row["guess"] for row in rows if row["label"] != "unknown")
    assert "of validation images keep a label; " in done.err
    assert f"6 images predicted, {unknown} of them labelled `unknown`, 0 skipped" in done.err
    own = transfer_cli("--json", "predict", run, colours / "red", "--coverage", "1", "-o", "own.jsonl")
    assert own.json["unknown"] <= 3  # type: ignore[index]


def test_predict_rejects_nothing_by_default(run: Path, strange: Path, transfer_cli: Callable[..., Outcome]) -> None:
    plain = transfer_cli("predict", run, strange)
    assert "unknown" not in plain.out + plain.err


def test_predict_threshold_is_the_minimum_confidence(
    run: Path, colours: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    plain = list(csv.DictReader(transfer_cli("predict", run, colours).out.splitlines()))
    middle = sorted(float(row["confidence"]) for row in plain)[len(plain) // 2]
    strict = list(csv.DictReader(transfer_cli("predict", run, colours, "--threshold", middle).out.splitlines()))
    expected = [row["label"] if float(row["confidence"]) >= np.float32(middle) else "unknown" for row in plain]
    assert [row["label"] for row in strict] == expected
    assert 0 < expected.count("unknown") < len(expected)


@pytest.mark.parametrize("format_", ["jsonl", "table", "parquet", "csv"])
def test_predict_writes_unknown_in_every_format(
    run: Path, strange: Path, format_: str, transfer_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    target = tmp_path / "out"
    done = transfer_cli("predict", run, strange, "--unknown", "--format", format_, "--top-k", 2, "-o", target)
    assert done.code == 0, done.err
    if format_ == "parquet":
        import pyarrow.parquet as pq

        labels = pq.ParquetFile(target).read().column("label").to_pylist()
    else:
        labels = target.read_text().replace(",", " ").replace('"', " ").split()
    assert labels.count("unknown") >= 5


def test_rejector_multi_label_or_class_called_unknown_raises(trained: Path, tmp_path: Path) -> None:
    model = load(str(trained))
    model.thresholds = (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="multi-label model"):
        Rejector(model, coverage=0.9)
    model = load(str(trained))
    model.class_names = ("cat", "dog", "unknown")
    with pytest.raises(InputError, match="a class called unknown"):
        Rejector(model, threshold=0.5)


def test_load_damaged_rejection_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    file = copy_of_trained / "model/rejection.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"rejection\.npz was altered"):
        load(str(copy_of_trained))
