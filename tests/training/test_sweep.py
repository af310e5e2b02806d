"""The suggestion of a learning rate from the losses of a sweep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transfer_cli.training.sweep import read_sweep, smooth


def test_read_sweep_of_a_synthetic_curve() -> None:
    rates = [10 ** (-7 + 8 * step / 99) for step in range(100)]
    # Falls between 1e-4 and 1e-2, and is lost from 1 on; every fourth batch is hard.
    hard = [2.0 + 0.5 * (step % 4 == 0) for step in range(100)]
    fall = [-1.5 * min(max(math.log10(rate) + 4, 0), 2) / 2 + 20 * max(math.log10(rate), 0) for rate in rates]
    found = read_sweep(rates, np.add(hard, fall).tolist(), hard)
    assert found.start == pytest.approx(2.125, abs=0.01)
    assert 1e-4 < (found.steepest or 0) < 1e-1
    lowest = found.rates[int(np.argmin(found.smoothed))]
    assert 1e-2 < lowest < 2
    assert found.suggestion == pytest.approx(lowest / 10)
    assert read_sweep(rates, np.add(hard, fall).tolist(), hard, 2.0).suggestion == pytest.approx(lowest / 2)
    flat = read_sweep(rates, hard, hard)
    assert (flat.steepest, flat.suggestion, flat.ended) == (None, None, "highest rate")
    lost = read_sweep(rates[:61], [*np.add(hard, fall).tolist()[:60], math.nan], hard)
    assert (lost.ended, len(lost.rates)) == ("not finite", 60)
    assert read_sweep(rates[:1], [math.nan], hard[:1]).suggestion is None


def test_smooth_has_no_bias_at_the_start() -> None:
    assert smooth([3.0] * 50) == pytest.approx([3.0] * 50)
    assert smooth([4.0, 0.0])[1] == pytest.approx(4 * 0.8 / 1.8)
