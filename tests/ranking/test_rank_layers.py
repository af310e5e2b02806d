"""Rankings of the layers of a network: one pass over the images outside test, features through the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import pytest
from keras import layers

from tests import own_networks
from tests.learning_curves.test_learning_curve import shades as shades
from transfer_cli import ExtractRecipe, ImageFolder, LayerRanking, RunDirectory, TrainingRequest, rank_layers
from transfer_cli.errors import FolderError, InputError
from transfer_cli.inference.compiled_network import PARITY_IMAGES
from transfer_cli.io.cache import Cache
from transfer_cli.ranking.probe import cross_validate
from transfer_cli.training.setup.labelled_features import labelled_features
from transfer_cli.training.setup.resolve import resolve_recipe

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a network whose third convolution ignores its input."""

    def body(images: keras.KerasTensor) -> keras.KerasTensor:
        keras.utils.set_random_seed(4)
        tensor = images
        for name in ("one", "two"):
            tensor = layers.Conv2D(8, 3, strides=2, padding="same", activation="leaky_relu", name=name)(tensor)
        return layers.Conv2D(8, 3, strides=2, kernel_initializer="zeros", name="blind")(tensor)

    return own_networks.save(own_networks.functional(body), tmp_path_factory.mktemp("blind"))


def ranked(
    folder: Path, network: Path, target: Path, cache: Cache | None = None, images: int = 2000, **settings: object
) -> LayerRanking:
    own = {"backbone.name": str(network), "backbone.preprocess": "0-1"}
    request = TrainingRequest(ImageFolder.scan(folder), RunDirectory(target), cache=cache or Cache.of_user())
    return rank_layers(request, ExtractRecipe.load(settings={**own, **settings}), target, images=images)


def test_rank_layers_finds_where_the_classes_are_lost(shades: Path, blind: Path, tmp_path: Path) -> None:
    ranking = ranked(shades, blind, tmp_path / "layers.png")
    facts = [(each.depth.layer, each.depth.number, each.depth.channels, each.depth.is_level) for each in ranking.depths]
    assert facts == [("one", 1, 8, True), ("two", 2, 8, True), ("blind", 3, 8, True)]
    assert (ranking.backbone, ranking.images, ranking.classes) == (str(blind), 120, 3)
    one, two, nothing = (each.score.accuracy["value"] for each in ranking.depths)
    assert min(one, two) > 0.6
    assert nothing < 0.4
    assert ranking.best.depth.layer in ("one", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["layers.png"]
    # The joined levels are the features that extract would use.
    request = TrainingRequest(ImageFolder.scan(shades), RunDirectory(tmp_path / "run"), cache=Cache.of_user())
    recipe = ExtractRecipe.load(settings={"backbone.name": str(blind), "backbone.preprocess": "0-1"})
    images = labelled_features(request, resolve_recipe(request, recipe, keeps_model=True))
    assert ranking.joined == cross_validate(images.features, images.truth, images.groups, images.classes, 0)
    # Planted fault: no single depth has this score.
    assert ranking.joined not in [each.score for each in ranking.depths]


def test_rank_layers_decodes_no_test_image_and_nothing_twice(
    shades: Path, blind: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transfer_cli.data import decoding

    train = {path.read_bytes() for path in (shades / "train").rglob("*.png")}
    decoded: list[bool] = []
    real, cache = decoding.decode_views, Cache(tmp_path / "cache")
    monkeypatch.setattr(
        decoding, "decode_views", lambda data, *others: decoded.append(data in train) or real(data, *others)
    )
    ranking = ranked(shades, blind, tmp_path / "layers.png", cache)
    # Some once more, to compare the converted network with Keras.
    assert all(decoded)
    assert len(train) <= len(decoded) <= len(train) + PARITY_IMAGES
    decoded.clear()
    assert ranked(shades, blind, tmp_path / "again.png", cache).to_dict() == ranking.to_dict()
    assert not decoded
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "layers.png").read_bytes()
    # Planted fault: the depths below another layer are other features.
    assert len(ranked(shades, blind, tmp_path / "layers.png", cache, **{"backbone.layer": "two"}).depths) == 2
    assert decoded


def test_rank_layers_of_a_sample_lists_unreadable_images(shades: Path, blind: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shades, tmp_path / "broken"))
    for name in ("red", "green", "blue"):
        for path in [*(folder / "train" / name).iterdir()][20:]:
            path.unlink()
    (folder / "train/red/broken.png").write_bytes(b"nothing")
    (folder / "test/red/broken.png").write_bytes(b"nothing at all")
    ranking = ranked(folder, blind, tmp_path / "layers.png", images=60)
    assert len(ranking.skipped) <= 1
    assert ranking.images == 60 - len(ranking.skipped) == ranking.joined.correct.size
    everything = ranked(folder, blind, tmp_path / "layers.png")
    assert [item.path for item in everything.skipped] == ["train/red/broken.png"]
    assert everything.images == 60


def test_rank_layers_wrong_input_raises(shades: Path, blind: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot group by near-duplicates"):
        ranked(shades, blind, tmp_path / "layers.png", **{"split.group_by": "near-duplicates"})
    assert [*tmp_path.iterdir()] == []
    few = tmp_path / "few"
    for name in ("red", "blue"):
        (few / "train" / name).mkdir(parents=True)
        shutil.copy(shades / "train" / name / "00.png", few / "train" / name)
        shutil.copytree(shades / "test" / name, few / "test" / name)
    with pytest.raises(FolderError, match="Expected two classes with two images each outside the test set"):
        ranked(few, blind, tmp_path / "layers.png")
    assert not (tmp_path / "layers.png").exists()
