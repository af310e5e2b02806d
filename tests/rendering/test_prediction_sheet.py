from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.prediction_result import Predictions
from transfer_cli.data.true_labels import TrueLabels
from transfer_cli.errors import InputError
from transfer_cli.image_classifier import ImageClassifier
from transfer_cli.rendering.fonts import missing_letters_warning
from transfer_cli.rendering.prediction_sheet import MAX_IMAGES, PredictionSheet, check_sheet_target

BLUE, RED, DARK = (63, 144, 218), (189, 31, 1), (90, 94, 104)
NAMES = ("cat", "dog", "an-animal-with-a-very-long-name-that-is-wider-than-the-bar", "кот")


def predictions(paths: list[Path | str], rows: list[list[float]], **fields: object) -> Predictions:
    return Predictions(tuple(map(str, paths)), NAMES, np.array(rows, np.float32), **fields)  # type: ignore[arg-type]


def draw(folder: Path, batch: Predictions, labels: TrueLabels) -> Image.Image:
    sheet = PredictionSheet(folder / "sheet.png", labels)
    sheet.add(batch)
    assert sheet.write() == missing_letters_warning(NAMES)
    with Image.open(folder / "sheet.png") as image:
        return image.convert("RGB")


def widths(image: Image.Image, cell: int) -> list[dict[tuple[int, int, int], int]]:
    """Return the length in pixels of the bar of each class of a cell, by its colour."""
    left = 14 + cell * 364 + 132 + 14
    bars = [np.asarray(image)[56 + 6 + 42 * number + 24, left : left + 191] for number in range(3)]
    found = [np.unique(bar, axis=0, return_counts=True) for bar in bars]
    return [{tuple(map(int, c)): int(n) for c, n in zip(*each, strict=True)} for each in found]  # type: ignore[misc]


def image_file(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (300, 100), (10, 200, 30)).save(folder / name)
    return folder / name


def test_bars_tell_true_and_wrong_predictions(tmp_path: Path) -> None:
    paths = [image_file(tmp_path / name, "1.png") for name in ("cat", "cat", "station 7", "cat")]
    rows = [[0.5, 0.3, 0.2, 0], [0.3, 0.6, 0.1, 0], [0.3, 0.6, 0.1, 0], [0, 0.1, 0.3, 0.6]]
    rejected = predictions(paths, rows, reject_reasons=("", "", "", "low confidence"))
    drawing = draw(tmp_path, rejected, TrueLabels(NAMES))
    right, wrong, unknown, refused = (widths(drawing, cell) for cell in range(4))
    assert right[0][BLUE] == 96
    assert (wrong[0][RED], wrong[1][BLUE]) == (115, 58)
    assert BLUE not in unknown[0] | unknown[1]
    assert unknown[0][DARK] == 115
    assert not {BLUE, RED, DARK} & {colour for bar in refused for colour in bar}
    # The whole image in its proportions, in the middle of its square.
    column = np.asarray(drawing)[56:188, 14 + 66]
    assert [*(column == (10, 200, 30)).all(axis=1)].count(True) == 44


def test_several_labels_are_compared_one_by_one(tmp_path: Path) -> None:
    path = image_file(tmp_path, "1.png")
    batch = predictions([path], [[0.9, 0.8, 0.1, 0.2]], thresholds=(0.5,) * 4)
    bars = widths(draw(tmp_path, batch, TrueLabels(NAMES, listed={str(path): ("cat", "кот")})), 0)
    assert (BLUE in bars[0], RED in bars[1], BLUE in bars[2]) == (True, True, True)


def test_of_many_images_one_in_some_is_drawn(tmp_path: Path) -> None:
    sheet = PredictionSheet(tmp_path / "sheet.png", TrueLabels(NAMES))
    for start in range(0, 1000, 50):
        sheet.add(predictions([f"{n}.jpg" for n in range(start, start + 50)], [[1, 0, 0, 0]] * 50))
    assert (sheet.images, sheet.summary()) == (1000, "63 of 1,000 images (one in 16)")
    drawn = [cell.path for cell in sheet._cells]
    assert drawn == [f"{n}.jpg" for n in range(0, 1000, 16)]
    assert len(drawn) <= MAX_IMAGES


def test_true_label_is_that_of_table_map_or_nearest_class_folder() -> None:
    labels = TrueLabels(["cat", "dog"], {"kitten": "cat"}, {"a/cat/1.jpg": ("dog",), "b/2.jpg": ("kitten", "x")})
    paths = ("a/cat/1.jpg", "b/2.jpg", "dog/cat/day 1/3.jpg", "kitten/4.jpg", "wolf/5.jpg", "6.jpg")
    assert [labels.of(path) for path in paths] == [("dog",), ("cat", "x"), ("cat",), ("cat",), (), ()]


def test_target_is_no_photo_and_outside_of_the_images(tmp_path: Path) -> None:
    photo = image_file(tmp_path / "photos", "1.png")
    for target, message in {
        photo: "is an image and would be lost",
        tmp_path / "a.jpg": "is not a PNG file",
        tmp_path / "photos/b.png": "would be inside",
    }.items():
        with pytest.raises(InputError, match=message):
            check_sheet_target(target, None, [str(tmp_path / "photos")])
    with pytest.raises(InputError, match=r"would both be .*a\.png\. Expected two names\."):
        check_sheet_target(tmp_path / "a.png", tmp_path / "a.png")
    check_sheet_target(tmp_path / "a.png", None, [str(tmp_path / "photos"), "-"])


def test_images_in_memory_are_drawn_from_python(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    red = np.full((40, 20, 3), (250, 0, 0), np.uint8)
    for _ in range(2):
        ImageClassifier.load(trained).predict([red, red], sheet=target)
    with Image.open(target) as drawing:
        assert drawing.convert("RGB").getpixel((14 + 66, 56 + 66)) == (250, 0, 0)
