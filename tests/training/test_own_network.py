"""Trainings on a network of the user's own, and on the network of an earlier run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from tests.own_networks import SIDE, functional, maps_of, nested, save
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest, load
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.catalog import export_formats
from transfer_cli.data.split import Split
from transfer_cli.errors import ModelError, RunError
from transfer_cli.export.export import export
from transfer_cli.features import table
from transfer_cli.inference.network_sources import backbone_source
from transfer_cli.io.cache import Cache
from transfer_cli.metrics.scores import COPIES
from transfer_cli.models.keras_file import load_keras
from transfer_cli.progress import SILENT, Silent
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.planning import rough_timing
from transfer_cli.training.planning.plan import plan
from transfer_cli.training.setup.resolve import resolve_recipe


class Heard(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


FAST: dict[str, Any] = {"inference.runtime": "keras", "split.test": 0.3, "classifier.tune": False}
TUNING = [
    *("split.val=0.2", "stage.1.epochs=1", "stage.1.learning_rate=0.01", "stage.1.unfreeze=from:base_conv"),
    *("refit.when=never", "head.start=random"),
]


def settings_of(path: Path, preprocess: str = "inside") -> dict[str, Any]:
    return {"backbone.name": str(path), "backbone.preprocess": preprocess}


def extracted(folder: Path, run: Path, *overrides: str, settings: dict[str, Any], **options: Any) -> TrainingResult:
    recipe = ExtractRecipe.load(None, overrides, {**FAST, **settings})
    return extract(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe)


def tuned(folder: Path, run: Path, *overrides: str, settings: dict[str, Any], **options: Any) -> TrainingResult:
    fast = {name: value for name, value in FAST.items() if not name.startswith("classifier")}
    recipe = FinetuneRecipe.load(None, [*TUNING, *overrides], {**fast, **settings})
    return finetune(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(nested(), tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def first(own: Path, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fine-tuned run on the own network."""
    run = tmp_path_factory.mktemp("runs") / "first"
    tuned(colours, run, settings=settings_of(own))
    return run


def test_a_model_does_not_need_the_file_any_more(own: Path, colours: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(own, tmp_path / "mine.keras"))
    extracted(colours, tmp_path / "run", settings=settings_of(file))
    digest = ModelBundle.open(tmp_path / "run").bundle.backbone["sha256"]
    file.unlink()
    bundle = Path(shutil.copytree(tmp_path / "run/model", tmp_path / "bundle"))
    assert {**ModelBundle.open(bundle).bundle.backbone} == {
        "name": "mine.keras",
        "preprocess": "inside",
        "weights": "file",
        "pooling": "levels",
        "sha256": digest,
        "width": 8,
    }
    card = (bundle / "MODEL_CARD.md").read_text()
    assert f"- Backbone: mine.keras, a file with the SHA-256 `{digest}`, preprocessing inside, initial weights" in card
    image = np.asarray(Image.open(next((colours / "red").iterdir())).resize((SIDE, SIDE)), np.uint8)[None]
    names = load(str(bundle)).class_names
    assert names[int(load(str(bundle)).predict_proba(image).argmax())] == "red"


@pytest.mark.integration
def test_two_files_of_one_name_do_not_share_features(own: Path, colours: Path, tmp_path: Path) -> None:
    file, cache = Path(shutil.copy(own, tmp_path / "net.keras")), Cache(tmp_path / "cache", 10**9)
    matrices = []
    for name in ("a", "b", "c"):
        extracted(colours, tmp_path / name, "classifier.name=none", settings=settings_of(file), cache=cache)

        matrices.append(table.read(tmp_path / name / "features.parquet"))
        if name == "a":
            save(functional(maps_of), tmp_path, "net.keras")
        elif name == "b":
            shutil.copy(own, file)
    assert not np.allclose(matrices[0], matrices[1])
    # Control: the first file again has the first features.
    np.testing.assert_array_equal(matrices[0], matrices[2])
    # The scheme is part of the key, too.
    folder = ImageFolder.scan(colours)
    keys = []
    for scheme in ("inside", "0-1"):
        request = TrainingRequest(folder, RunDirectory(tmp_path / "none"))
        recipe = ExtractRecipe.load(None, (), {**FAST, **settings_of(file, scheme)})
        keys.append(backbone_source(resolve_recipe(request, recipe, keeps_model=True)).facts)
    assert keys[0] != keys[1]


