"""A map says where a class is seen; each check has a map that is wrong and must fail it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.live_networks import alive, wake
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest, explain_images, extract
from transfer_cli.catalog import explainers
from transfer_cli.catalog.backbones import find
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import ModelError, UnknownNameError
from transfer_cli.explain.explain import Explainable, overlay
from transfer_cli.explain.faithfulness import RANDOM_MAPS, Belief, beliefs
from transfer_cli.explain.grad_cam import Gradients, layer_with_map
from transfer_cli.explain.occlusion import GRID, occlusion_maps
from transfer_cli.explain.overlay import save_overlay, upsampled
from transfer_cli.models.backbone import build
from transfer_cli.rendering.png_provenance import EXPLAIN, made_by

GRAD_CAM = explainers.find(explainers.GRAD_CAM)
SIDE = 96
PAIRS = 40
Places = list[list[tuple[slice, slice]]]
BAR, BLIND = 0.75, 0.55
FAMILIES = {
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnet_v2": "efficientnet_v2_b0",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "mobilenet": "mobilenet@0.25",
    "mobilenet_v2": "mobilenet_v2@0.35",
    "mobilenet_v3": "mobilenet_v3_small",
    "nasnet": "nasnet_mobile",
    "resnet": "resnet50",
    "resnet_v2": "resnet50_v2",
    "vgg": "vgg16",
    "xception": "xception",
    "textbook": "lenet5",
}
QUICK = ("mobilenet", "mobilenet_v3", "textbook", "vgg")


def column_of(outputs: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.take_along_axis(outputs, columns[:, None], axis=1)[:, 0]


def for_or_against(outputs: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """Return what speaks for classes 0, 1 and 2, and as columns 3, 4 and 5 what speaks against them."""
    sign = keras.ops.where(columns < 3, 1.0, -1.0)
    return column_of(outputs, columns % 3) * sign


def noise(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


class Halves:
    """A model that sees class 0 where the left half is bright, class 1 where the right half is."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        half = images.shape[2] // 2
        left, right = (part.mean(axis=(1, 2, 3)) / 255 for part in (images[:, :, :half], images[:, :, half:]))
        return np.stack([left, right], axis=1).astype(np.float32)


HALVES = np.zeros((1, 64, 64, 3), np.uint8)
HALVES[:, 16:48, 8:24] = HALVES[:, 16:48, 40:56] = 255


