"""The drawing of a confusion matrix: where its cells are, and which are darker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.metrics.confusion import Confusion
from transfer_cli.rendering.confusion_plot import draw_confusion


def drawn(counts: np.ndarray, target: Path) -> np.ndarray:
    names = tuple(f"class {number}" for number in range(len(counts)))
    draw_confusion(Confusion(names, counts), "test: 30 images", target)
    return np.asarray(Image.open(target).convert("L"))


def test_draw_confusion_cells_are_dark_where_images_are(tmp_path: Path) -> None:
    counts = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 10]])
    pixels = drawn(counts, tmp_path / "confusion.png")
    left, top, side = 164, 218, 44
    # Beside the number in the middle of a cell.
    corners = pixels[top + 5 :: side, left + 5 :: side][:3, :3]
    assert (corners[counts == 0] > 250).all()
    assert (np.diag(corners) < 140).all()
    assert 140 < corners[0, 1] < 240


@pytest.mark.parametrize("count", [1, 2, 21, 61, 700])
def test_draw_confusion_of_any_number_of_classes(count: int, tmp_path: Path) -> None:
    height, width = drawn(np.eye(count, dtype=np.int64), tmp_path / "confusion.png").shape
    assert 200 < height < 1700
    assert 500 < width < 1700


def test_draw_confusion_replaces_an_earlier_drawing(tmp_path: Path) -> None:
    one = drawn(np.eye(3, dtype=np.int64), tmp_path / "confusion.png")
    assert (one != drawn(np.ones((3, 3), np.int64), tmp_path / "confusion.png")).any()
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]
