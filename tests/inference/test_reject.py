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
from transfer_cli.data.decoding import batches
from transfer_cli.errors import InputError, ModelError
from transfer_cli.features import table
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel, FeatureModel, NetworkModel
from transfer_cli.inference.reject import Rejecting
from transfer_cli.runs.completed_run import FinishedRun

COLOURS = ("blue", "green", "red")


@pytest.fixture(params=["trained", "finetuned"])
def run(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def decoded(paths: list[str], model: AbstractModel) -> np.ndarray:
    read = batches(paths, size=model.image_size, resize=model.resize, batch_size=32)
    return np.concatenate([batch.images for batch in read])


def test_a_model_gives_the_features_and_the_probabilities_of_its_run(run: Path) -> None:
    model, finished = load(str(run)), FinishedRun.read(run)
    assert isinstance(model, FeatureModel)
    paths = [str(finished.root / row.path) for row in finished.split.rows]
    images = decoded(paths, model)
    matrix = table.read(run / "features.parquet")
    assert model.features(images) == pytest.approx(matrix, rel=1e-4, abs=1e-5)
    test = finished.answered("test")
    assert model.classify(matrix[test.rows]) == pytest.approx(test.predictions.probabilities, abs=1e-6)
    # The twin: the features of other pictures are others.
    assert model.classify(matrix[test.rows[::-1]]) != pytest.approx(test.predictions.probabilities, abs=1e-3)


def test_what_keras_gives_with_the_file_alone(finetuned: Path) -> None:
    from tests.finetuning import network_of

    model, finished = load(str(finetuned), runtime="keras"), FinishedRun.read(finetuned)
    bundle, _ = ModelBundle.read(finetuned)
    paths = [str(finished.root / row.path) for row in finished.split.rows]
    images = decoded(paths, model)
    whole = np.asarray(network_of(finetuned)(images, training=False))
    assert model.predict_proba(images) == pytest.approx(apply_temperature(whole, bundle.temperature), abs=1e-5)


def test_a_bundle_of_an_older_version_predicts_as_it_did(finetuned: Path, tmp_path: Path) -> None:
    from tests.finetuning import network_of

    old = Path(shutil.copytree(finetuned, tmp_path / "old"))
    files = json.loads((old / "model/bundle.json").read_text())["files"]
    kept = {"network.keras": files["network.keras"]}
    reseal(old / "model", format_version=3, files=kept, temperature=None)
    model = load(str(old))
    assert isinstance(model, NetworkModel)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    whole = np.asarray(network_of(old)(images, training=False))
    assert model.predict_proba(images) == pytest.approx(whole, abs=1e-5)
    with pytest.raises(ModelError, match="holds nothing that tells"):
        Rejecting(model, coverage=0.9)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures that are no single colour."""
    place = tmp_path_factory.mktemp("strange")
    random = np.random.default_rng(3)
    for number in range(6):
        tiles = random.integers(0, 2, (8, 8, 3)) * 255
        Image.fromarray(np.kron(tiles, np.ones((5, 5, 1))).astype(np.uint8)).save(place / f"{number}.png")
    return place


def test_foreign_pictures_are_unknown(
    run: Path, colours: Path, strange: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    done = transfer_cli("predict", run, strange, "--unknown")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(done.out.splitlines()))
    unknown = [row["label"] for row in rows].count("unknown")
    assert unknown >= 5
    assert all(float(row["confidence"]) == float(row[f"p_{row['guess']}"]) for row in rows)
    assert all(float(row["confidence"]) == max(float(row[f"p_{name}"]) for name in COLOURS) for row in rows)
    assert all((row["why"] in ("unlike", "improbable")) == (row["label"] == "unknown") for row in rows)
    assert all(row["label"] == row["guess"] for row in rows if row["label"] != "unknown")
    assert "unknown below a bar: on val (" in done.err
    assert f"6 pictures predicted, {unknown} of them unknown, 0 skipped" in done.err
    own = transfer_cli("--json", "predict", run, colours / "red", "--coverage", "1", "-o", "own.jsonl")
    assert own.json["unknown"] <= 3  # type: ignore[index]


def test_without_a_word_nothing_is_unknown(run: Path, strange: Path, transfer_cli: Callable[..., Outcome]) -> None:
    plain = transfer_cli("predict", run, strange)
    assert "unknown" not in plain.out + plain.err


def test_a_threshold_is_on_the_probability(run: Path, colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    plain = list(csv.DictReader(transfer_cli("predict", run, colours).out.splitlines()))
    middle = sorted(float(row["confidence"]) for row in plain)[len(plain) // 2]
    strict = list(csv.DictReader(transfer_cli("predict", run, colours, "--threshold", middle).out.splitlines()))
    expected = [row["label"] if float(row["confidence"]) >= np.float32(middle) else "unknown" for row in plain]
    assert [row["label"] for row in strict] == expected
    assert 0 < expected.count("unknown") < len(expected)


@pytest.mark.parametrize("format_", ["jsonl", "table", "parquet", "csv"])
def test_every_format_says_unknown(
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


def test_what_cannot_be_rejected(trained: Path, tmp_path: Path) -> None:
    model = load(str(trained))
    model.thresholds = (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="any number of labels"):
        Rejecting(model, coverage=0.9)
    model = load(str(trained))
    model.class_names = ("cat", "dog", "unknown")
    with pytest.raises(InputError, match="A class is called unknown"):
        Rejecting(model, threshold=0.5)


def test_a_damaged_file_is_found_before_anything_is_said(copy_of_trained: Path, tmp_path: Path) -> None:
    file = copy_of_trained / "model/rejection.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"rejection\.npz was altered"):
        load(str(copy_of_trained))
