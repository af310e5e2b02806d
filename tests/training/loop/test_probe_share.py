"""How much of the linear probe is in the result of a fine-tuning."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.training.loop.probe_share import probe_is_better

LOSSES = np.array([0.2, 0.4, 0.3, 0.9, 0.1, 0.6])
NOISE = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1])


@pytest.mark.parametrize(
    ("probe", "better"),
    [
        pytest.param(LOSSES + 0.2, False, id="worse"),
        pytest.param(LOSSES, False, id="equal"),
        pytest.param(LOSSES - 0.05 + NOISE, False, id="better within noise"),
        pytest.param(LOSSES - 0.15 + NOISE, True, id="better"),
    ],
)
def test_probe_is_better_by_more_than_a_standard_error(probe: np.ndarray, better: bool) -> None:
    assert probe_is_better(probe, LOSSES) == better


def test_probe_is_better_a_single_image_decides_nothing() -> None:
    assert not probe_is_better(np.array([0.1]), np.array([2.0]))
