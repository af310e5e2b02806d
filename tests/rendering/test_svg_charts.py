from __future__ import annotations

import pytest

from transfer_cli.rendering.svg_charts import Chart, Line, ticks


def test_chart_maps_values_to_pixels() -> None:
    chart = Chart("t", "d", ("x", "y"), [], ((0, 10), (0, 1)))
    left, top, right, bottom = chart.frame
    assert (chart.x(0), chart.x(10)) == (left, right)
    assert (chart.y(0), chart.y(1)) == (bottom, top)
    assert chart.y(2) == top
    assert chart.path(Line("l", [(0, 0), (10, 1)])) == f"{float(left)},{float(bottom)} {float(right)},{float(top)}"


def test_chart_logarithmic_axis_has_powers_of_ten() -> None:
    chart = Chart("t", "d", ("x", "y"), [], ((0.01, 10), (0, 1)), log=True)
    assert [text for _, text in chart.x_ticks] == ["0.01", "0.1", "1", "10"]
    assert chart.x(10) - chart.x(1) == pytest.approx(chart.x(1) - chart.x(0.1), abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 18, [0, 5, 10, 15]), (0.47, 1, [0.6, 0.8, 1]), (3, 3, [3])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 5) == expected
