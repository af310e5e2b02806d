"""Forecasts cover what more images bring, and are withheld where the images do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.learning_curves.forecast import Extrapolation, Forecast, obstacle
from transfer_cli.learning_curves.scores import SubsetScores

IMAGES = np.array([40.0, 80.0, 160.0, 320.0, 640.0])


def simulated(floor: float, scale: float, exponent: float, count: int = 400, seed: int = 0) -> SubsetScores:
    """Return scores whose expected error is a power law; some images are harder than others."""
    random = np.random.default_rng(seed)
    errors = floor + scale * IMAGES**-exponent
    hard = random.beta(0.6, 0.6, count)
    # The images are ordered by difficulty; noise of each training decides at the margin.
    score = hard + random.normal(scale=0.1, size=(1, 5, count))
    threshold = np.quantile(score, 1 - errors)
    return SubsetScores(IMAGES, (score < threshold[:, None, None]).astype(np.float32), np.arange(count))


def test_forecast_interval_covers_the_true_gain() -> None:
    covered, widths = [], []
    for seed in range(20):
        scores = simulated(0.05, 1.5, 0.5, seed=seed)
        extrapolation = Extrapolation.of(scores, scores.resampled_accuracies(seed))
        gain = extrapolation.gain(640, 1280)
        assert gain["low"] is not None
        assert gain["high"] is not None
        covered.append(gain["low"] <= 1.5 * (640**-0.5 - 1280**-0.5) <= gain["high"])
        widths.append(gain["high"] - gain["low"])
    assert np.mean(covered) >= 0.9
    # Twice the true gain of 0.017 at most, so that it tells something.
    assert np.mean(widths) < 0.05


def test_obstacle_is_a_flat_curve_or_too_few_sizes() -> None:
    rising = simulated(0.05, 1.5, 0.5)
    assert obstacle(rising, rising.resampled_accuracies(0)) == ""
    flat = simulated(0.2, 0.0, 0.5)
    assert obstacle(flat, flat.resampled_accuracies(0)) == (
        "the curve is flat: from 40 to 640 images the accuracy does not rise more than its margin of error, so these "
        "images do not show what more of them would bring"
    )
    perfect = SubsetScores(IMAGES, np.ones((5, 5, 100), np.float32), np.arange(100))
    assert obstacle(perfect, perfect.resampled_accuracies(0)).startswith("the curve is flat")
    few = SubsetScores(IMAGES[:3], rising.correct[:3], rising.groups)
    assert obstacle(few, few.resampled_accuracies(0)) == (
        "3 different sizes are too few to extrapolate from. Expected at least 4: add images, or smaller groups"
    )


@pytest.mark.parametrize(
    ("forecast", "text"),
    [
        (
            Forecast(100, 300, 600, 0.79, 0.83, {"value": 0.04, "low": 0.031, "high": 0.062}),
            "100 more images per class would probably raise the accuracy by between 3.1 and 6.2 points, from 0.790 to "
            "about 0.830",
        ),
        (
            Forecast(1000, 300, 3300, 0.79, 0.8, {"value": 0.01, "low": 0.0, "high": 0.062}),
            "1,000 more images per class would probably raise the accuracy by at most 6.2 points, from 0.790 to about "
            "0.800 (a rough guess: that is 11 times the images)",
        ),
        (
            Forecast(10, 300, 310, 0.79, 0.7901, {"value": 0.0001, "low": 0.0, "high": 0.0003}),
            "10 more images per class would probably leave the accuracy at about 0.790",
        ),
    ],
)
def test_forecast_summary(forecast: Forecast, text: str) -> None:
    assert forecast.summary() == text


def test_forecast_counts_additional_images_of_each_class() -> None:
    scores = simulated(0.05, 1.5, 0.5)
    extrapolation = Extrapolation.of(scores, scores.resampled_accuracies(0))
    forecast = Forecast.of(extrapolation, 800, 200.0, 100)
    assert (forecast.images_now, forecast.images) == (800, 1200)
    assert forecast.accuracy_now == pytest.approx(0.95 - 1.5 * 800**-0.5, abs=0.02)
    assert forecast.gain["value"] == pytest.approx(forecast.accuracy - forecast.accuracy_now)
