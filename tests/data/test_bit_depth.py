"""``--bit-depth`` from training to prediction: in the recipe, the bundle, and what `predict` reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, TINY_SIZE, Outcome
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.views import View
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.inference.load import load
from transfer_cli.inference.models import NetworkModel
from transfer_cli.inference.predict import predict
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.run_directory import RunDirectory

NETWORK = ("--backbone", TINY, "--weights", "none", "--set", f"images.size={TINY_SIZE}")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of 8-bit images, and one of the same images with 12 bits in 16."""
    random = np.random.default_rng(0)
    for index in range(16):
        image = random.integers(0, 256, (40, 40)) // (1 + index % 2)
        for name, samples in (("plain", image.astype(np.uint8)), ("deep", (image * 4095 // 255).astype(np.uint16))):
            path = tmp_path / name / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(samples).save(path)
    return tmp_path / "plain", tmp_path / "deep"


def probabilities(run: Path, folder: Path) -> np.ndarray:
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    return np.concatenate([batch.probabilities for batch in predict(load(str(run)), paths)])


@pytest.mark.integration
def test_bit_depth_of_training_is_that_of_prediction(
    folders: tuple[Path, Path], tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    plain, deep = folders
    warned = transfer_cli("extract", deep, *NETWORK, "-o", tmp_path / "dark")
    assert warned.code == 0
    assert "use at most the lowest 12 bits" in warned.err
    done = transfer_cli("extract", deep, *NETWORK, "--bit-depth", "12", "-o", tmp_path / "run")
    assert done.code == 0
    assert "bits" not in done.err
    assert RunDirectory(tmp_path / "run").read_recipe()["images"]["bit_depth"] == 12
    assert ModelBundle.open(tmp_path / "run").bundle.bit_depth == 12
    difference = np.abs(probabilities(tmp_path / "run", plain) - probabilities(tmp_path / "run", deep)).max()
    assert difference < 0.02
    # The planted fault: a model without the bit depth does not see the same in both folders.
    assert np.abs(probabilities(tmp_path / "dark", plain) - probabilities(tmp_path / "dark", deep)).max() > 0.02


@pytest.mark.parametrize("command", [("data", "check", "--no-probe"), ("data", "split")])
def test_unused_bits_and_pages_are_told_before_training(
    command: tuple[str, ...], folders: tuple[Path, Path], tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    _, deep = folders
    frames = [Image.new("L", (40, 40), value) for value in (0, 100, 200)]
    frames[0].save(deep / "a" / "pages.tif", save_all=True, append_images=frames[1:])
    done = transfer_cli(*command[:2], deep, *command[2:], "-o", tmp_path / "out")
    assert "to read them at their brightness: --bit-depth 12" in done.err
    assert "1 TIFF file has several pages, and only the first page is read (e.g. a/pages.tif)" in done.err


def test_bit_depth_out_of_range_is_a_usage_error(
    folders: tuple[Path, Path], transfer_cli: Callable[..., Outcome]
) -> None:
    assert transfer_cli("extract", folders[1], "--bit-depth", "17").code == 2


@pytest.mark.parametrize("bit_depth", [None, 12])
def test_predict_decodes_with_the_bit_depth_of_the_model(bit_depth: int | None, folders: tuple[Path, Path]) -> None:
    def brightness(images: np.ndarray) -> np.ndarray:
        mean = images.mean(axis=(1, 2, 3), dtype=np.float32)[:, np.newaxis] / 255
        return np.concatenate([mean, 1 - mean], axis=1)

    model = NetworkModel(brightness, ("bright", "dark"), 40, "squash", bit_depth=bit_depth)
    plain, deep = (
        np.concatenate([batch.probabilities for batch in predict(model, [str(folder / "a" / "0.png")])])
        for folder in folders
    )
    difference = np.abs(plain - deep).max()
    assert difference < 0.01 if bit_depth else difference > 0.3


def test_recipe_and_exported_metadata_keep_the_bit_depth() -> None:
    recipe = ExtractRecipe.load(None, [], {"images.bit_depth": 12}).resolved()
    assert recipe.view == View(224, "squash", 12)
    assert "bit_depth = 12" in recipe.to_toml()
    fields = {"format": "onnx", "task": "single-label", "class_names": ("a", "b"), "image_size": 32, "resize": "crop"}
    texts = {"decoder": "d", "backbone": "b", "bundle": "c", "version": "1"}
    metadata = ExportMetadata(**fields, **texts, bit_depth=12)  # type: ignore[arg-type]
    assert ExportMetadata.from_json(metadata.json_text(), "model").bit_depth == 12
    with pytest.raises(ValueError, match="less than or equal to 16"):
        ExportMetadata(**fields, **texts, bit_depth=99)  # type: ignore[arg-type]
