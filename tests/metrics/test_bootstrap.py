"""Memory of the bootstrap: independent of the number of classes and resamples, with the same results."""

from __future__ import annotations

from weakref import WeakSet

import numpy as np
import pytest

from transfer_cli.metrics import bootstrap
from transfer_cli.metrics.metrics_table import score


def test_score_uses_one_ranking_and_few_resamples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 900)
    probabilities = random.dirichlet(np.ones(6), 900).astype(np.float32)
    expected = score(truth, probabilities, class_names="abcdef")
    alive: WeakSet[bootstrap.ScoreRanking] = WeakSet()
    most, sizes = [0], []

    class Counted(bootstrap.ScoreRanking):
        def __init__(self, *arguments: np.ndarray) -> None:
            super().__init__(*arguments)
            alive.add(self)
            most[0] = max(most[0], len(alive))

    group_blocks = bootstrap._group_blocks

    def counted(blocks: object) -> object:
        for group in group_blocks(blocks):  # type: ignore[arg-type]
            sizes.append(sum(block.size for block in group))
            yield group

    monkeypatch.setattr(bootstrap, "ScoreRanking", Counted)
    monkeypatch.setattr(bootstrap, "_group_blocks", counted)
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 800_000)
    assert score(truth, probabilities, class_names="abcdef") == expected
    # The old ranking still exists while the next is created.
    assert 0 < most[0] <= 2
    assert sum(sizes) == 900 * 1000
    assert max(sizes) <= 800_000
    assert len(sizes) > 1
