"""Test-time augmentation: the mean prediction of a real network on variants that the test crops itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY
from tests.live_networks import CLASSES, alive, answers_to_its_input
from transfer_cli.catalog import tta as catalog
from transfer_cli.catalog.backbones import find
from transfer_cli.catalog.tta import Variant
from transfer_cli.data.image_batches import batches
from transfer_cli.data.views import View
from transfer_cli.errors import UnknownNameError
from transfer_cli.inference import tta
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel, FeatureModel, Images, NetworkModel, Probabilities
from transfer_cli.inference.predict import predict
from transfer_cli.inference.reject import Rejector
from transfer_cli.inference.tta import AugmentedModel, ComparedModel
from transfer_cli.models.compile import inference_function

pytestmark = pytest.mark.integration

NAMES = tuple(f"class {number}" for number in range(CLASSES))
SMALL, LARGE = 32, 48
ROWS = (*catalog.names(), "2", "7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of coarse tiles without any symmetry."""
    place = tmp_path_factory.mktemp("tiles")
    random = np.random.default_rng(5)
    for number in range(16):
        tiles = random.integers(0, 256, (6, 5, 3))
        Image.fromarray(np.kron(tiles, np.ones((13, 17, 1))).astype(np.uint8)).save(place / f"{number:02}.png")
    return place


def seen(folder: Path, *views: View) -> tuple[Images, ...]:
    (size, resize, _), *others = views
    paths = sorted(map(str, folder.iterdir()))
    return next(batches(paths, size=size, resize=resize, other_views=others, batch_size=len(paths))).views


def model_of(network: keras.Model, resize: str = "squash") -> NetworkModel:
    return NetworkModel(inference_function(network), NAMES, network.input_shape[1], resize)


@pytest.fixture(scope="module")
def model(folder: Path) -> NetworkModel:
    (images,) = seen(folder, View(SMALL, "squash"))
    made = model_of(alive(find(TINY), images))
    assert answers_to_its_input(made.predict_proba(images))
    return made


class Both(AbstractModel):
    """Two networks with different views whose probabilities are multiplied, so the views must match."""

    def __init__(self, one: AbstractModel, two: AbstractModel) -> None:
        super().__init__(one.class_names, (*one.views, *two.views), None)
        self.members = one, two

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        one, two = (member.predict_proba(view) for member, view in zip(self.members, views, strict=True))
        return one * two / (one * two).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def both(folder: Path, model: NetworkModel) -> Both:
    (images,) = seen(folder, View(LARGE, "crop"))
    return Both(model, model_of(alive(find(TINY), images), "crop"))


def by_hand(method: str, larger: Images, size: int) -> list[Images]:
    """Return the variants of images, cropped independently of the code under test."""
    spare = larger.shape[1] - size
    assert spare in {SMALL: (0, 4), LARGE: (0, 6)}[size]
    half = spare // 2
    five = [(half, half), (0, 0), (0, spare), (spare, 0), (spare, spare)]
    if method.isdecimal():
        drawn = catalog.find(method).variants
        places = [(round(each.down * spare), round(each.across * spare), each.mirrored) for each in drawn]
    else:
        chosen = {"flip": [(0, 0)], "five-crop": five, "ten-crop": five}[method]
        mirrored = (False,) if method == "five-crop" else (False, True)
        places = [(*place, side) for side in mirrored for place in chosen]
    crops = []
    for down, across, mirror in places:
        crop = np.empty((len(larger), size, size, 3), np.uint8)
        for column in range(size):
            crop[:, :, size - 1 - column if mirror else column] = larger[:, down : down + size, across + column]
        crops.append(crop)
    return crops


def larger_than(view: View) -> View:
    return View({SMALL: 36, LARGE: 54}[view.size], view.resize)