@pytest.fixture(scope="module")
def clothing(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a run on a few hundred garments, on real weights."""
    root = tmp_path_factory.mktemp("clothing")
    for directory in sorted((shared / "data/clothing/train").iterdir()):
        (root / "few" / directory.name).mkdir(parents=True)
        for path in sorted(directory.glob("*.jpg"))[:20]:
            (root / "few" / directory.name / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(shared / "keras_home"))
        recipe = ExtractRecipe.load(None, ["backbone.name=mobilenet@0.25", "split.test=0"])
        extract(TrainingRequest(ImageFolder.scan(root / "few"), RunDirectory(root / "run"), offline=True), recipe)
        yield root / "run"


def two_garments(
    opened: Explainable, folder: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[list[tuple[slice, slice]]]]:
    """Return pictures with two garments in opposite quarters, both among the first three; their classes and places."""
    names, size = opened.model.class_names, opened.model.image_size
    half = size // 2
    paths = sorted(map(str, folder.rglob("*.jpg")))
    tiles = next(batches(paths, size=half, resize="squash", batch_size=len(paths))).images
    classes = np.array([names.index(Path(path).parent.name) for path in paths])
    random = np.random.default_rng(5)
    images, columns, places = [], [], []
    while len(images) < PAIRS:
        two = random.choice(len(paths), 2, replace=False)
        rights = (0, 1) if random.integers(2) else (1, 0)
        image = np.full((size, size, 3), 128, np.uint8)
        sides = slice(0, half), slice(half, size)
        place = [(sides[down], sides[right]) for down, right in enumerate(rights)]
        for tile, where in zip(tiles[two], place, strict=True):
            image[where] = tile
        first = set(np.argsort(-opened.model.predict_proba(image[None])[0])[:3])
        if len(set(classes[two])) == 2 and set(classes[two]) <= first:
            images.append(image)
            columns.append(classes[two])
            places.append(place)
    return np.stack(images), np.stack(columns), places


def in_their_quarters(maps: NDArray[np.float32], places: Places) -> float:
    """Return which share of the maps (n, 2, h, w) has more energy in its own quarter than in the other's."""
    found = []
    for two, place in zip(maps, places, strict=True):
        energies = [[upsampled(map_, 224)[where].sum() for where in place] for map_ in two]
        found += [energies[0][0] > energies[0][1], energies[1][1] > energies[1][0]]
    return float(np.mean(found))


@pytest.mark.parametrize("method", explainers.names())
def test_the_map_of_a_class_lies_on_its_garment(method: str, clothing: Path, shared: Path) -> None:
    opened = Explainable(str(clothing), method=method)
    images, columns, places = two_garments(opened, shared / "data/clothing/test")
    maps = opened.maps(images, columns)
    assert maps.shape[:2] == (PAIRS, 2)
    assert (maps.min(), maps.max()) == (0, 1)
    assert in_their_quarters(maps, places) >= BAR
    # The twins: the map of the other class, and one map for both.
    assert in_their_quarters(maps[:, ::-1], places) <= 1 - BAR
    assert in_their_quarters(maps[:, [0, 0]], places) <= BLIND
    assert in_their_quarters(maps.sum(axis=1, keepdims=True).repeat(2, axis=1), places) <= BLIND
    one = explain_images(opened, images[:3], columns[:3, 1])
    np.testing.assert_allclose(one, maps[:3, 1], atol=1e-5)
    if opened.gradients:
        assert (opened.gradients.layer, opened.gradients.shape) == ("conv_pw_13_relu", (7, 7, 256))
        blind = explainers.ExplainerSpec("norm", "", "", lambda maps, _: np.linalg.norm(maps, axis=-1))
        assert in_their_quarters(opened.gradients.maps(images, columns, blind), places) <= BLIND


def test_below_a_mean_and_a_linear_classifier_it_is_the_class_activation_map() -> None:
    """Zhou et al. 2016: the maps weighted by the row of the classifier; the twin has the row of another class."""
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, seed=1)
    images = noise(6, SIDE)
    wake(network, images)
    rows = np.random.default_rng(2).normal(size=(4, 256)).astype(np.float32)
    chosen = keras.ops.convert_to_tensor(rows)
    gradients = Gradients(
        network, lambda outputs, columns: keras.ops.sum(outputs * keras.ops.take(chosen, columns, axis=0), axis=1)
    )
    assert gradients.shape == (3, 3, 256)
    activations = keras.Model(network.inputs[0], network.get_layer(gradients.layer).output)(images)
    given = gradients.maps(images, np.tile([1, 3], (6, 1)), GRAD_CAM)
    for place, column in enumerate((1, 3)):
        expected = np.maximum(np.asarray(activations) @ rows[column], 0) / 9
        np.testing.assert_allclose(given[:, place], expected, rtol=1e-3, atol=1e-5)
        assert not np.allclose(given[:, 1 - place], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", QUICK)
def test_a_family_has_maps(family: str) -> None:
    check_family(FAMILIES[family])


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in QUICK])
def test_every_other_family_has_maps(family: str) -> None:
    check_family(FAMILIES[family])


