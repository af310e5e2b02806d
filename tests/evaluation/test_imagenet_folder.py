"""The errors of networks with their own classes, and the line that reports them."""

from __future__ import annotations

import numpy as np

from transfer_cli.evaluation.imagenet_folder import with_errors
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import top_summary


def test_with_errors_are_the_complements_with_their_intervals() -> None:
    # Of ten images the true class is ranked first four times, fourth three times, and last three times.
    probabilities = np.tile(np.linspace(0.3, 0.01, 8, dtype=np.float32), (10, 1))
    truth = np.array([0] * 4 + [3] * 3 + [7] * 3)
    metrics = with_errors(dict(score(truth, probabilities)))
    for error, accuracy, value in (("top_1_error", "accuracy", 0.6), ("top_5_error", "top_5_accuracy", 0.3)):
        low, high = metrics[accuracy]["low"], metrics[accuracy]["high"]
        assert low is not None
        assert high is not None
        assert metrics[error] == {"value": 1 - metrics[accuracy]["value"], "low": 1 - high, "high": 1 - low}
        assert abs(metrics[error]["value"] - value) < 1e-12
    assert top_summary("all", metrics, 1000) == (
        "all   top-1 accuracy 0.400 (95 % interval 0.168 to 0.687), error 0.600; "
        "top-5 accuracy 0.700 (95 % interval 0.397 to 0.892), error 0.300; 10 images, among all 1,000 classes"
    )


def test_with_errors_of_three_classes_has_no_top_5() -> None:
    metrics = with_errors(dict(score(np.array([0, 1]), np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]], np.float32))))
    assert "top_5_error" not in metrics
    assert metrics["top_1_error"]["value"] == 0.5
