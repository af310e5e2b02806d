"""A SavedModel gives what Keras gives, from pixels and from files, in a process without Keras and without us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, TINY_SIZE
from tests.live_networks import alive, answers_to_its_input, outputs
from transfer_cli.catalog.backbones import find
from transfer_cli.data.decoding import batches, decode
from transfer_cli.export.saved_model.writer import write_saved_model

LABELS = ["a cat", "dog", "Bär", "fox", "owl"]
ASSETS = {"labels.txt": "".join(f"{label}\n" for label in LABELS).encode(), "transfer_cli.json": b'{"size": 32}\n'}
PROGRAM = """
import sys
sys.modules["keras"] = sys.modules["transfer_cli"] = None
import numpy as np, tensorflow as tf
folder, target, *paths = sys.argv[1:]
model = tf.saved_model.load(folder)
pixels, files = model.signatures["serving_default"], model.signatures["serving_bytes"]
images = np.load(target + "/images.npy")
data = [open(path, "rb").read() for path in paths]
try:
    files(bytes=tf.constant([data[0], data[1][:200]]))
    broken = "answered"
except tf.errors.InvalidArgumentError:
    broken = "refused"
rows = {
    "pixels": pixels(images=tf.constant(images)),
    "first": pixels(images=tf.constant(images[:1])),
    "swapped": pixels(images=tf.constant(images[..., ::-1])),
    "files": files(bytes=tf.constant(data)),
}
np.savez(target + "/rows.npz", broken=broken, **{name: row["probabilities"].numpy() for name, row in rows.items()})
print(*(sorted(asset.asset_path.numpy().decode() for asset in model.assets.values())), sep="\\n")
"""


def run(*words: str | Path) -> str:
    """Return what a program says that has neither a graphics card nor this package."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    surroundings |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, *words], capture_output=True, env=surroundings, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def paths(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return PNG files of all classes, and a JPEG that has to be turned."""
    chosen = sorted(colours.rglob("*.png"))[::3]
    turned = tmp_path_factory.mktemp("turned") / "turned.jpg"
    pixels = np.random.default_rng(2).integers(0, 256, (3, 5, 3), np.uint8)
    block = Image.Exif()
    block[0x0112] = 6
    Image.fromarray(pixels).resize((200, 120)).save(turned, exif=block)
    return [*chosen, turned]


@pytest.fixture(scope="module")
def network(colours: Path) -> keras.Model:
    files = sorted(map(str, colours.rglob("*.png")))
    return alive(find(TINY), next(batches(files, size=TINY_SIZE, resize="crop", batch_size=len(files))).images)


@pytest.fixture(scope="module")
def saved(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "saved_model"
    write_saved_model(network, folder, size=TINY_SIZE, resize="crop", assets=ASSETS)
    return folder


def test_it_answers_without_keras_as_keras_does(
    saved: Path, paths: list[Path], network: keras.Model, tmp_path: Path
) -> None:
    images = np.stack([decode(path.read_bytes(), TINY_SIZE, "crop") for path in paths])
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "program.py").write_text(PROGRAM)
    assets = run(tmp_path / "program.py", saved, tmp_path, *paths).splitlines()
    assert assets == [str(saved / "assets" / name) for name in sorted(ASSETS)]
    expected = outputs(network, images)
    assert answers_to_its_input(expected)
    with np.load(tmp_path / "rows.npz") as rows:
        assert rows["files"].dtype == rows["pixels"].dtype == np.float32
        for name in ("pixels", "files"):
            np.testing.assert_allclose(rows[name], expected, atol=1e-4)
        np.testing.assert_allclose(rows["first"], expected[:1], atol=1e-4)
        assert rows["broken"] == "refused"
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(rows["swapped"], expected, atol=1e-4)
    lying = np.stack([*images[:-1], np.rot90(images[-1])])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(outputs(network, lying), expected, atol=1e-4)


def test_what_travels_with_it(saved: Path) -> None:
    assert {path.name: path.read_bytes() for path in (saved / "assets").iterdir()} == ASSETS
    assert list(saved.parent.iterdir()) == [saved]
