from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from transfer_cli.audit.image_quality import QualityIssue, quality_issues
from transfer_cli.audit.image_stats import measure_images
from transfer_cli.data.decoding import stored_size


def issues_of(paths: list[str], root: Path) -> tuple[QualityIssue, ...]:
    return quality_issues(measure_images(paths, root), [stored_size(root / path) for path in paths])


def test_quality_issues_unusual_shape_differs_from_the_median(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    shapes = {"landscape": (602, 400), "film": (640, 360), "panorama": (900, 300), "strip": (200, 500)}
    shapes |= {f"portrait{number}": (300, 400) for number in range(9)}
    for name, shape in shapes.items():
        rough = Image.fromarray(random.integers(40, 200, (8, 8, 3), np.uint8))
        rough.resize(shape, Image.Resampling.NEAREST).save(tmp_path / f"{name}.png")
    paths = sorted(path.name for path in tmp_path.iterdir())
    assert [(item.path, item.issue, item.value) for item in issues_of(paths, tmp_path)] == [
        (
            "panorama.png",
            "unusual shape",
            "900 x 300 pixels, 3.0 times as wide as high; the median of the folder differs by a factor of 4.0",
        ),
        (
            "strip.png",
            "unusual shape",
            "200 x 500 pixels, 2.5 times as high as wide; the median of the folder differs by a factor of 1.9",
        ),
    ]
    # In a folder of panoramas, no panorama has an unusual shape.
    for number in range(9):
        shutil.copy(tmp_path / "panorama.png", tmp_path / f"wide{number}.png")
    wide = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("portrait"))
    assert "panorama.png" not in {item.path for item in issues_of(wide, tmp_path)}


def test_quality_issues_unknown_size_has_no_size_issue(colours: Path) -> None:
    paths = ["red/red 00.png", "red/red 01.png"]
    assert [item.path for item in quality_issues(measure_images(paths, colours), [None, (40, 40)])] == [
        "red/red 01.png"
    ]


def test_quality_issues_finds_planted_issues(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rough = [Image.fromarray(random.integers(40, 200, (8, 8, 3), np.uint8)) for _ in range(30)]
    sharp = [image.resize((200, 200), Image.Resampling.NEAREST) for image in rough]
    planted = {
        "tiny.png": sharp[0].resize((30, 30)),
        "dark.png": Image.eval(sharp[0], lambda value: value // 8),
        "bright.png": Image.eval(sharp[0], lambda value: 215 + value // 5),
        "blurred.png": sharp[0].filter(ImageFilter.GaussianBlur(12)),
        "wide.png": sharp[0].resize((500, 100)),
        "flat.png": Image.new("RGB", (100, 100), (90, 90, 90)),
    }
    for name, image in [*planted.items(), *((f"x{n}.png", image) for n, image in enumerate(sharp))]:
        image.save(tmp_path / name)
    paths = sorted(path.name for path in tmp_path.iterdir())
    issues = {(item.path, item.issue) for item in issues_of(paths, tmp_path)}
    expected = {("tiny.png", "tiny"), ("dark.png", "dark"), ("bright.png", "over-bright"), ("blurred.png", "blurred")}
    assert issues >= expected | {("wide.png", "unusual shape"), ("flat.png", "one colour")}
    assert not any(path.startswith("x") for path, _ in issues)


def test_quality_issues_dark_folder_has_no_dark_images(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for number in range(9):
        Image.fromarray(random.integers(0, 30, (90, 90, 3), np.uint8)).save(tmp_path / f"{number}.png")
    paths = sorted(path.name for path in tmp_path.iterdir())
    assert issues_of(paths, tmp_path) == ()
