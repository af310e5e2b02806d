"""Memory does not grow with the number of classes or of resamples, and what is computed is the same."""

from __future__ import annotations

from weakref import WeakSet

import numpy as np
import pytest

from transfer_cli.metrics import bootstrap
from transfer_cli.metrics.metrics_table import score


def test_one_class_at_a_time_and_few_resamples_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 900)
    given = random.dirichlet(np.ones(6), 900).astype(np.float32)
    expected = score(truth, given, class_names="abcdef")
    alive: WeakSet[bootstrap.Ranking] = WeakSet()
    most, lots = [0], []

    class Counted(bootstrap.Ranking):
        def __init__(self, *words: np.ndarray) -> None:
            super().__init__(*words)
            alive.add(self)
            most[0] = max(most[0], len(alive))

    held = bootstrap._held

    def counted(blocks: object) -> object:
        for several in held(blocks):  # type: ignore[arg-type]
            lots.append(sum(block.size for block in several))
            yield several

    monkeypatch.setattr(bootstrap, "Ranking", Counted)
    monkeypatch.setattr(bootstrap, "_held", counted)
    monkeypatch.setattr(bootstrap, "_MOST_HELD", 800_000)
    assert score(truth, given, class_names="abcdef") == expected
    # The one that goes is still there while the next is made.
    assert 0 < most[0] <= 2
    assert sum(lots) == 900 * 1000
    assert max(lots) <= 800_000
    assert len(lots) > 1
