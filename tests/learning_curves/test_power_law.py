"""Power laws are recovered from the errors that they give."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.learning_curves.power_law import fit_power_laws

IMAGES = np.array([40.0, 80.0, 160.0, 320.0, 640.0])
EQUAL = np.full(5, 0.01)


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.0, 1.5, 0.5), (0.1, 2.0, 0.7), (0.05, 30.0, 1.3)])
def test_fit_power_laws_recovers_an_exact_law(floor: float, scale: float, exponent: float) -> None:
    errors = floor + scale * IMAGES**-exponent
    laws = fit_power_laws(IMAGES, errors[None], EQUAL)
    more = np.array([1280.0, 2560.0])
    assert laws.exponent[0] == pytest.approx(exponent, rel=0.05)
    assert laws.errors(IMAGES)[0] == pytest.approx(errors, abs=2e-3)
    assert laws.errors(more)[0] == pytest.approx(floor + scale * more**-exponent, abs=5e-3)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.3] * 5),  # rises: a constant is the best law
        ([0.2] * 5, [0.2] * 5),
        ([0.0] * 5, [0.0] * 5),
    ],
)
def test_fit_power_laws_has_no_negative_parameter(errors: list[float], expected: list[float]) -> None:
    laws = fit_power_laws(IMAGES, np.array([errors]), EQUAL)
    assert laws.errors(IMAGES)[0] == pytest.approx(expected)
    # Falls faster than any law with a floor of 0 or more.
    steep = fit_power_laws(IMAGES, np.array([[0.5, 0.01, 0.0, 0.0, 0.0]]), EQUAL)
    assert (steep.floor >= 0).all()
    assert (steep.scale >= 0).all()


def test_fit_power_laws_weighs_precise_errors_more() -> None:
    errors = np.array([[0.4, 0.3, 0.25, 0.2, 0.5]])
    noise = np.array([0.01, 0.01, 0.01, 0.01, 1.0])
    precise, equal = (fit_power_laws(IMAGES, errors, each).errors(IMAGES)[0] for each in (noise, EQUAL))
    assert precise[:4] == pytest.approx(errors[0, :4], abs=0.02)
    assert abs(equal[3] - 0.2) > 0.05
    # The rows are fitted one by one.
    both = fit_power_laws(IMAGES, np.concatenate([errors[:, ::-1], errors]), noise).errors(IMAGES)
    assert both[1] == pytest.approx(precise)
