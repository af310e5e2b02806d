"""Near-duplicates across parts are found by small versions of the images; different images are not reported."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.held_out_copies import held_out_copies
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.features import fingerprints
from transfer_cli.features.fingerprints import Fingerprints

Image = NDArray[np.uint8]


def scene(number: int) -> Image:
    """Return an image of coarse noise with finer details, another one for each number."""
    random = np.random.default_rng(number)
    layers = [cv2.resize(random.integers(0, 256, (side, side, 3), np.uint8), (128, 128)) for side in (8, 40)]
    return cv2.addWeighted(layers[0], 0.6, layers[1], 0.4, 0)


def visited(number: int, place: int) -> Image:
    """Return the scene with an animal at a place, and with noise: a frame of a film."""
    frame = cv2.circle(scene(number).copy(), (20 + place, 70), 12, (90, 60, 30), -1)
    noise = np.random.default_rng(1000 + place).normal(0, 4, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def cropped(image: Image) -> Image:
    return cv2.resize(image[8:120, 8:120], (128, 128))


def search(images: list[Image], parts: str, features: NDArray[np.float32] | None = None) -> Duplicates:
    names = {"t": "train", "v": "val", "x": "test"}
    digests = [f"{hash(image.tobytes()):x}" for image in images]
    rows = [SplitRow(f"{n}.png", digests[n], ("a",), names[part]) for n, part in enumerate(parts)]
    return held_out_copies(Split(tuple(rows), 0, "digest"), Fingerprints.of_images(np.stack(images)), features)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "same": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "brighter": lambda image: np.clip(image * 1.2 + 15.0, 0, 255).astype(np.uint8),
    "halved": lambda image: cv2.resize(cv2.resize(image, (64, 64)), (128, 128)),
    "encoded": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_held_out_copies_finds_a_changed_image_in_another_part(change: str) -> None:
    images = [scene(number) for number in range(8)] + [np.ascontiguousarray(CHANGES[change](scene(3)))]
    found = search(images, "ttttttttx")
    assert [(pair.path_a, pair.path_b) for pair in found.pairs] == [("3.png", "8.png")]
    assert found.pairs[0].kind == ("exact" if change == "same" else "near")
    assert found.pairs[0].mirrored == (change == "mirrored")


def test_held_out_copies_finds_crops_by_their_features() -> None:
    images = [scene(number) for number in range(8)] + [cropped(scene(3))]
    features = np.eye(9, dtype=np.float32)
    features[8] = features[3] + 0.1
    assert [pair.path_a for pair in search(images, "ttttttttx", features).pairs] == ["3.png"]


def test_held_out_copies_finds_a_frame_of_a_film() -> None:
    images = [visited(scene_number, place) for scene_number in range(4) for place in (0, 30, 60)]
    found = search(images, "ttx" * 4)
    assert {pair.path_b for pair in found.pairs} == {"2.png", "5.png", "8.png", "11.png"}


def test_held_out_copies_finds_nothing_among_different_images() -> None:
    images = [scene(number) for number in range(40)]
    nearest = np.ones((40, 4), np.float32)
    assert search(images, "ttvx" * 10, nearest) == Duplicates((), ())


def in_frame(image: Image) -> Image:
    """Return an image of low contrast in a rotated black frame, as rectified frames of a camera have."""
    mask = cv2.fillConvexPoly(np.zeros((128, 128), np.uint8), np.array([(2, 18), (108, 0), (126, 108), (20, 126)]), 1)
    return np.uint8(mask[..., None] * (110 + image * 0.2))


def under_caption(image: Image) -> Image:
    """Return a night image under the bars that a camera trap writes on each of its images."""
    dark = np.uint8(20 + image * 0.1)
    for top in (0, 114):
        dark[top : top + 14] = 0
        cv2.putText(dark, "CAM7 11C", (4, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 2)
    return dark


def in_circle(image: Image) -> Image:
    """Return what a microscope or an endoscope shows: a disc on black."""
    mask = cv2.circle(np.zeros((128, 128), np.uint8), (64, 64), 58, 1, -1)
    return np.uint8(mask[..., None] * (100 + image * 0.2))


def between_bars(image: Image) -> Image:
    """Return an image that was padded to a square with grey, as detectors are fed."""
    padded = np.full_like(image, 114)
    padded[32:96] = cv2.resize(image, (128, 64)) * 0.2 + 150
    return padded


@pytest.mark.parametrize("camera", [in_frame, under_caption, in_circle, between_bars])
def test_held_out_copies_share_more_than_a_frame_or_a_caption(camera: Callable[[Image], Image]) -> None:
    images = [camera(scene(number)) for number in range(20)]
    nearest = np.ones((21, 4), np.float32)
    assert search(images, "ttvx" * 5, nearest[:20]).pairs == ()
    found = search([*images, camera(visited(0, 30))], "ttvx" * 5 + "x", nearest)
    assert [(pair.path_a, pair.path_b) for pair in found.pairs] == [("0.png", "20.png")]


def test_held_out_copies_finds_a_drawing_on_white() -> None:
    sheets = [np.full((128, 128, 3), 255, np.uint8) for _ in range(3)]
    for sheet, letter in zip(sheets, "RRK", strict=True):
        cv2.putText(sheet, letter, (30, 100), cv2.FONT_HERSHEY_SIMPLEX, 3, (0, 0, 0), 6)
    sheets[1] = CHANGES["encoded"](sheets[1])
    assert [(pair.path_a, pair.path_b) for pair in search(sheets, "txt").pairs] == [("0.png", "1.png")]


def test_held_out_copies_within_one_part_are_not_reported() -> None:
    assert search([scene(1), visited(1, 0), visited(1, 30), scene(2)], "tttx").pairs == ()


def test_held_out_copies_images_without_detail_are_not_compared() -> None:
    flat = [np.full((128, 128, 3), level, np.uint8) for level in (100, 101, 102)]
    assert search(flat, "ttx").pairs == ()


def test_held_out_copies_a_test_image_is_linked_through_another_one() -> None:
    middle = visited(1, 30)
    # The last frame is close to the middle one alone, whose place only the middle one shares.
    images = [cropped(scene(1)), scene(1), middle, scene(9)]
    found = search(images, "xxtt", None)
    assert {path for group in found.groups for path in group} >= {"1.png", "2.png"}


def test_held_out_copies_of_many_images_compares_hashes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_COMPARED", 3)
    mirrored, different = np.ascontiguousarray(scene(1)[:, ::-1]), cropped(scene(2))
    found = search([scene(1), scene(2), scene(3), mirrored, different, scene(3)], "tttxxx")
    assert [(pair.path_a, pair.path_b, pair.kind, pair.score) for pair in found.pairs] == [
        ("0.png", "3.png", "near", None),
        ("2.png", "5.png", "exact", 1.0),
    ]
