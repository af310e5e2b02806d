"""``transfer-cli rank --layers`` as users run it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.conftest import save_image
from tests.learning_curves.test_learning_curve import shades as shades
from tests.ranking.test_rank_layers import blind as blind
from transfer_cli.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "rank", *map(str, arguments)])


@pytest.mark.integration
def test_rank_layers_prints_table_and_verdict(shades: Path, blind: Path) -> None:
    folder = Path(shutil.copytree(shades, "shades"))
    (folder / "train/red/broken.png").write_bytes(b"nothing")
    own = ("--layers", "--backbone", blind, "--preprocess", "0-1")
    result = invoke(folder, *own)
    assert result.exit_code == 5, result.stderr
    shutil.rmtree(folder)
    shutil.copytree(shades, folder)
    data = json.loads(invoke(folder, *own, group=("--json", "--quiet")).stdout)
    assert data["output"] == "plots/shades-layers.png"
    assert data["best"] in ("one", "two")
    rows = []
    for each in data["depths"]:
        mark, side = "*" * (each["layer"] == data["best"]), f"{each['height']} x {each['width']}"
        rows.append([mark, str(each["number"]), each["layer"], side, str(each["channels"]), "yes"])
    assert [row[1:5] for row in rows] == [
        ["1", "one", "16 x 16", "8"],
        ["2", "two", "8 x 8", "8"],
        ["3", "blind", "3 x 3", "8"],
    ]
    rows.append(["", "", "joined levels", "", "24", ""])
    for row, each in zip(rows, [*data["depths"], data["joined_levels"]], strict=True):
        value, low, high = (f"{each['accuracy'][name]:.3f}" for name in ("value", "low", "high"))
        row += [f"{each['log_loss']:.3f}", value, f"{low} to {high}"]
    header = ["best", "depth", "layer", "map", "channels", "level", "log loss", "accuracy", "95 % interval"]
    printed = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert printed == [" ".join(" ".join(row).split()) for row in [header, *rows]]
    numbers = r"\d+ (and|against) \d+ of 120 images correct, adjusted p [=<] \S+"
    assert re.fullmatch(
        "133 images, 3 classes: blue 44, green 44, red 45\n"
        "(.*\n)*"
        "warning: train/red/broken.png could not be read: .*\n"
        "log loss \\(lower is better\\) and accuracy: of a classifier on the features, cross-validated on 120 images\n"
        "depth: number of layers with a kernel up to this one; level: part of the joined levels\n"
        rf"(the joined levels are|{data['best']} alone (is|and)) .*{numbers}\n"
        rf"best single layer \(\*\): {data['best']}; plot: plots/shades-layers.png\n",
        result.stderr,
    ), result.stderr
    assert [str(path) for path in Path().rglob("*layers*")] == ["plots/shades-layers.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--layers --among resnet50", 2, "--among is for a ranking of networks; --layers ranks the layers of one. Use"),
        ("--layers --score logme", 2, "--score is for a ranking of networks"),
        ("--layers --max-ms 20", 2, "--max-ms is for a ranking of networks"),
        ("--layers --max-mb 20", 2, "--max-mb is for a ranking of networks"),
        ("--layers --time-budget 10m", 2, "--time-budget is for a ranking of networks"),
        ("--layers --download", 2, "--download is for a ranking of networks"),
        ("--layers --weights imagenet,none", 2, "--layers needs one kind of --weights. Received: imagenet,none."),
        ("--layers --backbone resnet5", 2, "Did you mean resnet50?"),
        ("--layers --backbone own.keras", 2, "own.keras needs --preprocess"),
        ("--layers --backbone resnet50 --offline", 4, "--offline was given"),
        ("--layers -o plots", 2, "Expected a file name that ends in .png"),
        ("--layers -o mine.png", 3, "is an image and would be lost"),
        ("--layers --group-by near-duplicates --backbone embedded", 3, "cannot group by near-duplicates"),
        (
            "--backbone resnet50",
            2,
            "--backbone selects the network of --layers. To rank networks, use --among resnet",
        ),
        ("--preprocess tf", 2, "--preprocess is only for --layers with --backbone FILE.keras."),
    ],
)
def test_rank_layers_wrong_usage_is_error(arguments: str, code: int, message: str, colours: Path) -> None:
    save_image(Path("mine.png"), (1, 2, 3), np.random.default_rng(1))
    result = invoke(colours, *arguments.split())
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert message in " ".join(result.stderr.split())
    assert [path.name for path in Path().iterdir()] == ["mine.png"]
