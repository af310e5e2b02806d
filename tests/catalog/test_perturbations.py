"""Each perturbation does what its name and unit say, more so at each greater strength."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.catalog.perturbations import PERTURBATIONS, Perturbation

ROW_OF = {row.name: row for row in PERTURBATIONS}


def smooth_image() -> NDArray[np.uint8]:
    """Return an image of soft waves."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    waves = [120 + 80 * np.sin(x / a + 2 * y / b) for a, b in ((5, 9), (7, 6), (4, 8))]
    return np.stack(waves, axis=-1).astype(np.uint8)


def apply(name: str, strength: float, image: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    return ROW_OF[name].apply(image, strength, np.random.default_rng(seed))


def square(top: int, left: int, side: int) -> NDArray[np.uint8]:
    image = np.zeros((64, 64, 3), np.uint8)
    image[top : top + side, left : left + side] = 255
    return image


@pytest.mark.parametrize("row", PERTURBATIONS, ids=lambda row: row.name)
def test_greater_strengths_change_more_and_the_same_draw_gives_the_same_image(row: Perturbation) -> None:
    image = smooth_image()
    before = image.copy()
    results = [apply(row.name, strength, image) for strength in row.strengths]
    assert all((each.shape, each.dtype) == (image.shape, np.uint8) for each in results)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(results[1], apply(row.name, row.strengths[1], image))
    errors = [float(((each.astype(float) - image) ** 2).mean()) for each in results]
    assert min(errors) > 0
    if row.name in ("blur", "noise", "darkness", "jpeg"):
        assert errors == sorted(errors)


def test_shift_moves_by_a_share_of_the_side_in_some_direction() -> None:
    image = square(30, 30, 4)
    directions = set()
    for seed in range(8):
        rows, columns = np.nonzero(apply("shift", 25, image, seed)[..., 0])
        moved = np.array([rows.mean() - 31.5, columns.mean() - 31.5])
        assert np.linalg.norm(moved) == pytest.approx(16, abs=1)
        directions.add(tuple(np.sign(moved)))
    assert len(directions) > 2


def test_turn_by_90_degrees_is_exact_in_both_directions() -> None:
    image = smooth_image()
    turned = [apply("turn", 90, image, seed) for seed in range(8)]
    found = [[int(np.abs(each.astype(int) - np.rot90(image, k)).max()) <= 1 for k in (1, 3)] for each in turned]
    assert {tuple(each) for each in found} == {(True, False), (False, True)}


def test_scale_is_the_size_of_the_object() -> None:
    image = square(24, 24, 16)
    for percent, side in ((50, 8), (200, 32)):
        assert (apply("scale", percent, image)[..., 0] > 127).sum() == pytest.approx(side**2, rel=0.15)


def test_noise_and_darkness_have_the_units_that_they_name() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert apply("noise", 6, grey).astype(float).std() == pytest.approx(0.06 * 255, rel=0.05)
    assert (apply("darkness", 50, grey) == 64).all()
