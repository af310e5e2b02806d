"""Learning curves of image folders: no test image is decoded, features are cached, the plot is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, save_image
from transfer_cli import ExtractRecipe, ImageFolder, LearningCurve, RunDirectory, TrainingRequest, learning_curve
from transfer_cli.errors import FolderError, InputError
from transfer_cli.inference.compiled_network import PARITY_IMAGES
from transfer_cli.io.cache import Cache

pytestmark = pytest.mark.integration

SETTINGS = {"backbone.name": TINY, "backbone.weights": "none", "images.size": 32, "classifier.tune": False}


@pytest.fixture(scope="session")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with train and test parts of three classes, whose colours overlap."""
    root, random = tmp_path_factory.mktemp("shades") / "shades", np.random.default_rng(5)
    for part, count in (("train", 40), ("test", 4)):
        for channel, name in enumerate(("blue", "green", "red")):
            for number in range(count):
                colour = 110 + 30 * random.normal(size=3) + 40 * np.eye(3)[2 - channel]
                save_image(root / part / name / f"{number:02}.png", colour.tolist(), random, side=32)
    return root


def curve_of(folder: Path, target: Path, cache: Cache | None = None, **settings: object) -> LearningCurve:
    request = TrainingRequest(ImageFolder.scan(folder), RunDirectory(target), cache=cache or Cache.of_user())
    return learning_curve(request, ExtractRecipe.load(settings={**SETTINGS, **settings}), target)


def test_learning_curve_rises_and_forecasts_more(shades: Path, tmp_path: Path) -> None:
    curve = curve_of(shades, tmp_path / "curve.png")
    assert (curve.images, curve.images_per_class, curve.classes, curve.repeats) == (120, 40, 3, 5)
    assert [round(point.images) for point in curve.points] == [6, 12, 24, 48, 96]
    assert curve.points[-1].images_per_class == pytest.approx(32)
    accuracies = [point.accuracy["value"] for point in curve.points]
    assert accuracies[-1] > accuracies[0] + 0.1
    assert curve.obstacle == ""
    assert curve.forecast is not None
    assert curve.forecast.images == pytest.approx(420)
    assert accuracies[-1] - 0.05 < curve.forecast.accuracy_now <= curve.forecast.accuracy
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    with Image.open(tmp_path / "curve.png") as plot:
        assert plot.size == (770, 462)
        assert plot.info["Software"] == "transfer-cli learning-curve"
        # The band of the forecast, in light blue.
        band = np.abs(np.asarray(plot.convert("RGB"), np.int64) - [221, 235, 244]).max(axis=2) <= 1
        assert band.sum() > 1000
    again = curve_of(shades, tmp_path / "again.png")
    assert again.to_dict() == curve.to_dict()
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "curve.png").read_bytes()


def test_learning_curve_decodes_no_test_image_and_nothing_twice(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transfer_cli.data import decoding

    train = {path.read_bytes() for path in (shades / "train").rglob("*.png")}
    decoded: list[bool] = []
    real = decoding.decode_views
    monkeypatch.setattr(
        decoding, "decode_views", lambda data, *others: decoded.append(data in train) or real(data, *others)
    )
    curve_of(shades, tmp_path / "curve.png", Cache(tmp_path / "cache"))
    # Some once more, to compare the converted network with Keras.
    assert all(decoded)
    assert len(decoded) <= len(train) + PARITY_IMAGES
    decoded.clear()
    curve_of(shades, tmp_path / "curve.png", Cache(tmp_path / "cache"))
    assert not decoded
    # Planted fault: other features are not in the cache.
    curve_of(shades, tmp_path / "curve.png", Cache(tmp_path / "cache"), **{"backbone.pooling": "avg"})
    assert decoded


def test_learning_curve_lists_unreadable_images(shades: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shades, tmp_path / "broken"))
    (folder / "train/red/broken.png").write_bytes(b"nothing")
    (folder / "test/red/broken.png").write_bytes(b"nothing at all")
    curve = curve_of(folder, tmp_path / "curve.png")
    assert [item.path for item in curve.skipped] == ["train/red/broken.png"]
    assert curve.images == 120


def test_learning_curve_too_few_images_raises(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        save_image(tmp_path / "few/train" / name / "one.png", (number, 90, 90), np.random.default_rng(number))
        save_image(tmp_path / "few/test" / name / "two.png", (number, 80, 80), np.random.default_rng(number))
    with pytest.raises(FolderError, match="Expected two classes with two images each outside the test set"):
        curve_of(tmp_path / "few", tmp_path / "curve.png")
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classifier.name": "none"}, "needs a classifier"),
        ({"balance.method": "class-weights"}, "trains without class balancing"),
        ({"split.group_by": "near-duplicates"}, "cannot group by near-duplicates"),
    ],
)
def test_learning_curve_wrong_settings_raise(
    settings: dict[str, object], message: str, shades: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        curve_of(shades, tmp_path / "curve.png", **settings)
    assert [*tmp_path.iterdir()] == []