def assert_is_the_mean(model: AbstractModel, method: str, folder: Path) -> None:
    """Compare an augmented model with the mean of the plain model on variants cropped by hand."""
    sources = model.views if method == "flip" else tuple(map(larger_than, model.views))
    shown = seen(folder, *sources)
    variants = [by_hand(method, larger, view.size) for larger, view in zip(shown, model.views, strict=True)]
    expected = np.mean([model.predict_views(each) for each in zip(*variants, strict=True)], axis=0, dtype=np.float64)
    paths = sorted(map(str, folder.iterdir()))
    given = np.concatenate(
        [batch.probabilities for batch in predict(AugmentedModel(model, method), paths, batch_size=7)]
    )
    assert given.dtype == np.float32
    assert np.abs(given - expected).max() <= 1e-6
    assert np.allclose(given.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("method", ROWS)
def test_augmented_model_is_the_mean_over_the_variants(model: NetworkModel, folder: Path, method: str) -> None:
    assert_is_the_mean(model, method, folder)


@pytest.mark.parametrize("method", ["flip", "ten-crop", "3"])
def test_augmented_model_crops_all_views_alike(both: Both, folder: Path, method: str) -> None:
    assert_is_the_mean(both, method, folder)


def _in_the_middle(images: Images, variant: Variant, size: int) -> Images:
    return CROP(images, variant._replace(down=0.5, across=0.5), size)


def _upside_down(images: Images, variant: Variant, size: int) -> Images:
    crop = CROP(images, variant._replace(mirrored=False), size)
    return crop[:, ::-1] if variant.mirrored else crop


def _halves_swapped(images: Images, variant: Variant, size: int) -> Images:
    crop = CROP(images, variant._replace(mirrored=False), size)
    return np.roll(crop, size // 2, axis=2) if variant.mirrored else crop


def _transposed(images: Images, variant: Variant, size: int) -> Images:
    # The same five crops, but different ones for the two views.
    return CROP(images, Variant(variant.across, variant.down, variant.mirrored) if size == LARGE else variant, size)


def _not_mirrored(images: Images, variant: Variant, size: int) -> Images:
    return CROP(images, variant._replace(mirrored=False), size)


CROP = tta.crop
FAULTS = [
    ("flip", _upside_down),
    ("flip", _halves_swapped),
    ("flip", _not_mirrored),
    ("five-crop", _in_the_middle),
    ("ten-crop", _in_the_middle),
    ("ten-crop", _upside_down),
    ("7", _in_the_middle),
    ("7", _not_mirrored),
]


@pytest.mark.parametrize(("method", "fault"), FAULTS)
def test_planted_fault_is_detected(
    model: NetworkModel, folder: Path, method: str, fault: Callable[..., Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tta, "crop", fault)
    with pytest.raises(AssertionError):
        assert_is_the_mean(model, method, folder)


@pytest.mark.parametrize("fault", [_transposed, _in_the_middle])
def test_different_crops_of_two_views_are_detected(
    both: Both, folder: Path, fault: Callable[..., Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tta, "crop", fault)
    with pytest.raises(AssertionError):
        assert_is_the_mean(both, "ten-crop", folder)


def test_flip_is_the_exact_mean(model: NetworkModel, folder: Path) -> None:
    (images,) = seen(folder, *model.views)
    one, mirrored = (model.predict_proba(each).astype(np.float64) for each in (images, images[:, :, ::-1]))
    given = AugmentedModel(model, "flip").predict_proba(images)
    assert given.tobytes() == ((one + mirrored) / 2).astype(np.float32).tobytes()
    # Control: the network is not symmetric, so the mean differs from its own prediction.
    assert np.abs(given - one).max() > 0.01


def test_ten_crop_is_five_crop_of_image_and_mirror_image(model: NetworkModel, folder: Path) -> None:
    five, ten = AugmentedModel(model, "five-crop"), AugmentedModel(model, "ten-crop")
    (larger,) = seen(folder, *ten.views)
    assert five.views == ten.views == (View(36, "squash"),)
    mirror = larger[:, :, ::-1]
    halves = five.predict_proba(larger), five.predict_proba(mirror)
    assert np.abs(ten.predict_proba(larger) - np.mean(halves, axis=0)).max() <= 1e-6
    assert np.abs(ten.predict_proba(larger) - ten.predict_proba(mirror)).max() <= 1e-6
    assert np.abs(halves[0] - halves[1]).max() > 0.01


@pytest.mark.parametrize("method", [*ROWS, "100"])
def test_every_method_of_the_catalog_has_distinct_variants(method: str, folder: Path) -> None:
    spec = catalog.find(method)
    assert spec.name == method
    assert 2 <= spec.passes == len(spec.variants)
    assert spec.variants[0] == Variant(0.5, 0.5, False)
    assert all(0 <= share <= 1 for variant in spec.variants for share in variant[:2])
    assert spec == catalog.find(method)
    (larger,) = seen(folder, View(256 if spec.crops else 224, "squash"))
    cuts = [tta.crop(larger[:2], variant, 224) for variant in spec.variants]
    assert {crop.shape for crop in cuts} == {(2, 224, 224, 3)}
    assert len(set(spec.variants)) == spec.passes
    # Of a hundred crops two may start at the same pixel.
    assert all((one != two).any() for one, two in combinations(cuts[:10], 2))


def test_crops_are_cut_as_in_alexnet() -> None:
    def sides(size: int) -> int:
        plain = NetworkModel(lambda images: images, NAMES, size, "pad")
        ((side, resize, _),) = AugmentedModel(plain, "ten-crop").views
        assert resize == "pad"
        return side

    assert [sides(224), sides(299), sides(2)] == [256, 341, 4]


def test_random_crops_of_a_smaller_number_are_the_first_of_a_larger_one() -> None:
    assert catalog.find("100").variants[:7] == catalog.find("7").variants
    assert {variant.mirrored for variant in catalog.find("100").variants} == {True, False}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("flp", "There is no test-time augmentation called 'flp'. Did you mean flip?"),
        ("tencrop", "There is no test-time augmentation called 'tencrop'. Did you mean ten-crop?"),
        ("1", "Expected 2 to 100 crops. Received: 1."),
        ("101", "Expected 2 to 100 crops. Received: 101."),
        ("0", "Expected 2 to 100 crops. Received: 0."),
        ("-3", "There is no test-time augmentation called '-3'."),
        ("2.5", "There is no test-time augmentation called '2.5'."),
        ("", "There is no test-time augmentation called ''."),
    ],
)
def test_find_unknown_method_raises(typed: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalog.find(typed)
    assert str(caught.value) == message
    expected = "Expected one of flip, five-crop, ten-crop, or a number of crops from 2 to 100."
    assert caught.value.hint == expected


@pytest.mark.parametrize("method", ["flip", "five-crop"])
def test_compared_model_predicts_with_and_without_augmentation(model: NetworkModel, folder: Path, method: str) -> None:
    compared = ComparedModel(model, method)
    paths = sorted(map(str, folder.iterdir()))
    both = [np.concatenate([b.probabilities for b in predict(m, paths, batch_size=3)]) for m in (compared, model)]
    assert (compared.unaugmented == both[1]).all()
    alone = np.concatenate([b.probabilities for b in predict(AugmentedModel(model, method), paths)])
    assert np.abs(both[0] - alone).max() <= 1e-6
    assert np.abs(both[0] - both[1]).max() > 0.01
    assert compared.views == ((View(SMALL, "squash"),) if method == "flip" else (View(36, "squash"), *model.views))
    cost = compared.cost
    assert cost.passes == catalog.find(method).passes
    assert cost.milliseconds > 0 < cost.milliseconds_without


def test_augmented_multi_label_model_applies_thresholds_to_the_mean(model: NetworkModel, folder: Path) -> None:
    several = model_of(alive(find(TINY), seen(folder, *model.views)[0]))
    several.thresholds = (0.1, 0.2, 0.3, 0.2, 0.1)
    augmented = AugmentedModel(several, "ten-crop")
    (batch,) = predict(augmented, sorted(map(str, folder.iterdir())))
    mean = augmented.predict_views(seen(folder, *augmented.views))
    expected = [
        [name for name, p, least in zip(NAMES, row, several.thresholds, strict=True) if p >= least] for row in mean
    ]
    assert batch.label_lists() == expected
    assert len({len(labels) for labels in expected}) > 1


@pytest.fixture(scope="module")
def strange(colours: Path, folder: Path) -> list[str]:
    """Return images that are in the distribution of a classifier of colours, and others."""
    return [*sorted(map(str, colours.rglob("*.png")))[::3], *sorted(map(str, folder.iterdir()))]


@pytest.mark.parametrize("method", ["flip", "ten-crop"])
def test_rejector_uses_the_image_without_augmentation(trained: Path, strange: list[str], method: str) -> None:
    model = load(str(trained))
    augmented = AugmentedModel(model, method)

    def predict_with(classifier: AbstractModel, **options: float) -> tuple[Probabilities, tuple[str, ...]]:
        rejector = Rejector(classifier, **options)
        (batch,) = predict(classifier, strange, batch_size=100, rejector=rejector)
        assert batch.reject_reasons is not None
        assert rejector.rejected == sum(map(bool, batch.reject_reasons))
        return batch.probabilities, batch.reject_reasons

    assert isinstance(model, FeatureModel)
    (mean,) = predict(augmented, strange, batch_size=100)
    probabilities, reasons = predict_with(augmented, coverage=0.9)
    assert (probabilities == mean.probabilities).all()
    plain, expected = predict_with(model, coverage=0.9)
    assert reasons == expected
    assert 0 < sum(map(bool, expected)) < len(strange)
    assert np.abs(plain - probabilities).max() > 1e-3
    # A threshold applies to the confidence that is written.
    least = float(np.median(mean.probabilities.max(axis=1)))
    _, reasons = predict_with(augmented, threshold=least)
    assert [bool(reason) for reason in reasons] == (mean.probabilities.max(axis=1) < np.float32(least)).tolist()
    cost = Rejector(augmented, coverage=0.9).model.cost  # type: ignore[attr-defined]
    assert cost.passes == augmented.spec.passes + 1
