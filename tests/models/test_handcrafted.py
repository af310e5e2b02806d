"""Features without learning: HOG is that of OpenCV, pixels are those of the image, and both go where backbones go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest, load, predict
from transfer_cli.auto.search import trainable
from transfer_cli.catalog.backbones import find
from transfer_cli.cli.main import main
from transfer_cli.data.decoding import decode
from transfer_cli.errors import InputError, RecipeError, WeightsError
from transfer_cli.inference.network_sources import backbone_source
from transfer_cli.models import backbone
from transfer_cli.models.backbone import build_bare
from transfer_cli.models.handcrafted import hog
from transfer_cli.models.layer_summary import layer_table
from transfer_cli.models.weights.own_weights import _network_with
from transfer_cli.ranking.candidates import Candidates
from transfer_cli.training.extract import extract
from transfer_cli.training.setup.resolve import resolve_recipe

REFERENCE = Path(__file__).parent / "hog_opencv.npz"
"""Of OpenCV 4.14 (OpenCV 5 has no HOG): cv2.HOGDescriptor(winSize, (16, 16), (8, 8), (8, 8), 9, gammaCorrection=False).

small: noise, noise of four levels (where channels often tie) and one colour; photo: checks_01.jpg at 64 x 48 pixels.
"""


def hog_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features in the order of OpenCV."""
    inputs = keras.Input(images.shape[1:], dtype="uint8")
    features = np.asarray(keras.Model(inputs, hog(keras.ops.cast(inputs, "float32")))(images))
    rows, columns = (side // 8 - 1 for side in images.shape[1:3])
    # Blocks row by row; in a block orientation, column, row -> blocks column by column; column, row, orientation.
    return features.reshape(-1, rows, columns, 9, 2, 2).transpose(0, 2, 1, 4, 5, 3).reshape(len(images), -1)


@pytest.mark.parametrize("name", ["small", "photo"])
def test_hog_is_that_of_opencv(name: str) -> None:
    with np.load(REFERENCE) as reference:
        images, expected = reference[name], reference[f"{name}_hog"]
    assert expected.max() > 0.2
    assert np.abs(hog_of(images) - expected).max() < 1e-5
    # Another channel where channels tie, or a mirrored image, are seen.
    for planted in (images[..., ::-1], images[:, :, ::-1]):
        assert np.abs(hog_of(planted) - expected).max() > 1e-3


def test_pixels_are_those_of_the_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    network = backbone.build(find("pixels"), weights="none")
    assert np.allclose(network(images), images.reshape(2, -1) / 255)


@pytest.mark.parametrize("name", ["hog", "pixels"])
def test_row_of_the_catalog_equals_the_network(name: str) -> None:
    spec = find(name)
    table = layer_table(build_bare(spec))
    assert (sum(row.parameters for row in table), sum(row.multiply_adds for row in table)) == (
        spec.parameters,
        spec.multiply_adds,
    )
    networks = [backbone.build(spec, weights="none", seed=seed) for seed in (1, 2)]
    assert networks[0].output_shape == (None, spec.width)
    assert all(map(np.array_equal, *(network.get_weights() for network in networks)))
    assert not networks[0].trainable_variables


@pytest.mark.parametrize(
    ("kind", "overrides", "text"),
    [
        (
            ExtractRecipe,
            ["backbone.weights=imagenet"],
            "backbone: hog has no weights: its features are computed without learning. Received: weights imagenet.",
        ),
        (
            ExtractRecipe,
            ["backbone.pooling=max"],
            "backbone: hog gives one row of features, without pooling. Received: max.",
        ),
        (
            FinetuneRecipe,
            [],
            "hog computes features without learning: there is nothing to train. Use transfer-cli extract, or describe "
            "a network (--recipe softmax-on-pixels, --recipe mlp).",
        ),
    ],
)
def test_what_needs_weights_is_refused(kind: Any, overrides: list[str], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        kind.load(None, ["backbone.name=hog", *overrides])
    assert str(caught.value).splitlines()[1].endswith(text)


def test_there_are_no_weights() -> None:
    recipe = ExtractRecipe.load(None, ["backbone.name=pixels"]).resolved()
    assert (recipe.backbone.weights, recipe.backbone.pooling, recipe.image_size) == ("none", "flatten", 32)
    with pytest.raises(WeightsError, match="hog has no weights: its features are computed without learning"):
        find("hog").weights_file(top=False, size=64)
    # A weights file of any size is never taken for theirs.
    assert _network_with(3073 * 7) not in ("pixels", "hog")
    assert _network_with(0) is None


def test_ranking_takes_them_by_name_only() -> None:
    selected = Candidates.select(["pixels", "hog"], ["imagenet"]).available
    assert [(one.name, one.weights, one.megabytes < 0.1) for one in selected] == [
        ("pixels", "none", True),
        ("hog", "none", True),
    ]
    assert trainable(selected) == []
    with pytest.raises(InputError, match="lenet5 has imagenet weights"):
        Candidates.select(["lenet5"], ["imagenet"])
    assert not {"pixels", "hog"} & {one.backbone for one in Candidates.select([], ["none"]).available}


def test_cached_features_serve_all_seeds(colours: Path, tmp_path: Path) -> None:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))

    def facts(name: str, seed: int) -> Any:
        recipe = ExtractRecipe.load(None, [f"backbone.name={name}", "backbone.weights=none", f"seed={seed}"])
        return backbone_source(resolve_recipe(request, recipe, keeps_model=True)).facts

    assert facts("hog", 0) == facts("hog", 1)
    assert facts("hog", 0) != facts("pixels", 0)
    assert facts("lenet5", 0) != facts("lenet5", 1)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["hog", "pixels"])
def test_run_predicts_and_exports_as_keras_computes(name: str, colours: Path, tmp_path: Path) -> None:
    recipe = ExtractRecipe.load(None, [f"backbone.name={name}", "classifier.tune=false"])
    run = extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run")), recipe).run
    files = sorted(map(str, (colours / "red").iterdir()))
    (batch,) = predict(load(run.path), files)
    assert batch.probabilities.shape == (12, 3)
    network = keras.saving.load_model(run.model / "backbone.keras", compile=False, safe_mode=True)
    images = np.stack([decode(Path(file).read_bytes(), recipe.spec.size, "squash") for file in files])
    assert np.abs(load(run.path).features(images) - np.asarray(network(images))).max() < 1e-4
    words = ["--json", "export", str(run.path), "--format", "litert,onnx", "-o", str(tmp_path / "exported")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert all(row["max_abs_diff"] < 1e-4 for row in json.loads(done.stdout)["formats"])
    done = CliRunner().invoke(main, ["explain", str(run.path), files[0], "-o", str(tmp_path / "maps")])
    # A row of pixels has no feature map.
    assert (done.exit_code, "--method occlusion" in done.stderr) == ((4, True) if name == "pixels" else (0, False))
