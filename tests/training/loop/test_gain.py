"""What a fine-tuning says of its gain over the linear probe."""

from __future__ import annotations

import pytest

from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.training.loop.gain import gain_summary


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (
            {"value": 0.04, "low": 0.01, "high": 0.07},
            "fine-tuning against the linear probe on test (100 images): +4.0 points (+1.0 to +7.0)",
        ),
        (
            {"value": 0.01, "low": -0.02, "high": 0.04},
            "fine-tuning against the linear probe on test (100 images): +1.0 points (-2.0 to +4.0): too close to tell "
            "apart",
        ),
        (
            {"value": -0.05, "low": -0.09, "high": -0.01},
            "fine-tuning against the linear probe on test (100 images): -5.0 points (-9.0 to -1.0): worse; train the "
            "probe with transfer-cli extract",
        ),
        (
            {"value": 0.0, "low": None, "high": None},
            "fine-tuning classifies the same images of test correctly as the linear probe; what might help: more "
            "images of each class, a larger --backbone, or transfer-cli auto",
        ),
    ],
)
def test_gain_summary_says_what_the_interval_allows(gain: MetricValue, text: str) -> None:
    assert gain_summary(gain, "test", 100) == text
