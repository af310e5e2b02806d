"""The map of an ensemble is the mean of its members', each in its own view; the twin is the map of one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from transfer_cli import explain_images
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import explainers
from transfer_cli.data.decoding import aspect_ratio
from transfer_cli.data.image_batches import batches
from transfer_cli.data.resizing import RESIZE
from transfer_cli.data.views import View
from transfer_cli.errors import InputError, ModelError
from transfer_cli.explain.ensemble_maps import shares_of
from transfer_cli.explain.explain import Explainable, explain
from transfer_cli.explain.faithfulness import beliefs
from transfer_cli.explain.multi_view import Seen, moved
from transfer_cli.explain.network_visualization import draw_filters
from transfer_cli.explain.occlusion import occlusion_map, occlusion_maps

Join = Callable[..., Path]
GRAD_CAM = explainers.find(explainers.GRAD_CAM)


def pictures_of(folder: Path, views: tuple[View, ...]) -> tuple[NDArray[np.uint8], ...]:
    (size, resize), *others = views
    paths = sorted(map(str, folder.rglob("*.png")))[::6]
    return next(batches(paths, size=size, resize=resize, other_views=others, batch_size=len(paths))).views


def test_the_map_is_the_mean_of_the_members_maps(join: Join, members: dict[str, Path], colours: Path) -> None:
    names = ("plain", "finetuned", "large")
    opened = Explainable(str(join("average", *names)))
    assert opened.method is GRAD_CAM
    views = pictures_of(colours, opened.model.views)
    assert [view.shape[1] for view in views] == [32, 48]
    columns = np.tile([0, 2], (len(views[0]), 1))
    given = opened.maps(views, columns, [1.0] * len(columns))
    single = {name: Explainable(str(members[name])) for name in names}
    own = [single[name].maps(views[name == "large"], columns) for name in names]
    side = max(maps.shape[-1] for maps in own)
    assert given.shape == (len(columns), 2, side, side)
    finest = [[[cv2.resize(map_, (side, side)) for map_ in of_one] for of_one in maps] for maps in own]
    mean = np.mean(finest, axis=0)
    highest = mean.max(axis=(2, 3), keepdims=True)
    expected = np.divide(mean, highest, out=np.zeros_like(mean), where=highest > 0)
    assert expected.any(axis=(2, 3)).mean() > 0.5
    np.testing.assert_allclose(given, expected, atol=1e-5)
    # The twin: with the map of one member alone it would not be so.
    opened.members = [replace(opened.members[0], share=1.0)]
    lone = opened.maps(views, columns, [1.0] * len(columns))
    twin = [[cv2.resize(map_, (side, side)) for map_ in of_one] for of_one in lone]
    assert np.abs(twin - expected).max() > 0.05


def test_members_count_what_their_probabilities_do(join: Join) -> None:
    average = ModelBundle.open(join("average", "plain", "finetuned"))
    uneven = replace(
        average,
        bundle=average.bundle.model_copy(
            update={
                "members": tuple(
                    member.model_copy(update={"weight": weight})
                    for member, weight in zip(average.bundle.members, (0.75, 0.25), strict=True)
                )
            }
        ),
    )
    assert [share for share, _ in shares_of(average)] == [0.5, 0.5]
    assert [share for share, _ in shares_of(uneven)] == [0.75, 0.25]
    nested = replace(average, members=(uneven, average.members[1]))
    assert [share for share, _ in shares_of(nested)] == [0.375, 0.125, 0.5]
    voting = replace(uneven, bundle=uneven.bundle.model_copy(update={"combination": "vote"}))
    assert [share for share, _ in shares_of(voting)] == [0.5, 0.5]


def test_a_member_without_a_gradient_makes_it_occlusion(join: Join, members: dict[str, Path], colours: Path) -> None:
    run = str(join("average", "plain", "neighbours"))
    opened = Explainable(run)
    assert opened.method.name == explainers.OCCLUSION
    (images,) = pictures_of(colours, opened.model.views)
    columns = np.zeros((len(images), 1), np.int64)
    expected = occlusion_maps(opened.model.predict_proba, images, columns)
    found = opened.maps(images, columns)
    highest = expected.max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(found, np.divide(expected, highest, out=np.zeros_like(expected), where=highest > 0))
    with pytest.raises(ModelError, match="no gradient"):
        Explainable(run, method=explainers.GRAD_CAM)


def test_pictures_are_covered_at_one_place_in_every_view() -> None:
    """A model that multiplies what it sees in two views: each lowers the logarithm as much as it does alone."""

    def left(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / 255

    def both(small: NDArray[np.uint8], large: NDArray[np.uint8]) -> NDArray[np.float32]:
        return left(small) * left(large)

    image = np.zeros((96, 96, 3), np.uint8)
    image[24:72, 12:36] = image[24:72, 60:84] = 255
    views = View(32, "squash"), View(48, "squash")
    seen = Seen(tuple(RESIZE[view.resize](image, view.size) for view in views), views)
    alone = occlusion_map(left, Seen.once(seen.images[0]), np.array([0]))
    found = occlusion_map(both, seen, np.array([0]))
    assert found[0, :, :4].sum() > 0.9 * found.sum()
    np.testing.assert_allclose(found, 2 * alone, atol=0.15 * found.max())
    # The twin: covered in the first view only, it would be half as much.
    once = occlusion_map(lambda small: both(small, seen.images[1][None]), Seen.once(seen.images[0]), np.array([0]))
    assert np.abs(once - found).max() > 0.4 * found.max()
    whole = seen.changed([np.zeros_like(image) for image in seen.images], np.ones((1, 32, 32), bool))
    assert [image.shape for image in whole] == [(1, 32, 32, 3), (1, 48, 48, 3)]
    assert not any(image.any() for image in whole)


def test_a_map_is_judged_by_what_both_views_say() -> None:
    """A model that sees the less of two views, of a picture that is white where the map says so."""

    def least(*views: NDArray[np.uint8]) -> NDArray[np.float32]:
        corners = [images[:, : images.shape[1] // 2, : images.shape[1] // 2] for images in views]
        return np.min([corner.mean(axis=(1, 2, 3)) / 255 for corner in corners], axis=0)[:, None].astype(np.float32)

    image = np.zeros((96, 96, 3), np.uint8)
    image[12:36, 12:36] = 255
    views = View(32, "squash"), View(48, "squash")
    seen = Seen(tuple(RESIZE[view.resize](image, view.size) for view in views), views)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 1:3, 1:3] = maps[1, 5:7, 5:7] = 1
    right, wrong = beliefs(least, seen, maps, np.array([0, 0]))
    assert right.is_believable
    assert not wrong.is_believable

    # The twin: of a picture whose second view stays as it is, it would be the first alone that decides.
    def first_only(small: NDArray[np.uint8]) -> NDArray[np.float32]:
        return least(small, np.repeat(seen.images[1][None], len(small), axis=0))

    once = beliefs(first_only, seen.images[0], maps, np.array([0, 0]))
    assert abs(once[0].insertion - right.insertion) > 0.001


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("first", ["crop", "pad", "squash"])
@pytest.mark.parametrize(("height", "width"), [(60, 120), (120, 60), (90, 90)])
def test_a_place_is_the_same_in_every_view(first: str, resize: str, height: int, width: int) -> None:
    """A white square a bit off the middle: where it is covered in the first view it is covered in the other."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 4, width // 2 + 2
    image[top : top + 18, left : left + 18] = 255
    views = View(80, first), View(64, resize)
    seen = Seen(tuple(RESIZE[view.resize](image, view.size) for view in views), views, width / height)
    places = seen.images[0][None, ..., 0] > 100
    white = seen.images[1][..., 0] > 100
    blank = replace(seen, images=tuple(np.zeros_like(image) for image in seen.images))

    def overlap(ratio: float) -> float:
        covers = [np.full_like(image, 255) for image in seen.images]
        covered = replace(blank, ratio=ratio).changed(covers, places)[1][0, ..., 0] > 0
        return float((covered & white).sum() / (covered | white).sum())

    assert overlap(seen.ratio) > 0.8
    # The twin: what is taken for a square picture covers another place, where the views differ.
    if first != resize and height != width:
        assert overlap(1.0) < 0.6
    map_ = moved(seen.images[1][..., 0].astype(np.float32), views[1], views[0], seen.ratio, 80)
    assert map_[places[0]].mean() > 200
    assert map_[~places[0]].mean() < 20


