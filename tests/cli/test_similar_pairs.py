"""``transfer-cli similar IMAGES --backbone NAME`` as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.cli.test_predict import rows_of
from transfer_cli import ExtractRecipe, FeatureNetwork, image_pairs
from transfer_cli.catalog.backbones import find
from transfer_cli.catalog.cosine_scale import SCALES
from transfer_cli.cli.main import main
from transfer_cli.data.image_batches import view_batches
from transfer_cli.errors import ImageError, InputError

EMBEDDED = ("--backbone", "embedded", "--runtime", "keras")


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["similar", *map(str, words)])


@pytest.fixture(scope="module")
def cosine(colours: Path) -> Callable[[Path, Path], float]:
    """Return what computes the cosine similarity of two images, from the features of the network."""
    network = FeatureNetwork.of_recipe(
        ExtractRecipe.load(None, [], {"backbone.name": "embedded", "inference.runtime": "keras"})
    )

    paths = sorted(colours.rglob("*.png"))
    (batch,) = view_batches([*map(str, paths)], network.views, batch_size=len(paths))
    features = dict(zip(paths, network.features(batch.images).astype(np.float64), strict=True))

    def of(one: Path, other: Path) -> float:
        a, b = features[one], features[other]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    return of


def test_each_pair_of_images_has_a_row(colours: Path, cosine: Callable[[Path, Path], float]) -> None:
    images = [colours / name for name in ("red/red 00.png", "red/red 01.png", "blue/blue 00.png")]
    done = invoke(*images, *EMBEDDED)
    assert done.exit_code == 0, done.stderr
    rows = rows_of(done.stdout)
    assert [*rows[0]] == ["path_a", "path_b", "cosine", "percentile"]
    expected = {(str(one), str(other)): cosine(one, other) for one, other in combinations(images, 2)}
    found = {(row["path_a"], row["path_b"]): float(row["cosine"]) for row in rows}
    assert found == pytest.approx(expected, abs=1e-4)
    assert [*found.values()] == sorted(found.values(), reverse=True)
    assert (rows[0]["path_a"], rows[0]["path_b"]) == (str(images[0]), str(images[1]))
    assert {row["percentile"] for row in rows} == {""}
    assert "unrelated photographs mostly have 0.76 to 0.92" in done.stderr
    assert "percentiles need 20 images" in done.stderr


def test_image_and_folder_give_the_nearest_with_percentiles(
    colours: Path, cosine: Callable[[Path, Path], float], tmp_path: Path
) -> None:
    image, target = colours / "red/red 00.png", tmp_path / "near.jsonl"
    done = invoke(image, colours, *EMBEDDED, "-k", "3", "-o", target)
    assert (done.exit_code, done.stdout) == (0, f"{target}\n"), done.stderr
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [*rows[0]] == ["path_a", "path_b", "cosine", "percentile"]
    assert "share of all pairs of 36 images" in done.stderr
    paths = sorted(colours.rglob("*.png"))
    others = sorted((path for path in paths if path != image), key=lambda path: -cosine(image, path))
    assert [row["cosine"] for row in rows] == pytest.approx([cosine(image, path) for path in others[:3]], abs=1e-4)
    assert str(image) not in [row["path_b"] for row in rows]
    usual = [cosine(one, other) for one, other in combinations(paths, 2)]
    for row in rows:
        less = 100 * np.mean(np.array(usual) < row["cosine"] - 1e-6)
        assert row["percentile"] == pytest.approx(less, abs=0.5)


def test_percentile_of_many_given_images_is_among_their_other_pairs(colours: Path) -> None:
    paths = sorted(colours.rglob("*.png"))[:20]
    found = image_pairs(paths, "embedded", runtime="keras")
    assert (len(found.pairs), found.reference) == (190, 20)
    assert found.pairs[-1].percentile == 0
    assert found.pairs[0].percentile == 100
    assert image_pairs(paths[:19], "embedded", runtime="keras").pairs[0].percentile is None


def test_unreadable_image_is_skipped(colours: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    images = [colours / "red/red 00.png", broken, colours / "red/red 01.png"]
    done = invoke(*images, *EMBEDDED)
    assert (done.exit_code, len(rows_of(done.stdout))) == (5, 1)
    assert invoke(images[0], broken, *EMBEDDED).exit_code == 3
    with pytest.raises(ImageError):
        image_pairs(images, "embedded", runtime="keras", strict=True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("{red}", "{red}", "--backbone", "embeded"), 2, "Did you mean embedded?"),
        (("{red}", "{red}", *EMBEDDED, "--part", "all", "--sheet", "x.png"), 2, "Leave out --part and --sheet"),
        (("{red}", "{red}", *EMBEDDED, "-k", "2"), 2, "-k is for images and a folder"),
        (("{red}", "{red}", *EMBEDDED, "-o", "x.txt"), 2, "ends in .csv or .jsonl"),
        (("{red}", "{red}", "--preprocess", "tf"), 2, "--preprocess needs --backbone"),
        (("{colours}", "{colours}", *EMBEDDED), 3, "Received: 0 images and 2 folders"),
        (("{red}", "{red}"), 4, "To compare images without a run: add --backbone mobilenet_v2"),
        (("{red}", "{red}", "--backbone", "resnet50", "--offline"), 4, "resnet50 needs a one-time download"),
    ],
)
def test_wrong_words_are_errors(words: tuple[str, ...], code: int, message: str, colours: Path) -> None:
    places = {"red": colours / "red/red 00.png", "colours": colours}
    done = invoke(*(word.format(**places) for word in words))
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr


def test_too_many_images_are_refused(colours: Path) -> None:
    with pytest.raises(InputError, match=r"100 images at most\. Received: 101"):
        image_pairs([colours / f"{number}.png" for number in range(101)], "embedded")


def test_scales_are_of_networks_and_ordered() -> None:
    for name, scale in SCALES.items():
        assert find(name).is_pretrained
        assert -1 < scale.unrelated[0] < scale.same_class[0] < scale.same_class[1] < 1
        assert scale.unrelated[0] < scale.unrelated[1] < scale.same_class[1]
