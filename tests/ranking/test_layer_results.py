"""Rankings of layers: the best depth, its comparison with the joined levels, and their plot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.metrics.intervals import proportion
from transfer_cli.models.depth_features import Depth
from transfer_cli.ranking.layer_plot import plot_layers
from transfer_cli.ranking.layer_results import DepthScore, LayerRanking
from transfer_cli.ranking.probe import ProbeScore

LAYERS = [
    Depth("low", 1, 8, 8, 4, 0, is_level=True),
    Depth("middle", 2, 4, 4, 6, 4, is_level=False),
    Depth("top", 3, 2, 2, 8, 10, is_level=True),
]


def score(right: int, log_loss: float) -> ProbeScore:
    correct = np.arange(100) < right
    return ProbeScore(log_loss, proportion(right, 100), None, correct)


def ranking_of(middle: int, joined: int) -> LayerRanking:
    scores = [score(50, 1.2), score(middle, 0.4), score(60, 0.9)]
    depths = tuple(map(DepthScore, LAYERS, scores))
    return LayerRanking(Path("photos"), "tiny", "none", 100, 4, 0, depths, score(joined, 0.5))


@pytest.mark.parametrize(
    ("middle", "joined", "better", "verdict"),
    [
        (90, 70, "depth", "middle alone is better than the joined levels: 90 against 70 of 100 images correct"),
        (
            70,
            90,
            "levels",
            "the joined levels are better than the best single layer, middle: 90 against 70 of 100 images correct",
        ),
        (71, 70, None, "middle alone and the joined levels cannot be told apart: 71 and 70 of 100 images correct"),
    ],
)
def test_verdict_says_which_is_better(middle: int, joined: int, better: str | None, verdict: str) -> None:
    ranking = ranking_of(middle, joined)
    assert ranking.best.depth.layer == "middle"
    assert ranking.better == better
    assert ranking.verdict() == f"{verdict}, adjusted p {'= 1' if better is None else '< 0.001'}"


def test_p_is_adjusted_for_the_number_of_depths() -> None:
    # Six images more: p = 0.031 alone, but middle is the best of three depths that differ no more than that.
    depths = tuple(DepthScore(depth, score(76, loss)) for depth, loss in zip(LAYERS, (0.9, 0.4, 0.8), strict=True))
    ranking = LayerRanking(Path("photos"), "tiny", "none", 100, 4, 0, depths, score(70, 0.5))
    assert ranking.p_adjusted == pytest.approx(3 * 2 / 2**6)
    assert ranking.better is None
    # Control: a single depth is selected from nothing.
    alone = LayerRanking(Path("photos"), "tiny", "none", 100, 4, 0, depths[1:2], score(70, 0.5))
    assert alone.p_adjusted == pytest.approx(2 / 2**6)
    assert alone.better == "depth"


def test_to_dict_has_all_fields_as_json() -> None:
    data = json.loads(json.dumps(ranking_of(90, 70).to_dict()))
    scores = [
        {"log_loss": loss, "accuracy": proportion(right, 100)} for loss, right in ((1.2, 50), (0.4, 90), (0.9, 60))
    ]
    shapes = [("low", 1, 8, 4, True), ("middle", 2, 4, 6, False), ("top", 3, 2, 8, True)]
    depths = [
        {"layer": layer, "number": number, "height": side, "width": side, "channels": channels, "is_level": is_level}
        for layer, number, side, channels, is_level in shapes
    ]
    assert data == {
        "folder": str(Path("photos").resolve()),
        "backbone": "tiny",
        "weights": "none",
        "images": 100,
        "classes": 4,
        "seed": 0,
        "depths": [{**depth, **one, "mean_average_precision": None} for depth, one in zip(depths, scores, strict=True)],
        "joined_levels": {"log_loss": 0.5, "accuracy": proportion(70, 100), "mean_average_precision": None},
        "best": "middle",
        "better": "depth",
        "p_adjusted": pytest.approx(3 * 2 / 2**20),
        "skipped": [],
    }


def test_plot_layers_draws_the_scores(tmp_path: Path) -> None:
    def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
        return int((np.abs(np.asarray(image.convert("RGB"), np.int64) - colour).max(axis=2) <= 2).sum())

    red, green, band = (214, 39, 40), (44, 160, 44), (221, 235, 244)
    plot_layers(ranking_of(90, 70), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as plot:
        assert plot.size == (880, 660)
        assert plot.info["Software"] == "transfer-cli rank --layers"
        # The best depth in both panels and the legend, the joined levels, and the intervals.
        assert count(plot, red) > 100
        assert count(plot, green) > 300
        assert count(plot, band) > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    plot_layers(ranking_of(90, 70), tmp_path / "same.png")
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    plot_layers(ranking_of(91, 70), tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "a.png").read_bytes()