def check_family(name: str) -> None:
    """Explain with a network that tells pictures apart: maps are finite, others for other classes, and see something.

    What speaks for no class at a place leaves a map empty, rightly; what speaks against it then must not.
    """
    spec = find(name)
    images = noise(6, max(SIDE, spec.min_size))
    images[::2] //= 2
    for number, image in enumerate(images):
        image[:, :, number % 3] //= 4
    gradients = Gradients(alive(spec, images), for_or_against)
    maps = gradients.maps(images, np.tile([0, 1, 2, 3, 4, 5], (6, 1)), GRAD_CAM)
    assert min(gradients.shape[:2]) > 1
    assert np.isfinite(maps).all()
    assert (np.maximum(maps[:, :3], maps[:, 3:]).max(axis=(2, 3)) > 0).all()
    assert np.abs(maps[:, 0] - maps[:, 1]).max() > 1e-3 * maps.max()
    keras.backend.clear_session()


@pytest.mark.parametrize(
    ("pooling", "layer", "seen"),
    [
        ("flatten", None, ("conv_pw_13_relu", (3, 3, 256))),
        ("max", None, ("conv_pw_13_relu", (3, 3, 256))),
        ("avg", "conv_pw_6_relu", ("conv_pw_6_relu", (6, 6, 128))),
    ],
)
def test_the_last_map_below_any_pooling(pooling: str, layer: str | None, seen: tuple[str, tuple[int, ...]]) -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, pooling=pooling, layer=layer)
    gradients = Gradients(network, column_of)
    assert (gradients.layer, gradients.shape) == seen


def test_a_map_of_one_place_is_passed_over() -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=32)
    assert Gradients(network, column_of).layer == "conv_pw_11_relu"


def test_a_layer_of_ones_own_and_one_within_a_block() -> None:
    network = build(find("mobilenet_v2@0.35"), weights="none", size=SIDE)
    within = Gradients(network, column_of, "block_15_expand_relu")
    images = noise(2, SIDE)
    wake(network, images)
    maps = within.maps(images, np.array([[0], [1]]), GRAD_CAM)
    assert maps.shape == (2, 1, 3, 3)
    assert np.isfinite(maps).all()
    with pytest.raises(UnknownNameError, match="Did you mean block_15_expand_relu"):
        Gradients(network, column_of, "block_15_expand_rel")
    with pytest.raises(UnknownNameError):
        layer_with_map(network, "avg_features")


