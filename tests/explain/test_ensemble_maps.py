"""Saliency maps of an ensemble: the weighted mean of its members' maps, each in the member's view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.explain.example_models import occlusion_maps
from transfer_cli import explain_images
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import explainers
from transfer_cli.data.image_batches import batches
from transfer_cli.data.views import View
from transfer_cli.errors import InputError, ModelError
from transfer_cli.explain.ensemble_maps import weighted_leaves
from transfer_cli.explain.explain import explain
from transfer_cli.explain.explainable import Explainable
from transfer_cli.explain.source_network import SourceNetwork

pytestmark = pytest.mark.integration

Join = Callable[..., Path]
GRAD_CAM = explainers.find(explainers.GRAD_CAM)


def images_of(folder: Path, views: tuple[View, ...]) -> tuple[NDArray[np.uint8], ...]:
    (size, resize, _), *others = views
    paths = sorted(map(str, folder.rglob("*.png")))[::6]
    return next(batches(paths, size=size, resize=resize, other_views=others, batch_size=len(paths))).views


def test_maps_average_ensemble_is_mean_of_member_maps(join: Join, members: dict[str, Path], colours: Path) -> None:
    names = ("plain", "finetuned", "large")
    opened = Explainable.open(str(join("average", *names)))
    assert opened.method is GRAD_CAM
    views = images_of(colours, opened.model.views)
    assert [view.shape[1] for view in views] == [32, 48]
    columns = np.tile([0, 2], (len(views[0]), 1))
    maps = opened.maps(views, columns, [1.0] * len(columns))
    single = {name: Explainable.open(str(members[name])) for name in names}
    own = [single[name].maps(views[name == "large"], columns) for name in names]
    side = max(each.shape[-1] for each in own)
    assert maps.shape == (len(columns), 2, side, side)
    finest = [[[cv2.resize(map_, (side, side)) for map_ in of_one] for of_one in each] for each in own]
    mean = np.mean(finest, axis=0)
    highest = mean.max(axis=(2, 3), keepdims=True)
    expected = np.divide(mean, highest, out=np.zeros_like(mean), where=highest > 0)
    assert expected.any(axis=(2, 3)).mean() > 0.5
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    # Planted fault: the map of one member alone differs.
    one_member = replace(opened, members=(replace(opened.members[0], weight=1.0),))
    alone = one_member.maps(views, columns, [1.0] * len(columns))
    resized = [[cv2.resize(map_, (side, side)) for map_ in of_one] for of_one in alone]
    assert np.abs(resized - expected).max() > 0.05


def test_weighted_leaves_members_have_the_weights_of_their_probabilities(join: Join) -> None:
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
    assert [weight for weight, _ in weighted_leaves(average)] == [0.5, 0.5]
    assert [weight for weight, _ in weighted_leaves(uneven)] == [0.75, 0.25]
    nested = replace(average, members=(uneven, average.members[1]))
    assert [weight for weight, _ in weighted_leaves(nested)] == [0.375, 0.125, 0.5]
    voting = replace(uneven, bundle=uneven.bundle.model_copy(update={"combination": "vote"}))
    assert [weight for weight, _ in weighted_leaves(voting)] == [0.5, 0.5]


def test_open_member_without_gradient_uses_occlusion(join: Join, members: dict[str, Path], colours: Path) -> None:
    run = str(join("average", "plain", "neighbours"))
    opened = Explainable.open(run)
    assert opened.method.name == explainers.OCCLUSION
    (images,) = images_of(colours, opened.model.views)
    columns = np.zeros((len(images), 1), np.int64)
    expected = occlusion_maps(opened.model.predict_proba, images, columns)
    maps = opened.maps(images, columns)
    highest = expected.max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(maps, np.divide(expected, highest, out=np.zeros_like(expected), where=highest > 0))
    with pytest.raises(ModelError, match="no gradient"):
        Explainable.open(run, method=explainers.GRAD_CAM)


def test_explain_ensemble_measures_the_ensemble_probability(join: Join, colours: Path, tmp_path: Path) -> None:
    run = join("average", "plain", "finetuned", "large")
    opened = Explainable.open(str(run))
    path = str(next(iter(sorted(colours.rglob("*.png")))))
    result = explain(opened, [path], tmp_path / "why")
    views = [view[:1] for view in images_of(colours, opened.model.views)]
    expected = opened.model.predict_views(views)[0]
    assert result.rows[0].probability == pytest.approx(float(expected.max()), abs=1e-5)
    assert result.rows[0].faithfulness.probability == pytest.approx(float(expected.max()), abs=1e-5)
    with Image.open(tmp_path / "why" / result.rows[0].file) as sheet:
        assert sheet.width == 2 * 224 + 4
    maps = explain_images(opened, views, np.array([0]), aspect_ratios=[1.0])
    assert maps.shape[0] == 1
    with pytest.raises(ValueError, match=r"Expected images of size 32 \(squash\), 48 \(crop\)"):
        explain_images(opened, views[0], np.array([0]))
    with pytest.raises(ValueError, match="aspect ratios"):
        explain_images(opened, views, np.array([0]))


def test_open_one_layer_or_network_of_ensemble_is_error(join: Join) -> None:
    run = join("average", "plain", "finetuned")
    with pytest.raises(InputError, match="ensemble of 2 models") as layer_error:
        Explainable.open(str(run), layer="conv_pw_13_relu")
    assert "member-01 IMAGES --layer conv_pw_13_relu" in str(layer_error.value.hint)
    with pytest.raises(ModelError, match="ensemble of 2 models") as network_error:
        SourceNetwork.open(str(run))
    assert "member-01" in str(network_error.value.hint)
