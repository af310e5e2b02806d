"""``transfer-cli learning-curve`` as users run it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.conftest import TINY_WORDS, save_image
from tests.learning_curves.test_learning_curve import shades as shades
from transfer_cli.cli.main import main

FAST = ("--set", "classifier.tune=false")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "learning-curve", *map(str, arguments), *FAST])


@pytest.mark.integration
def test_learning_curve_prints_table_and_forecast(shades: Path) -> None:
    result = invoke(shades, *TINY_WORDS, "--more", "50")
    assert result.exit_code == 0, result.stderr
    number, points = r"0\.\d{3}", r"\d+\.\d"
    header, *rows = result.stdout.splitlines()
    assert header == "images  images per class  accuracy  95 % interval"
    sizes = [(6, 2.0), (12, 4.0), (24, 8.0), (48, 16.0), (96, 32.0)]
    for row, (images, per_class) in zip(rows, sizes, strict=True):
        assert re.fullmatch(rf" +{images} +{per_class} +{number}  {number} to {number}", row), row
    assert re.fullmatch(
        "132 images, 3 classes: blue 44, green 44, red 44\n"
        "(.*\n)*"
        "accuracy: cross-validated on 120 images, mean of 5 random subsets per fold\n"
        rf"50 more images per class would probably raise the accuracy by (at most|between {points} and) {points} "
        rf"points, from {number} to about {number}\n"
        "plot: plots/shades-learning-curve.png\n",
        result.stderr,
    ), result.stderr
    assert [str(path) for path in Path().rglob("*.*")] == ["plots/shades-learning-curve.png"]
    printed = json.loads(invoke(shades, *TINY_WORDS, "--more", "50", group=("--json", "--quiet")).stdout)
    assert printed["output"] == "plots/shades-learning-curve.png"
    assert [f"{point['accuracy']['value']:.3f}" for point in printed["points"]] == [row.split()[2] for row in rows]
    assert printed["forecast"]["images"] == 270


@pytest.mark.integration
def test_learning_curve_unreadable_image_exits_with_5_and_flat_curve_warns(colours: Path) -> None:
    folder = Path(shutil.copytree(colours, "colours"))
    for path in (folder / "red").glob("*1.png"):
        path.write_bytes(b"nothing")
    result = invoke(folder, *TINY_WORDS)
    assert result.exit_code == 5, result.stderr
    assert "warning: red/red 11.png could not be read: " in result.stderr
    assert re.search(r"\nwarning: (the curve is flat: from \d+ to|\d different sizes are too few)", result.stderr)
    assert invoke(folder, *TINY_WORDS, "--strict").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--backbone", "resnet5"), 2, "Did you mean resnet50?"),
        (("--more", "0"), 2, "'--more'"),
        (("-o", "curve.svg"), 2, "Expected a file name that ends in .png"),
        (("-o", "mine.png"), 3, "is an image and would be lost"),
        (("--group-by", "near-duplicates", *TINY_WORDS), 3, "cannot group by near-duplicates"),
        (("--backbone", "resnet50", "--offline"), 4, "--offline was given"),
        (("--set", "classifier.name=none", *TINY_WORDS), 3, "needs a classifier"),
    ],
)
def test_learning_curve_wrong_usage_is_error(
    arguments: tuple[str, ...], code: int, message: str, colours: Path
) -> None:
    save_image(Path("mine.png"), (1, 2, 3), np.random.default_rng(1))
    result = invoke(colours, *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert message in result.stderr
    assert [path.name for path in Path().iterdir()] == ["mine.png"]