def test_occlusion_finds_what_a_model_looks_at() -> None:
    maps = occlusion_maps(Halves(), HALVES, np.array([[0, 1]]))
    assert maps.shape == (1, 2, GRID, GRID)
    shares = maps[0, :, :, : GRID // 2].sum(axis=(1, 2)) / maps[0].sum(axis=(1, 2))
    assert shares[0] > 0.9
    assert shares[1] < 0.1
    # Where covering changes nothing, nothing is found; every cell is covered equally often.
    assert not occlusion_maps(Halves(), np.full((1, 64, 64, 3), 90, np.uint8), np.array([[0]])).any()


def test_every_cell_is_covered_equally_often() -> None:
    def darker(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([[0.5 if np.array_equal(image, images[-1]) else 0.25] for image in images], np.float32)

    maps = occlusion_maps(darker, noise(1, 64), np.array([[0]]))
    np.testing.assert_allclose(maps, np.log(2), rtol=1e-3)


def test_a_right_map_is_believed_and_a_wrong_one_is_not() -> None:
    right = np.zeros((3, GRID, GRID), np.float32)
    right[0, 2:6, 1:3] = 1
    right[1, :, 5:] = 1
    left, wrong, empty = beliefs(Halves(), HALVES[0], right, np.array([0, 0, 0]))
    assert left.is_believable
    assert not wrong.is_believable
    assert not empty.is_believable
    assert left.deletion < left.random_deletion
    assert left.insertion > left.random_insertion
    assert left.after < left.probability == pytest.approx(0.25, abs=1e-3)
    assert left.after < left.random_after
    assert (empty.is_empty, left.is_empty) == (True, False)
    assert empty.verdict("x") == "no place speaks for x"


def test_areas_are_those_of_the_curve() -> None:
    """A model that sees how much is left: taking away everything evenly, the curve is a line, its area the middle."""
    image = np.where(np.indices((64, 64)).sum(axis=0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)

    def sharpness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([[((one == 255) | (one == 0)).mean()] for one in images], np.float32)

    map_ = np.random.default_rng(0).random((1, 8, 8)).astype(np.float32)
    (belief,) = beliefs(sharpness, image, map_, np.array([0]))
    assert (belief.deletion, belief.insertion) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert belief.after == pytest.approx(0.8, abs=0.01)
    assert belief.random_after == pytest.approx(0.8, abs=0.01)
    assert len(belief.random_deletions) == RANDOM_MAPS


def test_what_a_person_is_told() -> None:
    belief = Belief(0.93, 0.3, 0.8, (0.6, 0.7), (0.5, 0.6), 0.2, 0.7)
    assert belief.summary("shoes") == (
        "to be believed: blurring its brightest 20 % takes p(shoes) from 0.93 to 0.20, at random to 0.70",
        "deletion 0.30 (random 0.65), insertion 0.80 (random 0.55)",
    )


# Of a class of ten at 0.93: what passes, and what must not.
SEEN = Belief(0.93, 0.3, 0.8, (0.6, 0.7), (0.5, 0.6), 0.2, 0.7, chance=0.1)
DOUBTFUL = {
    "a class that is not there": ({"probability": 1e-5}, "the model does not see hat here (0.0 %)"),
    "one below a guess": ({"probability": 0.09}, "the model does not see hat here (9.0 %)"),
    "no better than the best of chance": ({"insertion": 0.2}, "no better than chance"),
    "better by a rounding": ({"insertion": 0.3 - 0.1 + 0.005}, "no better than chance"),
    "deletion is lost": ({"deletion": 0.66, "insertion": 0.99}, "no better than chance"),
    "deletion is even": ({"deletion": 0.645, "insertion": 0.99}, "no better than chance"),
    "no place": ({"is_empty": True}, "no place speaks for hat"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_must_not_be_believed(name: str) -> None:
    assert SEEN.is_believable
    assert replace(SEEN, probability=0.1).is_believable
    changed, said = DOUBTFUL[name]
    doubtful = replace(SEEN, **changed)
    assert not doubtful.is_believable
    assert doubtful.verdict("hat") == said
    assert doubtful.summary("hat")[0].startswith(said)


def test_the_colours_get_lighter_as_the_map_rises() -> None:
    rise = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)
    colours = overlay(np.full((64, 64, 3), 128, np.uint8), rise)
    assert (colours.shape, colours.dtype) == ((64, 64, 3), np.uint8)
    heat = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)
    lightness = cv2.cvtColor(heat.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, :, 0]
    assert (np.diff(lightness) > 0).all()
    rainbow = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_JET)
    assert (np.diff(cv2.cvtColor(rainbow.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, :, 0]) < 0).any()
    # Yellow where the map is highest, still the picture where it is not.
    red, green, blue = colours[32, -1].astype(int)
    assert red > 200
    assert green > 180
    assert blue < 170
    assert np.abs(np.diff(colours[32, 0].astype(int))).max() <= 5


def test_a_network_without_a_map() -> None:
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    rows = keras.layers.Dense(2)(keras.layers.Flatten()(keras.ops.cast(inputs, "float32")))
    with pytest.raises(ModelError, match="no map of more than one place"):
        Gradients(keras.Model(inputs, rows), column_of)


def test_a_caption_is_one_line_whatever_a_file_is_called(tmp_path: Path) -> None:
    image = noise(1, 32)[0]
    map_ = np.ones((2, 2), np.float32)
    sizes = []
    for number, name in enumerate(("plain", "line\nfeed", "odd \udcff byte", "wide " * 100)):
        save_overlay(image, map_, [name, "below"], tmp_path / f"{number}.png")
        with Image.open(tmp_path / f"{number}.png") as drawing:
            sizes.append(drawing.size)
        assert made_by(tmp_path / f"{number}.png") == EXPLAIN
    assert len(set(sizes)) == 1
