"""Duplicates are found, and different images are not reported as duplicates."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.conftest import save_image
from tests.planted_leaks import Planted
from transfer_cli.audit.duplicates import Duplicates, connected_components, find_duplicates
from transfer_cli.audit.image_alignment import SAME_IMAGE, ComparedImage, compare_images
from transfer_cli.audit.image_stats import SIDE, measure_images
from transfer_cli.data.split import Split
from transfer_cli.features import table


def duplicates_of(planted: Planted, *, verify: bool) -> Duplicates:
    rows = Split.read(planted.run / "split.csv").rows
    matrix = table.read(planted.run / "features.parquet")
    return find_duplicates(measure_images([row.path for row in rows], planted.folder), matrix, verify=verify)


def counts_of(planted: Planted, duplicates: Duplicates) -> tuple[int, int]:
    """Return how many of the planted duplicates were found, and how many other pairs across splits."""
    expected = {frozenset(pair) for pair in planted.sources.items()}
    pairs = {frozenset((pair.path_a, pair.path_b)) for pair in duplicates.pairs}
    across = {pair for pair in pairs if len({path.split("/")[0] for path in pair}) > 1}
    return len(expected & across), len(across - expected)


def test_find_duplicates_finds_planted_near_duplicates_of_photographs(planted: Planted) -> None:
    found, others = counts_of(planted, duplicates_of(planted, verify=True))
    assert found >= 0.9 * len(planted.sources)
    assert others <= 5


def test_find_duplicates_without_verification_reports_similar_garments(planted: Planted) -> None:
    _, others = counts_of(planted, duplicates_of(planted, verify=False))
    assert others > 50


def image(number: int) -> Image.Image:
    """Return an image of coarse noise, another one for each number."""
    rough = np.random.default_rng(number).integers(0, 200, (12, 12, 3), np.uint8)
    return Image.fromarray(rough).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    for number in range(6):
        image(number).save(tmp_path / f"{number}.png")
    (tmp_path / "same.png").write_bytes((tmp_path / "1.png").read_bytes())
    image(2).save(tmp_path / "encoded.jpg", quality=40)
    ImageOps.mirror(image(3)).save(tmp_path / "mirrored.png")
    return tmp_path


def find(folder: Path) -> Duplicates:
    return find_duplicates(measure_images(sorted(path.name for path in folder.iterdir()), folder), None)


def test_find_duplicates_pairs_and_groups_are_in_input_order(doubled: Path) -> None:
    duplicates = find(doubled)
    shown = [(pair.path_a, pair.path_b, pair.kind, pair.mirrored) for pair in duplicates.pairs]
    assert shown == [
        ("1.png", "same.png", "exact", False),
        ("2.png", "encoded.jpg", "near", False),
        ("3.png", "mirrored.png", "near", True),
    ]
    assert duplicates.groups == (("1.png", "same.png"), ("2.png", "encoded.jpg"), ("3.png", "mirrored.png"))
    assert all(pair.score >= SAME_IMAGE for pair in duplicates.pairs)
    assert find(doubled) == duplicates


def test_find_duplicates_images_of_one_colour_are_not_near_duplicates(tmp_path: Path) -> None:
    for grey in range(4):
        Image.new("RGB", (60, 60), (grey, grey, grey)).save(tmp_path / f"{grey}.png")
    assert find(tmp_path).pairs == ()


@pytest.mark.parametrize("count", [0, 1])
def test_find_duplicates_of_few_images_is_empty(count: int, tmp_path: Path) -> None:
    for number in range(count):
        save_image(tmp_path / f"{number}.png", (10, 20, 30), np.random.default_rng(number))
    assert find(tmp_path) == Duplicates((), ())


def test_measure_images_lists_unreadable_files(doubled: Path) -> None:
    (doubled / "broken.jpg").write_bytes(b"nothing")
    stats = measure_images(sorted(path.name for path in doubled.iterdir()), doubled)
    assert [item.path for item in stats.skipped] == ["broken.jpg"]
    assert len(stats.paths) == len(stats.grey) == len(stats.sharpness) == 9
    assert stats.paths[stats.indices.index(4)] == "4.png"


def grey(image: Image.Image) -> ComparedImage:
    return ComparedImage(np.asarray(image.convert("L").resize((SIDE, SIDE))))


def test_compare_images_ignores_brightness_and_crop_but_not_content() -> None:
    whole = image(1)
    brighter = Image.eval(whole, lambda value: int(value * 1.2))
    assert compare_images(grey(whole), grey(brighter))[0] > 0.95
    assert compare_images(grey(whole), grey(whole.crop((10, 6, 154, 114))))[0] > 0.9
    assert compare_images(grey(whole), grey(image(2)))[0] < SAME_IMAGE
    written = io.BytesIO()
    whole.resize((80, 60)).save(written, "JPEG", quality=60)
    assert compare_images(grey(Image.open(written)), grey(whole))[0] > 0.9


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_connected_components_hold_what_edges_connect(edges: list[tuple[int, int]]) -> None:
    groups = connected_components(10, edges)
    of = {node: number for number, group in enumerate(groups) for node in group}
    assert all(a == b or of[a] == of[b] for a, b in edges)
    assert list(groups) == sorted(groups)
    assert all(len(group) > 1 for group in groups)
    reached = {node for a, b in edges if a != b for node in (a, b)}
    assert set(of) == reached
