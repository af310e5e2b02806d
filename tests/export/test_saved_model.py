"""A SavedModel predicts like Keras, in a process that can import neither Keras nor transfer_cli."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import TINY, TINY_SIZE
from tests.live_networks import alive, answers_to_its_input, outputs
from transfer_cli.catalog.backbones import find
from transfer_cli.data.image_batches import batches
from transfer_cli.export.saved_model import write_saved_model

LABELS = ["a cat", "dog", "Bär", "fox", "owl"]
ASSETS = {"labels.txt": "".join(f"{label}\n" for label in LABELS).encode(), "transfer_cli.json": b'{"size": 32}\n'}
PROGRAM = """
import sys
sys.modules["keras"] = sys.modules["transfer_cli"] = None
import numpy as np, tensorflow as tf
folder, target = sys.argv[1:]
model = tf.saved_model.load(folder)
predict = model.signatures["serving_default"]
images = np.load(target + "/images.npy")
inputs = {"all": images, "first": images[:1], "swapped": images[..., ::-1]}
rows = {name: predict(images=tf.constant(pixels))["probabilities"].numpy() for name, pixels in inputs.items()}
np.savez(target + "/rows.npz", signatures=sorted(model.signatures), **rows)
print(*(sorted(asset.asset_path.numpy().decode() for asset in model.assets.values())), sep="\\n")
"""


def run(*arguments: str | Path) -> str:
    """Return the output of a Python program that sees neither a GPU nor this repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONUTF8": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def images(colours: Path) -> NDArray[np.uint8]:
    files = sorted(map(str, colours.rglob("*.png")))
    return next(batches(files, size=TINY_SIZE, resize="crop", batch_size=len(files))).images


@pytest.fixture(scope="module")
def network(images: NDArray[np.uint8]) -> keras.Model:
    return alive(find(TINY), images)


@pytest.fixture(scope="module")
def saved(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "saved_model"
    write_saved_model(network, folder, ASSETS)
    return folder


def test_saved_model_predicts_like_keras(
    saved: Path, images: NDArray[np.uint8], network: keras.Model, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "program.py").write_text(PROGRAM)
    assets = run(tmp_path / "program.py", saved, tmp_path).splitlines()
    assert assets == [str(saved / "assets" / name) for name in sorted(ASSETS)]
    expected = outputs(network, images)
    assert answers_to_its_input(expected)
    with np.load(tmp_path / "rows.npz") as rows:
        assert rows["signatures"].tolist() == ["serving_default"]
        assert rows["all"].dtype == np.float32
        np.testing.assert_allclose(rows["all"], expected, atol=1e-4)
        np.testing.assert_allclose(rows["first"], expected[:1], atol=1e-4)
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(rows["swapped"], expected, atol=1e-4)


def test_saved_model_contains_its_assets(saved: Path) -> None:
    assert {path.name: path.read_bytes() for path in (saved / "assets").iterdir()} == ASSETS
    assert list(saved.parent.iterdir()) == [saved]
