"""Copies of a picture are found, and other pictures are not taken for copies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.conftest import save_picture
from tests.planted_leaks import Planted
from transfer_cli.audit import duplicates
from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.image_alignment import SAME, compare
from transfer_cli.audit.image_stats import SIDE, look
from transfer_cli.data.split import Split
from transfer_cli.features import table


def found_in(planted: Planted, *, verify: bool) -> Duplicates:
    rows = Split.read(planted.run / "split.csv").rows
    matrix = table.read(planted.run / "features.parquet")
    return duplicates.find(look([row.path for row in rows], planted.folder), matrix, verify=verify)


def bar(planted: Planted, twice: Duplicates) -> tuple[int, int]:
    """Return how many of the copies were found, and how many other pairs across parts."""
    wanted = {frozenset(pair) for pair in planted.sources.items()}
    pairs = {frozenset((pair.path_a, pair.path_b)) for pair in twice.pairs}
    across = {pair for pair in pairs if len({path.split("/")[0] for path in pair}) > 1}
    return len(wanted & across), len(across - wanted)


def test_copies_of_photographs_are_found(planted: Planted) -> None:
    found, others = bar(planted, found_in(planted, verify=True))
    assert found >= 0.9 * len(planted.sources)
    assert others <= 5


def test_without_a_look_at_the_pixels_garments_of_a_kind_would_be_copies(planted: Planted) -> None:
    _, others = bar(planted, found_in(planted, verify=False))
    assert others > 50


def image(number: int) -> Image.Image:
    """Return a picture of rough spots, another for each number."""
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
    looks = look(sorted(path.name for path in folder.iterdir()), folder)
    return duplicates.find(looks, None)


def test_pairs_and_groups_are_in_the_order_of_the_pictures(doubled: Path) -> None:
    found = find(doubled)
    shown = [(pair.path_a, pair.path_b, pair.kind, pair.mirrored) for pair in found.pairs]
    assert shown == [
        ("1.png", "same.png", "exact", False),
        ("2.png", "encoded.jpg", "near", False),
        ("3.png", "mirrored.png", "near", True),
    ]
    assert found.groups == (("1.png", "same.png"), ("2.png", "encoded.jpg"), ("3.png", "mirrored.png"))
    assert all(pair.score >= SAME for pair in found.pairs)
    assert find(doubled) == found


def test_pictures_of_one_colour_are_no_copies_unless_byte_for_byte(tmp_path: Path) -> None:
    for grey in range(4):
        Image.new("RGB", (60, 60), (grey, grey, grey)).save(tmp_path / f"{grey}.png")
    assert find(tmp_path).pairs == ()


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures(count: int, tmp_path: Path) -> None:
    for number in range(count):
        save_picture(tmp_path / f"{number}.png", (10, 20, 30), np.random.default_rng(number))
    assert find(tmp_path) == Duplicates((), ())


def test_what_cannot_be_read_is_told(doubled: Path) -> None:
    (doubled / "broken.jpg").write_bytes(b"nothing")
    looks = look(sorted(path.name for path in doubled.iterdir()), doubled)
    assert [item.path for item in looks.skipped] == ["broken.jpg"]
    assert len(looks.paths) == len(looks.grey) == len(looks.sharpness) == 9
    assert looks.paths[looks.indices.index(4)] == "4.png"


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE)))


def test_neither_light_nor_a_shift_matters_but_another_picture_does() -> None:
    whole = image(1)
    brighter = Image.eval(whole, lambda value: int(value * 1.2))
    assert compare(grey(whole), grey(brighter)).score > 0.95
    assert compare(grey(whole), grey(whole.crop((10, 6, 154, 114)))).score > 0.9
    assert compare(grey(whole), grey(image(2))).score < SAME
    written = io.BytesIO()
    whole.resize((80, 60)).save(written, "JPEG", quality=60)
    assert compare(grey(Image.open(written)), grey(whole)).score > 0.9


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_components_hold_what_edges_connect(edges: list[tuple[int, int]]) -> None:
    groups = duplicates.connected(10, edges)
    of = {node: number for number, group in enumerate(groups) for node in group}
    assert all(a == b or of[a] == of[b] for a, b in edges)
    assert list(groups) == sorted(groups)
    assert all(len(group) > 1 for group in groups)
    reached = {node for a, b in edges if a != b for node in (a, b)}
    assert set(of) == reached