@pytest.mark.integration
def test_a_run_is_not_continued_with_another_file(own: Path, colours: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(own, tmp_path / "net.keras"))
    extracted(colours, tmp_path / "run", settings=settings_of(file))
    assert extracted(colours, tmp_path / "run", settings=settings_of(file)).was_complete
    save(functional(maps_of), tmp_path, "net.keras")
    with pytest.raises(RunError, match=r"backbone\.sha256 is [0-9a-f]{64} there and [0-9a-f]{64} here"):
        extracted(colours, tmp_path / "run", settings=settings_of(file))


@pytest.mark.integration
@pytest.mark.parametrize("timed", ["whole run", "small step"])
def test_plan_of_a_file(own: Path, colours: Path, tmp_path: Path, timed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if timed == "small step":
        monkeypatch.setattr(rough_timing, "MAX_PROFILED", 0)
    recipe = FinetuneRecipe.load(None, TUNING, {**settings_of(own), "split.test": 0.3})
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    planned = plan(request, recipe)
    assert sum(planned.seconds.values()) > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_an_exported_model_is_a_network_to_start_from(first: Path, colours: Path, tmp_path: Path) -> None:
    (exported,) = export(str(first), [export_formats.find("keras")], tmp_path / "export", progress=SILENT)
    assert exported.path is not None
    result = extracted(colours, tmp_path / "run", settings=settings_of(exported.path))
    assert result.metrics["test"]["accuracy"]["value"] > 0.5


def test_a_stage_trains_from_a_layer_of_the_file(own: Path, first: Path) -> None:
    before, after = load_keras_of(own), load_keras(first / "model/network.keras")
    kernels = {name: np.asarray(after.get_layer(name).kernel) for name in ("conv", "base_conv")}
    base = before.get_layer("base")
    np.testing.assert_array_equal(kernels["conv"], base.get_layer("inner").get_layer("conv").kernel)
    assert not np.array_equal(kernels["base_conv"], base.get_layer("conv").kernel)


def load_keras_of(path: Path) -> keras.Model:
    return keras.saving.load_model(path, compile=False)


@pytest.mark.integration
def test_a_run_starts_from_the_network_of_an_earlier_one(own: Path, first: Path, colours: Path, tmp_path: Path) -> None:
    settings = {**settings_of(own), "backbone.weights": str(first)}
    extracted(colours, tmp_path / "second", settings=settings)
    copied, source = load_keras(tmp_path / "second/model/backbone.keras"), load_keras(first / "model/network.keras")
    for start in ("conv", "batch_normalization", "base_conv"):  # Keras may number a normalisation
        both = [[each for each in network.layers if each.name.startswith(start)] for network in (copied, source)]
        (one,), (other,) = both
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        assert one.weights
        assert all(np.array_equal(first_array, second_array) for first_array, second_array in pairs)
    # Its bundle alone is enough, and the chain of ancestors grows.
    digest = ModelBundle.open(first).bundle.digest
    for name in ("blue", "red"):  # other classes are allowed
        shutil.copytree(colours / name, tmp_path / "two" / name)
    tuned(tmp_path / "two", tmp_path / "third", settings={**settings, "backbone.weights": str(first / "model")})
    grand = ModelBundle.open(tmp_path / "third").bundle
    assert grand.class_names == ("blue", "red")
    assert grand.backbone["ancestors"] == [f"first {digest}"]
    settings["backbone.weights"] = str(tmp_path / "third")
    extracted(colours, tmp_path / "fourth", "split.seed=4", settings=settings)
    card = (tmp_path / "fourth/model/MODEL_CARD.md").read_text()
    assert (
        f"initial weights those of the run third (model `{grand.digest}`), which started from first (model `{digest}`)."
    ) in card


@pytest.mark.integration
def test_test_images_that_the_earlier_run_was_trained_on_are_leakage(
    own: Path, first: Path, colours: Path, tmp_path: Path
) -> None:
    settings = {**settings_of(own), "backbone.weights": str(first)}
    heard = Heard()
    result = extracted(colours, tmp_path / "run", "split.seed=4", settings=settings, progress=heard)
    # Its classifier was fitted to the validation images, too.
    trained = {row.sha256 for row in Split.read(first / "split.csv").rows if row.part != "test"}
    split = Split.read(tmp_path / "run/split.csv")
    leaked = [row.path for row in split.rows if row.part == "test" and row.sha256 in trained]
    tests = split.counts()["test"]
    assert 0 < len(leaked) < tests
    (warning,) = [line for line in heard.warnings if "from which this network starts" in line]
    assert warning.startswith(f"data leakage: {len(leaked)} of {tests} test images were training images of {first}")
    assert warning.endswith(f"To have the same test images: --split {first}/split.csv")
    with (tmp_path / "run/leaks_of_earlier_run.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == leaked
    assert result.metrics["test"][COPIES]["value"] == len(leaked)
    # The new model has seen the images of both trainings, which `evaluate` looks at.
    seen = TrainingImages.load(tmp_path / "run/model/training_images.npz")
    assert set(seen.roles_of([row.sha256 for row in split.rows if row.path in leaked])) == {"train"}
    # Control: with the split of the earlier run there is no leakage.
    heard = Heard()
    split = Split.read(first / "split.csv")
    extracted(colours, tmp_path / "same", settings=settings, progress=heard, split=split)
    assert not [line for line in heard.warnings if "leakage" in line]
    assert not (tmp_path / "same/leaks_of_earlier_run.csv").exists()


@pytest.mark.integration
def test_an_earlier_run_that_does_not_fit_is_refused_and_both_are_named(
    own: Path, first: Path, trained: Path, colours: Path, tmp_path: Path
) -> None:
    weights = {"backbone.weights": str(first)}
    other = save(functional(maps_of, None, None, 3), tmp_path, "other.keras")
    # Not the name, the content of a file counts.
    renamed = Path(shutil.copy(own, tmp_path / "renamed.keras"))
    digest = ModelBundle.open(first).bundle.backbone["sha256"]
    own_text = rf"its backbone is own\.keras \(SHA-256 {digest}\), and that of this command is"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"backbone.name": "mobilenet@0.25"}, rf"{own_text} mobilenet@0\.25"),
        ({**settings_of(other), "images.size": SIDE}, rf"{own_text} other\.keras \(SHA-256"),
        (settings_of(own, "0-1"), "its preprocessing is inside, and that of this command is 0-1"),
        ({**settings_of(own), "backbone.layer": "conv"}, "its layer is the default, and that of this command is conv"),
        ({**settings_of(own), "backbone.weights": str(trained)}, "is a run of extract, whose network was not trained"),
        ({**settings_of(own), "backbone.weights": str(tmp_path)}, "is neither a run nor a bundle"),
    ]
    for number, (settings, message) in enumerate(cases):
        with pytest.raises(ModelError, match=message):
            extracted(colours, tmp_path / f"run{number}", settings={**weights, **settings})
        assert not (tmp_path / f"run{number}").exists()
    assert extracted(colours, tmp_path / "renamed", settings={**weights, **settings_of(renamed)}).metrics


@pytest.mark.integration
def test_a_run_of_another_size_is_refused(finetuned: Path, colours: Path, tmp_path: Path) -> None:
    size = json.loads((finetuned / "model/bundle.json").read_text())["image_size"]
    settings = {"backbone.name": "mobilenet@0.25", "backbone.weights": str(finetuned)}
    with pytest.raises(ModelError, match=f"its image size is {size}, and that of this command is 224") as refused:
        extracted(colours, tmp_path / "run", settings=settings)
    assert refused.value.hint == f"Use that of the earlier run: --set images.size={size}"
    # Control: with its size, the network of the catalog has the weights of the run.
    extracted(colours, tmp_path / "run", settings={**settings, "images.size": size})
    pairs = [load_keras(path) for path in (finetuned / "model/network.keras", tmp_path / "run/model/backbone.keras")]
    one, other = (each.get_layer("conv_pw_13").get_weights()[0] for each in pairs)
    np.testing.assert_array_equal(one, other)
