"""The network whose weights come with the package: read without a network, refused when altered, better than chance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from embedded_weights.ship import write
from tests.conftest import Outcome
from transfer_cli.catalog.backbones import EMBEDDED, find
from transfer_cli.data.sample_data import sample_folder
from transfer_cli.errors import WeightsError
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models import backbone
from transfer_cli.models.compile import inference_function
from transfer_cli.models.weights import embedded
from transfer_cli.models.weights.registry import embedded_file
from transfer_cli.recipe.sections import Backbone

OFFLINE = ["--offline"]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return backbone.build(find(EMBEDDED), weights="none", size=32, seed=3)


@pytest.fixture
def written(network: keras.Model, tmp_path: Path) -> Path:
    path = tmp_path / "weights.npz"
    write(path, network, [np.asarray(variable) for variable in network.weights])
    return path


def test_write_then_load_keeps_half_precision_values(network: keras.Model, written: Path) -> None:
    other = backbone.build(find(EMBEDDED), weights="none", size=32, seed=4)
    kept = [np.asarray(variable).astype(np.float16) for variable in network.weights]
    differed = [not np.array_equal(a, b) for a, b in zip(kept, map(np.asarray, other.weights), strict=True)]
    assert any(differed)
    embedded.load(other, written)
    for half, variable in zip(kept, other.weights, strict=True):
        np.testing.assert_array_equal(half.astype(np.float32), np.asarray(variable))


def test_write_value_too_large_for_half_precision_raises(network: keras.Model, tmp_path: Path) -> None:
    arrays = [np.asarray(variable) for variable in network.weights]
    arrays[0] = arrays[0] * 1e9
    with pytest.raises(WeightsError, match=r"conv1/kernel does not fit half precision"):
        write(tmp_path / "weights.npz", network, arrays)


def test_load_damaged_file_is_refused(network: keras.Model, written: Path) -> None:
    whole = written.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:4000] + bytes([whole[4000] ^ 1]) + whole[4001:]):
        written.write_bytes(damaged)
        with pytest.raises(WeightsError, match="Cannot read the weights"):
            embedded.load(network, written)


def test_load_weights_of_another_network_are_refused(network: keras.Model, tmp_path: Path) -> None:
    narrow = backbone.build(find("mobilenet@0.25"), weights="none", size=32)
    path = tmp_path / "narrow.npz"
    write(path, narrow, [np.asarray(variable) for variable in narrow.weights])
    with pytest.raises(WeightsError, match="belong to another network"):
        embedded.load(network, path)


def test_embedded_file_matches_its_card() -> None:
    path = embedded_file(find(EMBEDDED))
    facts = digest_of_file(path)
    assert facts.bytes <= 2_000_000
    card = (path.parent / "MODEL_CARD.md").read_text()
    assert f"`{facts.sha256}`" in card
    assert f"{facts.bytes:,} bytes" in card


def test_embedded_file_other_network_raises() -> None:
    with pytest.raises(WeightsError, match="transfer-cli ships no weights for mobilenet_v2") as caught:
        embedded_file(find("mobilenet_v2"))
    assert "--backbone embedded" in str(caught.value.hint)


def test_weights_file_of_embedded_raises() -> None:
    with pytest.raises(WeightsError, match="embedded has no ImageNet weights") as caught:
        find(EMBEDDED).weights_file(top=True, size=96)
    assert "transfer-cli backbones list" in str(caught.value.hint)


def test_recipe_embedded_defaults_to_its_own_weights() -> None:
    assert Backbone(name=EMBEDDED).weights == EMBEDDED
    assert Backbone(name=EMBEDDED, weights="none").weights == "none"
    assert Backbone().weights == "imagenet"


def test_embedded_features_classify_samples_better_than_random_ones() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from transfer_cli.data.image_batches import batches

    spec = find(EMBEDDED)
    paths = sorted(map(str, sample_folder().rglob("*.jpg")))
    images = next(batches(paths, size=64, resize="squash", batch_size=len(paths))).images
    labels = np.array([Path(path).parent.name for path in paths])
    even = np.arange(len(paths)) % 2 == 0

    def accuracy(weights: str) -> float:
        features = inference_function(backbone.build(spec, weights=weights, size=64))(images)
        scaled = StandardScaler().fit(features[even]).transform(features)
        classifier = LogisticRegression(C=0.1, max_iter=1000).fit(scaled[even], labels[even])
        return float(classifier.score(scaled[~even], labels[~even]))

    assert accuracy(EMBEDDED) > accuracy("none") + 0.15


@pytest.mark.integration
def test_extract_embedded_works_offline(colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    words = ["--backbone", EMBEDDED, "--set", "images.size=32"]
    done = transfer_cli(*OFFLINE, "extract", colours, *words, "-o", "run")
    assert done.code == 0, done.err
    assert not (tmp_path / "keras/models").exists()
    bundle = json.loads((tmp_path / "run/model/bundle.json").read_text())
    assert bundle["backbone"]["weights"] == EMBEDDED
    assert "pretrained on generated textures, not on photographs" in (tmp_path / "run/model/MODEL_CARD.md").read_text()
    done = transfer_cli(*OFFLINE, "predict", "run", colours, "-o", "predictions.csv")
    assert done.code == 0, done.err


def test_embedded_file_missing_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transfer_cli.models.weights.registry as module

    (tmp_path / "transfer_cli/models/weights").mkdir(parents=True)
    shutil.copy(module.__file__, tmp_path / "transfer_cli/models/weights/registry.py")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "transfer_cli/models/weights/registry.py"))
    with pytest.raises(WeightsError, match="is missing") as caught:
        embedded_file(find(EMBEDDED))
    assert "Install transfer-cli again" in str(caught.value.hint)
