"""How far a fine-tuned network goes from its pretrained weights."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.training.loop.weight_shares import SHARES, USUAL_SHARE, choose_share

LOSSES = np.array([0.2, 0.4, 0.3, 0.9, 0.1, 0.6])
NOISE = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1])


@pytest.mark.parametrize(
    ("pretrained", "trained", "chosen"),
    [
        pytest.param(LOSSES + 0.2, LOSSES + 0.1, 0.5, id="both worse"),
        pytest.param(LOSSES - 0.05 + NOISE, LOSSES - 0.05 + NOISE, 0.5, id="better within noise"),
        pytest.param(LOSSES + 0.2, LOSSES - 0.15 + NOISE, 1.0, id="trained better"),
        pytest.param(LOSSES - 0.15 + NOISE, LOSSES + 0.2, 0.0, id="pretrained better"),
        pytest.param(LOSSES - 0.15 + NOISE, LOSSES - 0.2 + NOISE, 1.0, id="the lower of two"),
        pytest.param(LOSSES - 0.2 + NOISE, LOSSES - 0.15 + NOISE, 0.0, id="the lower of two, the other way round"),
    ],
)
def test_choose_share_leaves_the_middle_for_more_than_a_standard_error(
    pretrained: np.ndarray, trained: np.ndarray, chosen: float
) -> None:
    assert SHARES == (0.0, USUAL_SHARE, 1.0)
    assert choose_share({0.0: pretrained, 0.5: LOSSES, 1.0: trained}) == chosen


def test_choose_share_a_single_image_decides_nothing() -> None:
    assert choose_share({0.0: np.array([0.1]), 0.5: np.array([2.0]), 1.0: np.array([0.1])}) == 0.5