def test_the_ratio_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    lying = Image.Exif()
    lying[0x0112] = 6
    image = Image.new("RGB", (80, 20))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "b.jpg", exif=lying)
    assert (aspect_ratio(tmp_path / "a.jpg"), aspect_ratio(tmp_path / "b.jpg")) == (4.0, 0.25)


def test_it_is_judged_by_what_the_ensemble_says(join: Join, colours: Path, tmp_path: Path) -> None:
    run = join("average", "plain", "finetuned", "large")
    opened = Explainable(str(run))
    path = str(next(iter(sorted(colours.rglob("*.png")))))
    found = explain(opened, [path], tmp_path / "why")
    views = [view[:1] for view in pictures_of(colours, opened.model.views)]
    expected = opened.model.predict_views(views)[0]
    assert found.rows[0].probability == pytest.approx(float(expected.max()), abs=1e-5)
    assert found.rows[0].belief.probability == pytest.approx(float(expected.max()), abs=1e-5)
    with Image.open(tmp_path / "why" / found.rows[0].file) as sheet:
        assert sheet.width == 2 * 224 + 4
    maps = explain_images(opened, views, np.array([0]), ratios=[1.0])
    assert maps.shape[0] == 1
    with pytest.raises(ValueError, match=r"Expected pictures of 32 \(squash\), 48 \(crop\)"):
        explain_images(opened, views[0], np.array([0]))
    with pytest.raises(ValueError, match="ratios"):
        explain_images(opened, views, np.array([0]))


def test_what_is_of_one_network_is_asked_of_a_member(join: Join, tmp_path: Path) -> None:
    run = join("average", "plain", "finetuned")
    with pytest.raises(InputError, match="ensemble of 2 models") as caught:
        Explainable(str(run), layer="conv_pw_13_relu")
    assert "member-01 PICTURES --layer conv_pw_13_relu" in str(caught.value.hint)
    with pytest.raises(ModelError, match="ensemble of 2 models") as refused:
        draw_filters(str(run), tmp_path / "x.png")
    assert "member-01" in str(refused.value.hint)
