from __future__ import annotations

import pytest

from transfer_cli.inference import latency
from transfer_cli.inference.latency import ms_per_image


def test_ms_per_image_ignores_warm_up_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "passes": 0}

    def work() -> None:
        clock["passes"] += 1
        # The first two passes are slow, and so is a later one that the system interrupted.
        clock["now"] += {1: 9.0, 2: 5.0, 4: 3.0}.get(int(clock["passes"]), 0.2)

    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock["now"])
    assert ms_per_image(work, 10) == pytest.approx(20)
    assert clock["passes"] == 5
