"""Mean, standard deviation and range of the scores of repeated trainings."""

from __future__ import annotations

import statistics
from typing import Any

from transfer_cli.metrics.spread import Spread, spread_rows, spreads_of

NAN = float("nan")


def metrics_of(**parts: dict[str, float]) -> Any:
    return {
        part: {name: {"value": value, "low": None, "high": None} for name, value in values.items()}
        for part, values in parts.items()
    }


def test_spreads_of_compares_main_metric_and_log_loss_of_the_common_parts() -> None:
    accuracies = (0.9, 0.7, 0.8)
    metrics = [metrics_of(test={"accuracy": each, "log_loss": 2 * each, "macro_f1": 0.1}) for each in accuracies]
    metrics[0] |= metrics_of(val={"accuracy": 1.0})
    spreads = spreads_of(metrics)
    assert {part: [*each] for part, each in spreads.items()} == {"test": ["accuracy", "log_loss"]}
    accuracy = spreads["test"]["accuracy"]
    assert accuracy.values == accuracies
    assert (accuracy.mean, accuracy.lowest, accuracy.highest) == (statistics.fmean(accuracies), 0.7, 0.9)
    assert accuracy.standard_deviation == statistics.stdev(accuracies)
    # The planted fault: with n in the denominator the deviation is too small.
    assert accuracy.standard_deviation > statistics.pstdev(accuracies) + 0.01
    assert spread_rows(spreads) == [
        ("test", "accuracy", "0.800", "0.100", "0.700 to 0.900"),
        ("test", "log loss", "1.600", "0.200", "1.400 to 1.800"),
    ]


def test_spreads_of_several_labels_has_mean_average_precision() -> None:
    metrics = [metrics_of(test={"mean_average_precision": each, "log_loss": 1.0}) for each in (0.5, 0.75)]
    assert [*spreads_of(metrics)["test"]] == ["mean_average_precision", "log_loss"]


def test_spread_of_an_undefined_value_is_undefined() -> None:
    for values in ((NAN, 0.5, 0.6), (0.5, NAN, 0.6)):
        spread = Spread(values)
        numbers = [spread.mean, spread.standard_deviation, spread.lowest, spread.highest]
        assert all(number != number for number in numbers)
        assert repr(spread) == "undefined"
        assert spread.texts() == ("undefined", "-", "-")
