"""What a picture takes: one way to time it, whoever asks."""

from __future__ import annotations

import pytest

from transfer_cli.inference import latency
from transfer_cli.inference.latency import timed


def test_passes_that_get_ready_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "passes": 0}

    def work() -> None:
        clock["passes"] += 1
        # The first passes take longer, and so does one that the machine interrupted.
        clock["now"] += {1: 9.0, 2: 5.0, 4: 3.0}.get(int(clock["passes"]), 0.2)

    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock["now"])
    assert timed(work, 10) == pytest.approx(20)
    assert clock["passes"] == 5
